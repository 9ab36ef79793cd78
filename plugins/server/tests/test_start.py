"""The server starts however slow the machine is; restarts come once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
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
