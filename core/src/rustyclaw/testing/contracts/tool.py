"""What every tool must keep."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar, get_args

import anyio
import pytest
from pydantic import BaseModel

from rustyclaw.errors import Ask, ToolError
from rustyclaw.interfaces.tool import Effect, Tool, ToolContext, Toolset
from rustyclaw.messages import ToolCall, ToolResult
from rustyclaw.testing.contracts.base import Contract, check_config, seconds_to_leave

Arguments = Mapping[str, Any] | None
Calls = list[tuple[Tool, Arguments]]

_TYPES = {"object", "array", "string", "integer", "number", "boolean", "null"}
#: Hardly any parameter takes both; one that does takes anything.
_WRONG_VALUES: tuple[Any, ...] = ({"\0": [None]}, [[{"\0": None}]])


def _parsed(tool: Tool, arguments: Mapping[str, Any]) -> BaseModel:
    return tool.parse(ToolCall(id="call_1", name=tool.name, arguments=arguments))


def _refusal(tool: Tool, arguments: Mapping[str, Any]) -> str | None:
    try:
        _parsed(tool, arguments)
    except ToolError as exc:
        return str(exc)
    return None


class _ToolTests(Contract):
    """The tests of one tool, made for all tools of ``calls``.

    :cvar may_fail: The example calls may fail, since what they need is not here.
    :cvar max_schema_bytes: Limit of a schema; each request pays for it in tokens.
    """

    __test__ = False
    may_fail: ClassVar[bool] = False
    max_schema_bytes: ClassVar[int] = 2048

    async def test_name(self, calls: Calls) -> None:
        """If this fails, name the tool with a-z, 0-9 and underscores."""
        for tool, _ in calls:
            assert re.fullmatch(r"[a-z][a-z0-9_]{0,63}", tool.name), tool.name

    async def test_description(self, calls: Calls) -> None:
        """If this fails, give the class a docstring: the model reads it."""
        for tool, _ in calls:
            assert tool.schema.description, f"{tool.name!r} has no docstring"

    async def test_schema(self, calls: Calls) -> None:
        """If this fails, make ``Params`` a plain and small pydantic model."""
        for tool, _ in calls:
            assert tool.schema.name == tool.name
            schema = dict(tool.schema.parameters)
            text = json.dumps(schema)
            assert len(text) < self.max_schema_bytes, f"{tool.name!r}: {len(text)} B"
            assert schema["type"] == "object", f"{tool.name!r} takes {schema['type']}"
            properties = schema["properties"]
            assert set(schema.get("required", ())) <= set(properties)
            for name, field in properties.items():
                types = field.get("type", [])
                types = {types} if isinstance(types, str) else set(types)
                assert types <= _TYPES, f"{tool.name!r}, {name!r}: {types}"
            for name in re.findall(r'"\$ref": "#/\$defs/([^"]*)"', text):
                assert name in schema["$defs"], f"{tool.name!r}: dangling {name!r}"

    async def test_effects(self, calls: Calls) -> None:
        """If this fails, say in ``effects`` what the tool does to the world."""
        for tool, _ in calls:
            assert isinstance(tool.effects, frozenset), "make `effects` a frozenset"
            unknown = tool.effects - set(get_args(Effect))
            assert not unknown, f"{tool.name!r}: {unknown}; known: {get_args(Effect)}"
            assert tool.timeout_seconds > 0

    async def test_bad_arguments(self, calls: Calls) -> None:
        """If this fails, type the fields of ``Params``; do not override `parse`.

        A model mends its call only if the error names the wrong argument.
        """
        for tool, arguments in calls:
            schema = tool.schema.parameters
            if required := schema.get("required", ()):
                error = _refusal(tool, {})
                assert error is not None, f"{tool.name!r} runs without {required}"
                for name in required:
                    assert name in error, f"missing {name!r} is not named: {error}"
            for name in schema["properties"]:
                for wrong in _WRONG_VALUES:
                    error = _refusal(tool, {**(arguments or {}), name: wrong})
                    assert error is None or name in error, (
                        f"wrong {name!r} is not named: {error}"
                    )

    async def test_valid_call(self, calls: Calls, tool_context: ToolContext) -> None:
        """If this fails, return a `ToolResult`, with ``is_error`` for a failure.

        Set ``may_fail = True`` if the example cannot succeed in a test.
        """
        ran = False
        for tool, arguments in calls:
            if arguments is None:
                continue
            ran = True
            params = _parsed(tool, arguments)
            try:
                with anyio.fail_after(self.patience_seconds):
                    with suppress(Ask):  # here the operator always says yes
                        await tool.check(params, tool_context)
                    result = await tool.run(params, tool_context)
            except ToolError as exc:
                result = ToolResult.error(str(exc))
            assert isinstance(result, ToolResult), f"{tool.name!r} returned {result!r}"
            assert isinstance(result.text, str), f"{tool.name!r}: {result.text!r}"
            json.dumps(dict(result.details))  # raises if `details` are not JSON
            assert self.may_fail or not result.is_error, f"{tool.name!r}: {result.text}"
        if not ran:
            pytest.skip("no example call is given")

    async def test_cancellation(self, calls: Calls, tool_context: ToolContext) -> None:
        """If this fails, let every await be cancelled, and block in no call.

        Blocking work belongs into `anyio.to_thread.run_sync`, long work with
        ``abandon_on_cancel=True``; child processes are killed.
        """
        for tool, arguments in calls:
            if arguments is None:
                continue
            run = partial(tool.run, _parsed(tool, arguments), tool_context)
            seconds = await seconds_to_leave(run, ToolError)
            assert seconds < self.prompt_seconds, (
                f"{tool.name!r} stayed {seconds:.1f} s"
            )


class ToolContract(_ToolTests):
    """What every tool must keep. Define the fixture ``tool``.

    :cvar arguments: A valid call; ``None`` if none is possible in a test.
    """

    __test__ = False
    arguments: ClassVar[Arguments] = None

    @pytest.fixture
    def tool(self) -> Tool:
        """Return the tool. REQUIRED."""
        raise NotImplementedError("define the fixture `tool` in your contract class")

    @pytest.fixture
    def calls(self, tool: Tool) -> Calls:
        """Return the tool with its example."""
        return [(tool, self.arguments)]

    async def test_construction(self, tool: Tool) -> None:
        """If this fails, take the validated ``config`` as the only argument."""
        check_config(tool)
        assert type(tool)(tool.config).name == tool.name


class ToolsetContract(_ToolTests):
    """What every toolset must keep. Define the fixture ``toolset``.

    :cvar examples: A valid call for each tool by its name, in the order in which
        they run in one place; ``None`` where none is possible in a test.
    """

    __test__ = False
    examples: ClassVar[Mapping[str, Arguments]] = {}

    @pytest.fixture
    def toolset(self) -> Toolset:
        """Return the toolset. REQUIRED."""
        raise NotImplementedError("define the fixture `toolset` in your contract class")

    @pytest.fixture
    def calls(self, toolset: Toolset) -> Calls:
        """Return the tools with their examples, in the order of the examples."""
        place = {name: number for number, name in enumerate(self.examples)}
        tools = sorted(toolset.tools(), key=lambda t: place.get(t.name, len(place)))
        return [(tool, self.examples.get(tool.name)) for tool in tools]

    async def test_examples(self, toolset: Toolset) -> None:
        """If this fails, name each tool once and give each an example (or None)."""
        names = [tool.name for tool in toolset.tools()]
        assert names, "the toolset has no tools"
        assert len(set(names)) == len(names), f"a name is there twice: {names}"
        assert set(self.examples) == set(names)

    async def test_construction(self, toolset: Toolset) -> None:
        """If this fails, take the validated ``config`` as the only argument."""
        check_config(toolset)
        again = type(toolset)(toolset.config)
        assert [t.name for t in again.tools()] == [t.name for t in toolset.tools()]
