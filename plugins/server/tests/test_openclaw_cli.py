"""The real OpenClaw command lines talk to our gateway.

Skipped unless the variable ``OPENCLAW_CLIS`` names folders, separated by ``:``, that
each hold ``node_modules/openclaw`` (and ``bin/node``, if the system has no node).
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from .conftest import TOKEN, Running

FOLDERS = [
    Path(name) for name in os.environ.get("OPENCLAW_CLIS", "").split(":") if name
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDERS, reason="OPENCLAW_CLIS names no folder"),
]


@pytest.fixture
def config() -> Mapping[str, Any]:
    return {"channels": {"fake": {"dm_policy": "open"}}}


@pytest.fixture(params=FOLDERS or [Path("none")], ids=lambda path: path.name)
def openclaw(request: pytest.FixtureRequest, running: Running, tmp_path: Path) -> Any:
    """Return a function that runs a command line, in a home of its own."""
    folder: Path = request.param
    settings = tmp_path / ".openclaw" / "openclaw.json"
    settings.parent.mkdir()
    url = running.url.replace("http", "ws")
    remote = {"mode": "remote", "remote": {"url": url, "token": TOKEN}}
    settings.write_text(json.dumps({"gateway": remote}))
    own = folder / "bin" / "node"
    node = str(own) if own.exists() else str(shutil.which("node"))
    script = str(folder / "node_modules" / "openclaw" / "openclaw.mjs")
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "NO_COLOR": "1"}

    async def run(*arguments: str) -> str:
        def work() -> str:
            done = subprocess.run(
                [node, script, *arguments],
                env=env,
                capture_output=True,
                text=True,
                timeout=180,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        return await anyio.to_thread.run_sync(work)

    return run


@pytest.mark.parametrize(
    ("method", "key"),
    [
        ("status", "sessions"),
        ("config.get", "hash"),
        ("models.list", "models"),
        ("channels.status", "channelOrder"),
        ("logs.tail", "lines"),
    ],
)
async def test_gateway_call(openclaw: Any, method: str, key: str) -> None:
    answer = json.loads(await openclaw("gateway", "call", method, "--json"))

    assert key in answer


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("gateway health", "OK ("),
        ("gateway probe", "Reachable: yes"),
        ("channels status", "Gateway reachable"),
        ("status", "reachable"),
        ("logs --plain", "a line of the log"),
        ("system presence", '"mode": "gateway"'),
        ("gateway usage-cost", "tokens"),
    ],
)
async def test_a_command(openclaw: Any, command: str, said: str) -> None:
    logging.getLogger("rustyclaw").warning("a line of the log")

    assert said in await openclaw(*command.split())
