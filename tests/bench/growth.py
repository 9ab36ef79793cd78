"""What must not grow: a turn with the transcript, a tool round with the run."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import play
from clock import Cost, alternate, timed
from rustyclaw import Gateway, Message
from rustyclaw.sessions.entries import Entry
from table import Row, Target

LENGTHS = (10, 1_000, 10_000)
#: Entries that the provider is still sent after a compaction; odd: a question is first.
KEPT = 7
#: Cost may rise by a quarter before it counts as growth: a median is not sharper.
FLAT = Target(limit=1.25, of="ratio")
#: So large that nothing is compacted during a measurement.
WINDOW = 10**9


async def measure(quick: bool) -> list[Row]:
    """Return the rows of long transcripts and of long runs."""
    runs = 3 if quick else 120
    return [
        *await _turns("compacted", runs),
        *await _turns("whole", runs),
        await _opening(2 if quick else 9),
        await _rounds(1 if quick else 15),
    ]


async def _turns(kind: str, runs: int) -> list[Row]:
    """Return a turn's cost with transcripts of all lengths, beside the shortest."""
    model = play.Model(WINDOW)
    with TemporaryDirectory() as folder:
        async with play.gateway(Path(folder), model) as gateway:
            sizes = {}
            for length in LENGTHS:
                await _fill(gateway, str(length), _history(length, kind))
                await play.turn(gateway, model, session=str(length))
                sizes[length] = len(model.requests[-1].messages)
            shortest, *longer = await alternate(
                *(
                    partial(play.turn, gateway, model, session=str(length))
                    for length in LENGTHS
                ),
                runs=runs,
                warm_up=3,
            )
    return [
        Row(
            name=f"turn after {length:,} entries, {kind}, cpu",
            unit="ms",
            median=cost.cpu * 1e3,
            floor=shortest.cpu * 1e3,
            target=FLAT if kind == "compacted" else None,
            note=f"after 10; sends {sizes[length]:,} messages, not {sizes[10]}",
        )
        for length, cost in zip(LENGTHS[1:], longer, strict=True)
    ]


async def _opening(runs: int) -> Row:
    """Return the first turn in a long session, against parsing its lines."""
    model, longest = play.Model(WINDOW), LENGTHS[-1]
    with TemporaryDirectory() as folder:
        settings = {"session": {"max_cached": 1}}
        async with play.gateway(Path(folder), model, settings) as gateway:
            path = await _fill(gateway, "long", _history(longest, "compacted"))

            async def first() -> Cost:
                await play.turn(gateway, model, session="other")  # "long" is forgotten
                return await play.turn(gateway, model, session="long")

            async def parse() -> None:
                with path.open(encoding="utf-8") as lines:
                    assert len([json.loads(line) for line in lines]) >= longest

            cost, floor = await alternate(first, lambda: timed(parse), runs=runs)
    return Row(
        name=f"first turn after {longest:,} entries, cpu",
        unit="ms",
        median=cost.cpu * 1e3,
        floor=floor.cpu * 1e3,
        note="json.loads of its lines",
    )


async def _rounds(runs: int) -> Row:
    """Return rounds 91 to 100 of one turn, beside its rounds 1 to 10."""
    model = play.Model(WINDOW)
    early, late = [], []
    with TemporaryDirectory() as folder:
        async with play.gateway(Path(folder), model) as gateway:
            for run in range(1 + runs):
                model.asked_at.clear()
                await play.turn(gateway, model, 100, session=f"run{run}")
                seconds = _gaps([*model.asked_at, process_time()])
                if run:
                    early += seconds[:10]
                    late += seconds[90:100]
    return Row(
        name="tool rounds 91-100, cpu",
        unit="ms",
        median=statistics.median(late) * 1e3,
        floor=statistics.median(early) * 1e3,
        target=FLAT,
        note="rounds 1-10 of the same turn",
    )


def _gaps(times: Sequence[float]) -> list[float]:
    return [b - a for a, b in pairwise(times)]


def _history(length: int, kind: str) -> list[Entry]:
    """Return a transcript of questions and answers, compacted near its end or not."""
    said = [
        Entry.of(
            Message.user(f"question {number}: what is the weather like in Oslo?")
            if number % 2 == 0
            else Message.assistant(f"answer {number}: it is cold there, and dark.")
        )
        for number in range(length - (kind == "compacted"))
    ]
    if kind == "compacted":
        kept = said[-KEPT].id
        summary = "They spoke about the weather."
        said.append(Entry.compaction(summary=summary, first_kept_id=kept))
    return said


async def _fill(gateway: Gateway, session: str, entries: Sequence[Entry]) -> Path:
    """Write the transcript of a session that is not in use yet."""
    store = gateway.state.sessions
    transcript = await store.transcript(await store.get_or_create(session))
    await transcript.append_many(entries)
    return transcript.path
