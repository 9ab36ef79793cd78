"""A way to call a file tool as the gateway does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from rustyclaw import ToolCall, ToolContext, ToolResult
from rustyclaw_files.tools import FilesTools

Call = Callable[..., Awaitable[ToolResult]]


async def call_tool(
    context: ToolContext, name: str, config: dict[str, Any], arguments: dict[str, Any]
) -> ToolResult:
    """Validate the arguments, run the tool, return its result."""
    toolset = FilesTools(FilesTools.Config.model_validate(config))
    tool = next(tool for tool in toolset.tools() if tool.name == name)
    params = tool.parse(ToolCall(id="call_1", name=name, arguments=arguments))
    return await tool.run(params, context)


@pytest.fixture
def call_in() -> Callable[..., Call]:
    """Return what makes a ``call`` for another context or config."""

    def make(context: ToolContext, **config: Any) -> Call:
        async def call(name: str, **arguments: Any) -> ToolResult:
            return await call_tool(context, name, config, arguments)

        return call

    return make


@pytest.fixture
def call(tool_context: ToolContext, call_in: Callable[..., Call]) -> Call:
    """Return ``await call("read_file", path="a.txt")``."""
    return call_in(tool_context)
