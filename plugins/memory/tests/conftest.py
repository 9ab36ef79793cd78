"""A way to call a memory tool as the gateway does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from rustyclaw import ToolCall, ToolContext, ToolResult
from rustyclaw_memory.tools import MemoryTools

Call = Callable[..., Awaitable[ToolResult]]


@pytest.fixture
def call_in() -> Callable[..., Call]:
    """Return what makes a ``call`` for another context or config."""

    def make(context: ToolContext, **config: Any) -> Call:
        toolset = MemoryTools(MemoryTools.Config.model_validate(config))
        tools = {tool.name: tool for tool in toolset.tools()}

        async def call(name: str, **arguments: Any) -> ToolResult:
            tool = tools[f"memory_{name}"]
            request = ToolCall(id="call_1", name=tool.name, arguments=arguments)
            return await tool.run(tool.parse(request), context)

        return call

    return make


@pytest.fixture
def call(tool_context: ToolContext, call_in: Callable[..., Call]) -> Call:
    """Return ``await call("get", key="a")``."""
    return call_in(tool_context)
