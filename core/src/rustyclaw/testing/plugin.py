"""The pytest plugin: ``-p rustyclaw.testing.plugin``; imports inside fixtures."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from rustyclaw.interfaces.tool import ToolContext
    from rustyclaw.testing.bot import Bot
    from rustyclaw.testing.fakes import FakeProvider

pytest.register_assert_rewrite("rustyclaw.testing.contracts")


class _Backends:
    """A plugin of its own: it must come after anyio's, whose fixture it replaces."""

    @pytest.fixture(
        scope="module", params=["asyncio", *(["trio"] if find_spec("trio") else [])]
    )
    @staticmethod
    def anyio_backend(request: pytest.FixtureRequest) -> Any:
        """Run each async test on every event loop that is installed."""
        return request.param


def pytest_configure(config: pytest.Config) -> None:
    """Add the fixture that must come last."""
    config.pluginmanager.register(_Backends(), "rustyclaw-backends")


@pytest.fixture
def tool_context(tmp_path: Path) -> ToolContext:
    """Return a place for a tool to run in; its folders exist and are empty."""
    from rustyclaw.interfaces.tool import ToolContext

    agent_dir = tmp_path / "home" / "agents" / "main"
    workspace = agent_dir / "workspace"
    workspace.mkdir(parents=True)
    return ToolContext(
        agent_id="main",
        session_key="agent:main:main",
        run_id="run-1",
        channel="",
        workspace=workspace,
        agent_dir=agent_dir,
        home=tmp_path / "home",
    )


@pytest.fixture
def script() -> Sequence[Any] | None:
    """Return what the fake provider answers; override it. ``None``: it echoes."""
    return None


@pytest.fixture
def fake_provider(script: Sequence[Any] | None) -> FakeProvider:
    """Return the provider that the ``bot`` talks to."""
    from rustyclaw.testing.fakes import FakeProvider

    return FakeProvider(script=script)


@pytest.fixture
def plugins() -> Mapping[str, object]:
    """Return the plugins of the ``bot``, such as ``{"tools.roll": Roll()}``."""
    return {}


@pytest.fixture
async def bot(
    tmp_path: Path,
    fake_provider: FakeProvider,
    plugins: Mapping[str, object],
    anyio_backend: Any,
) -> AsyncIterator[Bot]:
    """Yield a running gateway to chat with."""
    from rustyclaw.testing.bot import Bot

    async with Bot(tmp_path / "home", provider=fake_provider, plugins=plugins) as bot:
        yield bot
