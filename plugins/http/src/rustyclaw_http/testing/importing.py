"""What a provider costs who imports it, and that nobody else does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

#: The most that a provider may add to the core, in bytes of resident memory.
LIMIT = 12_000_000

_TURN = """
import sys, tempfile
from pathlib import Path
import anyio
from rustyclaw import Gateway
from rustyclaw.testing import FakeProvider

async def main():
    with tempfile.TemporaryDirectory() as home:
        fake = {"providers.fake": FakeProvider()}
        config = {
            "agents": {"defaults": {"model": sys.argv[1]}},
            "providers": {"groq": {"discover_models": False}},
        }
        async with Gateway(config, home=Path(home), channels=False, plugins=fake) as g:
            async for event in g.run("hi"):
                pass

anyio.run(main)
print(*sorted(name for name in sys.modules if name in sys.argv))
"""
_WEIGHT = """
import rustyclaw.testing
from rustyclaw import Gateway, Provider, ProviderError, Secret, Message, load_config
import anyio, asyncio, pydantic, sys
from importlib import import_module

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

before = resident()
import_module(sys.argv[1])
print(resident() - before)
"""


def imported_by_a_turn(model: str, *packages: str) -> str:
    """Return those packages that a gateway has imported after a turn with a model."""
    return _run(_TURN, model, *packages)


def check_weight(module: str) -> None:
    """Check what the import of a module adds to the core."""
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs Linux")
    first, second = (int(_run(_WEIGHT, module)) for _ in range(2))
    assert min(first, second) < LIMIT  # the first one may have to compile


def _run(program: str, *arguments: str) -> str:
    # what is compiled anew each time would be weighed as well
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(  # noqa: S603 - a program of our own
        [sys.executable, "-c", program, *arguments],
        env=env,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()
