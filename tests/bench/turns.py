"""A turn in this process, without and with tools, against the same by hand."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import play
from clock import Cost, alternate
from table import Row, Target

ROUNDS = 10


async def measure(quick: bool) -> list[Row]:
    """Return the rows of a turn and of a tool round."""
    model = play.Model()
    with (
        TemporaryDirectory() as folder,
        closing(play.ByHand(Path(folder, "hand.jsonl"), model)) as hand,
    ):
        async with play.gateway(Path(folder, "home"), model) as gateway:
            plain, plain_floor, tools, tools_floor = await alternate(
                partial(play.turn, gateway, model, session="plain"),
                hand.turn,
                partial(play.turn, gateway, model, ROUNDS, session="tools"),
                partial(hand.turn, ROUNDS),
                runs=2 if quick else 30,
                block=3 if quick else 10,
            )
    one, one_floor = _round(plain, tools), _round(plain_floor, tools_floor)
    rows = [
        ("turn, cpu", plain.cpu, plain_floor.cpu, Target(limit=1.5, of="excess")),
        ("turn, wall", plain.wall, plain_floor.wall, None),
        ("turn with 10 tool calls, cpu", tools.cpu, tools_floor.cpu, None),
        ("turn with 10 tool calls, wall", tools.wall, tools_floor.wall, None),
        ("tool round, cpu", one, one_floor, Target(limit=1)),
    ]
    return [
        Row(
            name=name,
            unit="ms",
            median=cost * 1e3,
            floor=floor * 1e3,
            target=target,
            note="by hand",
        )
        for name, cost, floor, target in rows
    ]


def _round(plain: Cost, tools: Cost) -> float:
    return (tools.cpu - plain.cpu) / ROUNDS
