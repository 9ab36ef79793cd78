"""Starts a gateway as a process: its memory, its log and its end are its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .conftest import TOKEN

HOST = Path(__file__).with_name("host.py")


@dataclass(slots=True, kw_only=True)
class Process:
    """A gateway that runs.

    :ivar url: Where it listens.
    """

    child: asyncio.subprocess.Process
    home: Path
    url: str

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return (self.home / "log").read_text(encoding="utf-8")

    @property
    def rss(self) -> float:
        """Its memory in MiB."""
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
        assert found
        return int(found[1]) / 1024

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.child.send_signal(number)

    async def served(self) -> None:
        """Wait until it is there, for the first time or after a restart in place."""
        assert self.child.stdout is not None
        async with asyncio.timeout(60):
            line = await self.child.stdout.readline()
        assert line, self.log
        assert json.loads(line)["served"], self.log
        self.url = json.loads((self.home / "gateway.json").read_text())["url"]

    async def ended(self, seconds: float = 30.0) -> int:
        """Wait for its end; return the exit code, negative for a signal."""
        async with asyncio.timeout(seconds):
            return await self.child.wait()


@asynccontextmanager
async def started(
    home: Path,
    settings: Mapping[str, Any] | None = None,
    token: str = TOKEN,
    **sections: Any,
) -> AsyncIterator[Process]:
    """Start a gateway of a home; it is killed at the end, if it still runs."""
    home.mkdir(parents=True, exist_ok=True)
    section = {"port": 0, "auth": {"token": token}, **(settings or {})}
    config = {
        "agents": {"defaults": {"model": "fake/fake"}},
        "hooks": {"server": section},
        "logging": {"level": "info"},
        **sections,
    }
    (home / "config.yaml").write_text(yaml.safe_dump(config))
    env = {k: v for k, v in os.environ.items() if not k.startswith("RUSTYCLAW_")}
    with (home / "log").open("ab") as log:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, str(HOST), str(home)),
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env=env,
        )
    try:
        process = Process(child=child, home=home, url="")
        await process.served()
        yield process
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
