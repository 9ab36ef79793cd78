"""The core stays small, and starting it stays cheap."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CORE = Path(__file__).parents[1] / "core" / "src" / "rustyclaw"
#: The design wants 5,000; see docs/decisions/0009. A raise needs a reason.
MAX_LINES = 10470
#: Neither the command line's first answers nor an import may pay for these.
HEAVY = {"asyncio", "httpx", "pydantic", "pydantic_core", "trio"}
#: The core never imports these at all.
FOREIGN = {"cookiecutter", "httpx", "starlette", "uvicorn", "wasmtime", "watchdog"}


def test_the_core_fits_its_budget() -> None:
    sizes = {
        path: path.read_text(encoding="utf-8").count("\n")
        for path in CORE.rglob("*.py")
        if "testing" not in path.relative_to(CORE).parts
    }

    total = sum(sizes.values())
    assert total <= MAX_LINES, f"the core has {total} lines"


@pytest.mark.parametrize(
    "arguments",
    [
        ("-c", "import rustyclaw"),
        ("-m", "rustyclaw", "--version"),
        ("-m", "rustyclaw", "--help"),
    ],
    ids=["import", "version", "help"],
)
def test_first_answers_load_no_plugin_and_nothing_heavy(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    loaded = modules_of(*arguments, home=tmp_path)

    assert "rustyclaw" in loaded
    assert not loaded & (HEAVY | FOREIGN)
    assert not {name for name in loaded if name.startswith("rustyclaw_")}


def test_the_core_imports_no_library_of_a_plugin(tmp_path: Path) -> None:
    loaded = modules_of("-c", "import rustyclaw.gateway", home=tmp_path)

    assert "pydantic" in loaded, "the test sees what is loaded"
    assert not loaded & FOREIGN
    assert not {name for name in loaded if name.startswith("rustyclaw_")}


def test_an_idle_gateway_holds_no_parser_of_command_lines(tmp_path: Path) -> None:
    Path(tmp_path, "config.yaml").write_text("plugins: {allow: []}\n", "utf-8")
    command = [sys.executable, "-X", "importtime", "-m", "rustyclaw", "gateway"]
    with (
        Path(tmp_path, "log").open("w+", encoding="utf-8") as log,
        subprocess.Popen(
            command,
            env={**os.environ, "RUSTYCLAW_HOME": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=log,
        ) as gateway,
    ):
        assert gateway.stdout is not None
        ready = gateway.stdout.readline()
        gateway.terminate()
        assert b"is ready" in ready, Path(log.name).read_text("utf-8")[-2000:]
        assert gateway.wait(timeout=60) == 0
        log.seek(0)
        loaded = top_level_modules(log.read())

    assert "pydantic" in loaded, "the test sees what is loaded"
    assert not loaded & {"click", "rich", "typer"}


def modules_of(*arguments: str, home: Path) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded at its end."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        env={**os.environ, "RUSTYCLAW_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return top_level_modules(done.stderr)


def top_level_modules(log: str) -> set[str]:
    """Return the modules that a log of ``-X importtime`` names."""
    rows = (line for line in log.splitlines() if line.startswith("import time:"))
    return {row.rpartition("|")[2].strip().partition(".")[0] for row in rows}
