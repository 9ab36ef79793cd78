"""The core stays small, and starting it stays cheap."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

CORE = Path(__file__).parents[1] / "core" / "src" / "rustyclaw"
#: The design wants 5,000; see docs/decisions/0009. A raise needs a reason.
MAX_LINES = 11246
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


#: `rustyclaw gateway`, which says at its end what it has loaded. Python's own log of
#: imports lacks what was loaded by name, as plugins are.
_GATEWAY = """\
import atexit, sys
atexit.register(lambda: print("loaded", *sys.modules, file=sys.stderr))
sys.argv[1:] = ["gateway"]
from rustyclaw.cli import main
main()
"""


@contextmanager
def gateway_of(home: Path, config: str) -> Iterator[set[str]]:
    """Run a gateway; the modules that it has loaded are in the set at the end."""
    Path(home, "config.yaml").write_text(config, "utf-8")
    loaded: set[str] = set()
    with (
        Path(home, "log").open("w+", encoding="utf-8") as log,
        subprocess.Popen(
            [sys.executable, "-c", _GATEWAY],
            env={**os.environ, "RUSTYCLAW_HOME": str(home)},
            stdout=subprocess.PIPE,
            stderr=log,
        ) as gateway,
    ):
        try:
            assert gateway.stdout is not None
            ready = gateway.stdout.readline()
            assert b"is ready" in ready, Path(log.name).read_text("utf-8")[-2000:]
            yield loaded
            gateway.terminate()
            assert gateway.wait(timeout=60) == 0
        finally:
            gateway.kill()
        log.seek(0)
        loaded |= set(log.read().rpartition("loaded ")[2].split())


def test_an_idle_gateway_holds_no_parser_of_command_lines(tmp_path: Path) -> None:
    with gateway_of(tmp_path, "plugins: {allow: []}\n") as loaded:
        pass

    assert "pydantic" in loaded, "the test sees what is loaded"
    assert not loaded & {"click", "rich", "typer"}


#: What a served gateway at rest has no use for; `docs/decisions/0024` has the prices.
IDLE = {
    "click",
    "rich",
    "typer",
    "multiprocessing",
    "html",
    "cryptography",
    "httpx",
} | {
    *("uvicorn.main", "websockets", "starlette.applications", "ctypes"),
    *("rustyclaw_server.http.openapi", "rustyclaw_server.http.openai.chat"),
    *("rustyclaw_server.http.openai.responses", "rustyclaw_server.http.hooks"),
}
_SERVED = """\
plugins: {allow: [offline, server, control_ui, webchat]}
providers: {offline: {}}
channels: {webchat: {}}
hooks: {server: {port: 0}}
"""


def test_a_served_gateway_loads_what_it_needs_and_no_more(tmp_path: Path) -> None:
    with gateway_of(tmp_path, _SERVED) as loaded:
        url = json.loads(Path(tmp_path, "gateway.json").read_text("utf-8"))["url"]
        for path in ("/health", "/"):
            with urlopen(f"{url}{path}", timeout=30) as answer:
                assert answer.status == 200

    assert {"uvicorn.server", "rustyclaw_webchat.channel"} <= loaded
    assert not loaded & IDLE
    groups = {name for name in loaded if name.startswith("rustyclaw_server.methods.")}
    assert groups == {"rustyclaw_server.methods.base", "rustyclaw_server.methods.index"}
    # 569 with Python 3.11; each further one is slower to start and stays in memory.
    assert len(loaded) < 590


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
    rows = (r for r in done.stderr.splitlines() if r.startswith("import time:"))
    return {row.rpartition("|")[2].strip().partition(".")[0] for row in rows}
