"""Memory of an idle gateway, against a process that only runs asyncio."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from clock import environment
from startup import RUSTYCLAW, config_home
from table import Row, Target

BARE = """\
import asyncio

async def main():
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
#: What the libraries of a gateway take before there is a line of ours.
LIBRARIES = """\
import sqlite3
import anyio, importlib_metadata, pluggy, yaml
from pydantic import BaseModel

class Model(BaseModel):
    name: str

list(importlib_metadata.entry_points())  # as any look for plugins does

async def main():
    print("ready", flush=True)
    await anyio.sleep_forever()

anyio.run(main)
"""
#: The same gateway after a turn, when the provider has been imported as well.
USED = """\
import anyio
from rustyclaw import Gateway

async def main():
    async with Gateway() as gateway:
        async for _ in gateway.run("hi"):
            pass
        print("ready", flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


async def measure(quick: bool) -> list[Row]:
    """Return the rows of resident memory, in MB of 2**20 bytes."""
    runs = 1 if quick else 5
    with TemporaryDirectory() as folder:
        home = str(config_home(folder, "rustyclaw-offline"))
        idle = _median(runs, RUSTYCLAW, "gateway", RUSTYCLAW_HOME=home)
        used = _median(runs, sys.executable, "-c", USED, RUSTYCLAW_HOME=home)
    libraries = _median(runs, sys.executable, "-c", LIBRARIES)
    bare = _median(runs, sys.executable, "-c", BARE)
    sizes = [
        ("gateway", idle, Target(limit=36)),
        ("after a turn", used, Target(limit=36)),
        ("libraries alone", libraries, None),
    ]
    return [
        Row(
            name=f"idle memory, {name}, {kind.lower()}",
            unit="MB",
            median=size[kind],
            floor=bare[kind],
            target=target if kind == "Rss" else None,
            note="bare asyncio",
        )
        for name, size, target in sizes
        for kind in ("Rss", "Pss")
    ]


def _median(runs: int, *arguments: str | Path, **env: str) -> dict[str, float]:
    """Start a process several times; return the medians once it is ready."""
    _sizes(arguments, env)  # now all bytecode is written, and need not be made
    sizes = [_sizes(arguments, env) for _ in range(runs)]
    return {kind: statistics.median(s[kind] for s in sizes) for kind in ("Rss", "Pss")}


def _sizes(arguments: Sequence[str | Path], env: Mapping[str, str]) -> dict[str, float]:
    child = subprocess.Popen(arguments, env=environment(**env), stdout=subprocess.PIPE)
    with child:
        try:
            assert child.stdout is not None
            if b"ready" not in child.stdout.readline():
                raise RuntimeError(f"{arguments!r} did not become ready")
            rollup = Path(f"/proc/{child.pid}/smaps_rollup").read_text()
        finally:
            child.kill()
    found = re.findall(r"^(Rss|Pss): +(\d+) kB$", rollup, re.MULTILINE)
    return {kind: int(size) / 1024 for kind, size in found}
