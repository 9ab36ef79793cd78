"""Whole processes: the first answer of the command line, and one question."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from clock import Cost, alternate, process
from table import Row, Target

PASS = (sys.executable, "-c", "pass")
#: The libraries that no gateway of ours can do without.
LIBRARIES = (
    sys.executable,
    "-c",
    "import anyio, typer; from pydantic import BaseModel",
)
#: The console script, as users call it.
RUSTYCLAW = Path(sys.executable).with_name("rustyclaw")


def config_home(folder: str, *dists: str) -> Path:
    """Return a state folder whose config allows some dists, whatever is installed."""
    config = f"plugins: {{allow: [{', '.join(dists)}]}}\n"
    Path(folder, "config.yaml").write_text(config, encoding="utf-8")
    return Path(folder)


async def measure(quick: bool) -> list[Row]:
    """Return the rows of ``--version`` and of ``agent -m``."""
    version, bare = await alternate(
        process(RUSTYCLAW, "--version"), process(*PASS), runs=5 if quick else 60
    )
    with TemporaryDirectory() as folder:
        home = str(config_home(folder, "rustyclaw-offline", "rustyclaw-files"))
        once, libraries = await alternate(
            process(RUSTYCLAW, "agent", "-m", "hi", RUSTYCLAW_HOME=home),
            process(*LIBRARIES),
            runs=2 if quick else 30,
            warm_up=1 if quick else 3,
        )
    return [
        *_rows("--version", version, bare, Target(limit=3, of="ratio"), "python -c"),
        *_rows("agent -m hi", once, libraries, Target(limit=400), "its libraries"),
    ]


def _rows(name: str, cost: Cost, floor: Cost, target: Target, note: str) -> list[Row]:
    return [
        Row(
            name=f"{name}, {clock}",
            unit="ms",
            median=getattr(cost, clock) * 1e3,
            floor=getattr(floor, clock) * 1e3,
            target=target,
            note=note,
        )
        for clock in ("cpu", "wall")
    ]
