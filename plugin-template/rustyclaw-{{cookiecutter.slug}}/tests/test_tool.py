"""Behaviour of the tool."""

from __future__ import annotations

from rustyclaw import ToolContext

from {{ cookiecutter.__package }}.tool import (
    {{ cookiecutter.__class }}Config,
    {{ cookiecutter.__class }}Tool,
)


async def test_greets_a_person(tool_context: ToolContext) -> None:
    config = {{ cookiecutter.__class }}Config(greeting="Good morning")
    tool = {{ cookiecutter.__class }}Tool(config)

    result = await tool.run(tool.Params(person="Ada"), tool_context)

    assert result.text == "Good morning, Ada!"
