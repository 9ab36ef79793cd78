"""The server is a plugin like any other."""

from __future__ import annotations

import pytest
from rustyclaw.testing import HookContract
from rustyclaw_server.config import ServerConfig
from rustyclaw_server.plugin import ServerPlugin


class TestServerPlugin(HookContract):
    @pytest.fixture
    def plugin(self) -> ServerPlugin:
        return ServerPlugin(ServerConfig(enabled=False))
