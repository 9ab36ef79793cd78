"""A turn through a provider and a model on loopback, against bare httpx."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

import anyio
from clock import Cost, alternate, environment, timed
from rustyclaw import Gateway
from table import Row, Target
from talk import Bare, gateway, turn
from vendor import serving

TALK = str(Path(__file__).with_name("talk.py"))
ROUNDS, SESSIONS = 10, 30
#: Prints the resident memory of a process, in KiB.
_TELL = """
import re
print(*re.findall(r"Rss: +([0-9]+) kB", open("/proc/self/smaps_rollup").read()))
"""
_CORE = "import asyncio, rustyclaw; from rustyclaw import *\n"
PLAIN, TOOLS, SLOW = "0-0", f"{ROUNDS}-0", "0-200"


@dataclass(frozen=True, slots=True)
class _Crowd(Cost):
    """What many turns took together; ``p95``: nineteen of twenty were quicker."""

    p95: float


async def measure(quick: bool) -> list[Row]:
    """Return the rows of turns through the provider ``openai``."""
    with serving() as address:
        async with gateway(address) as opened:
            bare = Bare(address)
            rows = [
                *await _alone(opened, bare, 2 if quick else 40),
                *await _together(opened, bare, 2 if quick else 15),
            ]
            await bare.aclose()
        return [*rows, *_memory(address, 40 if quick else 2_000), _import()]


# --- One after another ----------------------------------------------------------------


async def _alone(opened: Gateway, bare: Bare, runs: int) -> list[Row]:
    """Return the rows of one turn, without and with tools."""

    async def cost(model: str) -> Cost:
        await opened.reset("one")
        await turn(opened, PLAIN, "one")  # what a session's first turn costs is apart
        await opened._lanes.drained()

        async def run() -> None:
            await turn(opened, model, "one")
            await opened._lanes.drained()

        return await timed(run)

    await cost(PLAIN)
    plain_bodies = await bare.recorded()
    await cost(TOOLS)
    bodies = await bare.recorded()
    assert (len(plain_bodies), len(bodies)) == (1, ROUNDS + 1)
    plain, plain_floor, tools, floor = await alternate(
        partial(cost, PLAIN),
        lambda: timed(partial(bare.send, plain_bodies)),
        partial(cost, TOOLS),
        lambda: timed(partial(bare.send, bodies)),
        runs=runs,
        block=3,
    )
    name = f"turn with {ROUNDS} tool calls through a provider"
    one, one_floor = (
        (many.cpu - few.cpu) / ROUNDS
        for many, few in ((tools, plain), (floor, plain_floor))
    )
    figures = [
        ("turn through a provider, cpu", plain.cpu, plain_floor.cpu, None),
        (f"{name}, cpu", tools.cpu, floor.cpu, Target(limit=2, of="ratio")),
        (f"{name}, wall", tools.wall, floor.wall, None),
        (
            "tool round through a provider, cpu",
            one,
            one_floor,
            Target(limit=2, of="excess"),
        ),
    ]
    return [
        Row(
            name=name,
            unit="ms",
            median=seconds * 1e3,
            floor=base * 1e3,
            target=target,
            note="bare httpx",
        )
        for name, seconds, base, target in figures
    ]


# --- Many at once ---------------------------------------------------------------------


async def _together(opened: Gateway, bare: Bare, turns: int) -> list[Row]:
    """Return the rows of many sessions that talk to a slow model at the same time."""
    names = [f"many{number}" for number in range(SESSIONS)]
    for name in names:
        await turn(opened, SLOW, name)
    bodies = await bare.recorded()
    ours = await _crowd(lambda name: turn(opened, SLOW, name), names, turns)
    floor = await _crowd(lambda _: bare.send(bodies), names, turns)
    count = len(names) * turns
    figures = [
        ("wall", ours.wall / count, floor.wall / count, Target(limit=10)),
        ("cpu", ours.cpu / count, floor.cpu / count, Target(limit=6)),
        ("p95, wall", ours.p95, floor.p95, Target(limit=350)),
    ]
    return [
        Row(
            name=f"turn of {SESSIONS} sessions at once, {clock}",
            unit="ms",
            median=seconds * 1e3,
            floor=base * 1e3,
            target=target,
            note="bare httpx; the model takes 200 ms",
        )
        for clock, seconds, base, target in figures
    ]


async def _crowd(
    ask: Callable[[str], Awaitable[None]], names: Sequence[str], turns: int
) -> _Crowd:
    """Have each of many ask so often; all of them begin at once."""
    waits: list[float] = []

    async def one(name: str) -> None:
        for _ in range(turns):
            started = perf_counter()
            await ask(name)
            waits.append(perf_counter() - started)

    async def all_of_them() -> None:
        async with anyio.create_task_group() as group:
            for name in names:
                group.start_soon(one, name)

    cost = await timed(all_of_them)
    p95 = statistics.quantiles(waits, n=20)[-1]
    return _Crowd(wall=cost.wall, cpu=cost.cpu, p95=p95)


# --- Memory ---------------------------------------------------------------------------


def _memory(address: str, times: int) -> list[Row]:
    """Return the rows of processes that do nothing else than such turns."""
    before, after = _talked(address, times)
    bare_before, _ = _talked(address, times // 5, "--bare")
    return [
        Row(
            name="memory of turns through a provider, rss",
            unit="MB",
            median=before,
            floor=bare_before,
            note="bare httpx",
        ),
        Row(
            name="memory after two thousand turns through a provider",
            unit="MB",
            median=after,
            floor=before,
            target=Target(limit=2, of="excess"),
            note="after four hundred",
        ),
    ]


def _import() -> Row:
    """Return the row of what a provider adds to a process that has the core."""
    codes = (_CORE, f"{_CORE}import rustyclaw_openai.presets\n")
    core, both = (
        statistics.median(int(_output("-c", code + _TELL)[0]) for _ in range(3))
        for code in codes
    )
    return Row(
        name="import of a provider, rss",
        unit="MB",
        median=both / 1024,
        floor=core / 1024,
        target=Target(limit=12, of="excess"),
        note="the core alone",
    )


def _talked(*arguments: object) -> list[float]:
    return [int(size) / 1024 for size in _output(TALK, *map(str, arguments))]


def _output(*arguments: str) -> list[str]:
    """Run Python; return the lines that it prints."""
    done = subprocess.run(
        (sys.executable, *arguments),
        env=environment(),
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return done.stdout.split()
