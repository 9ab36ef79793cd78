"""The server starts however slow the machine is; restarts come once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from rustyclaw_server.methods.base import FALLBACK_GROUPS, GROUPS, functions_of
from rustyclaw_server.methods.index import INDEX, UNLISTED
from rustyclaw_server.server import Server

from .conftest import Running, serving


async def test_a_slow_start_is_not_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anyio_backend: Any
) -> None:
    start, told = Server.start, list[str]()

    async def slow(self: Server) -> None:
        await anyio.sleep(0.3)  # the hook has 0.1 s
        told.append("listens")
        await start(self)

    monkeypatch.setattr(Server, "start", slow)
    config = {"plugins": {"budget_seconds": 0.1}}
    async with serving(tmp_path / "home", config=config) as running:
        client = await running.client()
        assert (await client.ask("health"))["ok"] is True
        assert told == ["listens"]
        assert running.gateway.hooks.fault_counts["server"] == 0


@pytest.fixture
def config() -> Mapping[str, Any]:
    return {}


async def test_several_restarts_are_one(running: Running) -> None:
    restarts = running.server.restarts

    first, second = restarts.schedule("one", 10**9), restarts.schedule("two", -5)

    assert (first["coalesced"], second["coalesced"]) == (False, True)
    assert (first["delayMs"], second["delayMs"]) == (60_000, 0)


@pytest.mark.parametrize("command", [("gateway",), ("agent", "--serve")])
@pytest.mark.parametrize(
    ("section", "says"),
    [
        ("{port: many}", "hooks.server.port: must be a valid integer"),
        ("{prt: 1}", "hooks.server.prt: unknown key; did you mean 'port'?"),
        ("{auth: {mode: password}}", "set hooks.server.auth.password"),
    ],
)
def test_without_a_port_there_is_no_gateway(
    command: tuple[str, ...], section: str, says: str, tmp_path: Path
) -> None:
    config = f"plugins: {{allow: [server]}}\nhooks: {{server: {section}}}\n"
    Path(tmp_path, "config.yaml").write_text(config, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "rustyclaw", *command],
        env={**os.environ, "RUSTYCLAW_HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_the_index_of_methods_is_that_of_the_modules() -> None:
    specs = {
        function.__method__.name: (group, function.__method__)
        for group in (*GROUPS, *FALLBACK_GROUPS)
        for function in functions_of(group)
    }

    named = {name: (group, spec.scope) for name, (group, spec) in specs.items()}
    assert named == INDEX, "run `nox -s reference`"
    assert {name for name, (_, spec) in specs.items() if not spec.listed} == UNLISTED
