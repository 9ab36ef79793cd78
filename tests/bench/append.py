"""One entry of a transcript on the disk, against ``os.write`` and ``os.fsync``."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from clock import Cost, alternate, timed
from rustyclaw import Message
from rustyclaw.sessions.entries import Entry, encode
from rustyclaw.sessions.transcript import Transcript
from table import Row

TEXT = "The quick brown fox jumps over the lazy dog. " * 4


async def measure(quick: bool) -> list[Row]:
    """Return the rows of an append that is forced to the disk."""
    with TemporaryDirectory() as folder:
        transcript = Transcript(Path(folder, "ours.jsonl"), "agent:main:main")
        line = encode(Entry.of(Message.user(TEXT)))
        fd = os.open(Path(folder, "raw.jsonl"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)

        async def append() -> object:
            return await transcript.append(Entry.of(Message.user(TEXT)), sync=True)

        async def write() -> None:
            os.write(fd, line)
            os.fsync(fd)

        async def ours() -> Cost:
            return await timed(append)

        async def raw() -> Cost:
            return await timed(write)

        try:
            cost, floor = await alternate(ours, raw, runs=20 if quick else 300)
        finally:
            os.close(fd)
    return [
        Row(
            name=f"append and fsync, {clock}",
            unit="us",
            median=getattr(cost, clock) * 1e6,
            floor=getattr(floor, clock) * 1e6,
            note="os.write and os.fsync",
        )
        for clock in ("cpu", "wall")
    ]
