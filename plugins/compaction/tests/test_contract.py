"""The contracts of the hook plugin, the compactor and the tool."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from rustyclaw import Compactor, Tool, ToolContext
from rustyclaw.testing import (
    CompactorContract,
    FakeProvider,
    HookContract,
    ToolContract,
    make_gateway,
)
from rustyclaw_compaction.compactor import SafeguardCompactor
from rustyclaw_compaction.plugin import CompactionPlugin
from rustyclaw_compaction.recall import Recall


class TestPlugin(HookContract):
    @pytest.fixture
    def plugin(self) -> CompactionPlugin:
        return CompactionPlugin()


class TestSafeguard(CompactorContract):
    @pytest.fixture
    def compactor(self) -> Compactor:
        return SafeguardCompactor()


class TestRecall(ToolContract):
    arguments = {"query": "hello"}

    @pytest.fixture
    async def tool(
        self, tool_context: ToolContext, anyio_backend: Any
    ) -> AsyncIterator[Tool]:
        tool = Recall()
        gateway = make_gateway(tool_context.home, provider=FakeProvider())
        async with gateway:
            async for _ in gateway.run("hello"):
                pass
            tool.gateway = gateway
            yield tool
