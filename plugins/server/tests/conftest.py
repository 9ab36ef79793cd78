"""A real server on a free port, with a scripted model and a fake channel.

What a test may override: ``script`` (what the model says), ``settings`` (the section
``hooks.server``), ``config`` (further sections) and ``plugins``. The config stands in
a real file of a real home.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from rustyclaw import Gateway, load_config
from rustyclaw.testing import FakeChannel, FakeProvider
from rustyclaw_server.plugin import ServerPlugin

from .client import Client, Device

if TYPE_CHECKING:
    from rustyclaw_server.server import Server

TOKEN = "a-shared-token-of-tests"


@dataclass(slots=True, kw_only=True)
class Running:
    """A gateway that is served; `client` makes connections to it."""

    gateway: Gateway
    server: Server
    provider: FakeProvider
    channel: FakeChannel
    stack: AsyncExitStack
    token: str = TOKEN

    @property
    def url(self) -> str:
        """Where it listens, such as ``http://127.0.0.1:40123``."""
        return self.server.url

    async def client(self, **options: Any) -> Client:
        """Connect a client that is closed at the end; see `Client` for the options."""
        options.setdefault("token", self.token)
        return await self.stack.enter_async_context(Client(self.url, **options))

    async def socket(self, **options: Any) -> Client:
        """Open a connection that has not said who it is."""
        options.setdefault("token", self.token)
        client = Client(self.url, **options)
        await client.open()
        self.stack.push_async_callback(client.close)
        return client


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Run on asyncio alone, as uvicorn does."""
    return "asyncio"


@pytest.fixture
def settings() -> Mapping[str, Any]:
    """Return what stands in ``hooks.server``, beside a free port and the token."""
    return {}


@pytest.fixture
def config() -> Mapping[str, Any]:
    """Return further sections of the config."""
    return {}


@pytest.fixture
def device() -> Device:
    """Return a device of its own."""
    return Device()


@asynccontextmanager
async def serving(
    home: Path,
    *,
    provider: FakeProvider | None = None,
    plugins: Mapping[str, object] | None = None,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
) -> AsyncIterator[Running]:
    """Serve a gateway; a test may do so several times for one home."""
    home.mkdir(parents=True, exist_ok=True)
    section = {"port": 0, "auth": {"token": TOKEN}, **(settings or {})}
    sections = dict(config or {})
    agents = dict(sections.get("agents", {}))
    agents["defaults"] = {"model": "fake/fake", **agents.get("defaults", {})}
    hooks = {**sections.get("hooks", {}), "server": section}
    # A test may end in the middle of a run, which need not be waited for.
    sections["gateway"] = {"drain_seconds": 0.2, **sections.get("gateway", {})}
    path = home / "config.yaml"
    path.write_text(yaml.safe_dump({**sections, "agents": agents, "hooks": hooks}))
    provider, channel = provider or FakeProvider(), FakeChannel()
    made: list[ServerPlugin] = []

    class Plugin(ServerPlugin):
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            made.append(self)

    gateway = Gateway(
        load_config(path, home=home, env={}),
        home=home,
        channels=True,
        plugins={
            "providers.fake": provider,
            "channels.fake": channel,
            "hooks.server": Plugin,
            **(plugins or {}),
        },
        discover=False,
    )
    async with gateway, AsyncExitStack() as stack:
        server = made[0]._server
        assert server is not None, "the server has not started; see the log"
        yield Running(
            gateway=gateway,
            server=server,
            provider=provider,
            channel=channel,
            stack=stack,
        )


@pytest.fixture
async def running(
    tmp_path: Path,
    fake_provider: FakeProvider,
    plugins: Mapping[str, object],
    settings: Mapping[str, Any],
    config: Mapping[str, Any],
    anyio_backend: Any,
) -> AsyncIterator[Running]:
    """Yield a gateway that is served, with the parts that the test has chosen."""
    async with serving(
        tmp_path / "home",
        provider=fake_provider,
        plugins=plugins,
        settings=settings,
        config=config,
    ) as running:
        yield running


@pytest.fixture
async def client(running: Running) -> Client:
    """Return a client that may do everything."""
    return await running.client()
