"""What a plugin author sees: tools and their schemas, errors, public names."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError
from rustyclaw import errors
from rustyclaw.errors import ProviderError, ToolError
from rustyclaw.interfaces import PluginConfig
from rustyclaw.interfaces.channel import Capabilities, ChannelConfig
from rustyclaw.interfaces.provider import Provider
from rustyclaw.interfaces.tool import (
    Tool,
    ToolContext,
    Toolset,
    parameters_schema,
    tool,
)
from rustyclaw.messages import ToolCall, ToolResult


@tool(effects={"network"}, timeout_seconds=5)
async def weather(city: str, days: int = 3, *, unit: Literal["c", "f"] = "c") -> str:
    """Tell the weather.

    It asks the sky.

    :param city: Name of the city,
        in any language.
    :param days: How far to look ahead.
    :returns: What the sky said.
    """
    return f"{city}: {days} days, {unit}"


class Roll(Tool):
    """Roll dice."""

    name = "roll"

    class Params(BaseModel):
        """This is not for the model."""

        sides: int = Field(6, ge=2, description="sides of each die")
        title: str = ""

    async def run(self, params: Params, context: ToolContext) -> ToolResult:
        return ToolResult(text=str(params.sides), details={"title": params.title})


def calling(name: str, /, **arguments: Any) -> ToolCall:
    return ToolCall(id="call_1", name=name, arguments=arguments)


async def answer(tool: Tool, context: ToolContext, /, **arguments: Any) -> ToolResult:
    return await tool.run(tool.parse(calling(tool.name, **arguments)), context)


# --- The function form ----------------------------------------------------------


async def test_a_function_becomes_a_tool(tool_context: ToolContext) -> None:
    made = weather()
    assert isinstance(made, Tool)
    assert (made.name, made.timeout_seconds) == ("weather", 5)
    assert sorted(made.effects) == ["network"]
    result = await answer(made, tool_context, city="Oslo", unit="f")
    assert result == ToolResult(text="Oslo: 3 days, f")


def test_its_docstring_and_signature_become_the_schema() -> None:
    schema = weather().schema
    assert schema.name == "weather"
    assert schema.description == "Tell the weather.\n\nIt asks the sky."
    assert schema.parameters == {
        "type": "object",
        "properties": {
            "city": {
                "type": "string",
                "description": "Name of the city, in any language.",
            },
            "days": {
                "type": "integer",
                "default": 3,
                "description": "How far to look ahead.",
            },
            "unit": {"type": "string", "enum": ["c", "f"], "default": "c"},
        },
        "required": ["city"],
        "additionalProperties": False,
    }


def test_only_the_prose_is_shown_to_the_model() -> None:
    @tool
    async def nap() -> str:
        """Sleep a little.

        :returns: A dream.
        :raises ToolError: Nobody can sleep.
        """
        return "zzz"

    assert nap().schema.description == "Sleep a little."


async def test_it_may_ask_for_the_context(tool_context: ToolContext) -> None:
    @tool
    async def where(context: ToolContext, name: str = "x") -> ToolResult:
        """Say where we are."""
        return ToolResult(text=f"{context.agent_id} {name}", details={"a": 1})

    made = where()
    assert list(made.schema.parameters["properties"]) == ["name"]
    result = await answer(made, tool_context, name="y")
    assert result == ToolResult(text="main y", details={"a": 1})


def test_it_may_take_another_name_and_nothing_else() -> None:
    @tool(name="clock")
    async def now() -> str:
        """Tell the time."""
        return "noon"

    made = now()
    assert made.name == "clock"
    assert made.schema.parameters["properties"] == {}
    assert made.effects == {"read"}
    with pytest.raises(ToolError, match="wrong arguments for 'clock': zone"):
        made.parse(calling("clock", zone="utc"))


def test_a_sync_function_is_refused() -> None:
    with pytest.raises(TypeError, match="needs an `async def`"):

        @tool  # type: ignore[arg-type]  # that is the point
        def now() -> str:
            """Tell the time."""
            return "noon"


async def test_an_error_of_the_function_is_left_alone(
    tool_context: ToolContext,
) -> None:
    @tool
    async def fails() -> str:
        """Fail."""
        raise ToolError("no luck; try again")

    with pytest.raises(ToolError, match="no luck"):
        await answer(fails(), tool_context)


# --- Schemas and arguments ------------------------------------------------------


def test_a_class_is_described_by_its_own_docstring() -> None:
    schema = Roll().schema
    assert (schema.name, schema.description) == ("roll", "Roll dice.")
    assert "description" not in schema.parameters


def test_titles_go_but_a_field_called_title_stays() -> None:
    class Book(BaseModel):
        title: str
        """The title of the book."""
        parts: list[Part]

    class Part(BaseModel):
        title: str
        properties: dict[str, int] = {}

    Book.model_rebuild(_types_namespace={"Part": Part})
    schema = parameters_schema(Book)
    assert set(schema["properties"]) == {"title", "parts"}
    assert set(schema["$defs"]["Part"]["properties"]) == {"title", "properties"}
    assert '"title": "' not in json.dumps(schema)


def test_values_in_a_schema_are_left_alone() -> None:
    class Card(BaseModel):
        face: dict[str, str] = {"title": "queen"}

    assert parameters_schema(Card)["properties"]["face"]["default"] == {
        "title": "queen"
    }


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, ["city: "]),
        ({"city": 5}, ["city: "]),
        ({"city": "Oslo", "days": "many"}, ["days: "]),
        ({"city": "Oslo", "unit": "k"}, ["unit: "]),
        ({"city": "Oslo", "wind": True}, ["wind: "]),
        ({"days": None, "unit": []}, ["city: ", "days: ", "unit: "]),
    ],
)
def test_each_wrong_argument_is_named(arguments: Any, named: list[str]) -> None:
    with pytest.raises(ToolError) as wrong:
        weather().parse(calling("weather", **arguments))
    message = str(wrong.value)
    assert message.startswith("wrong arguments for 'weather': ")
    assert all(name in message for name in named)
    assert "pydantic" not in message


def test_good_arguments_become_params() -> None:
    params = Roll().parse(calling("roll", sides="12"))
    assert isinstance(params, Roll.Params)
    assert params.sides == 12


# --- The other interfaces -------------------------------------------------------


def test_a_toolset_must_name_its_tools() -> None:
    with pytest.raises(NotImplementedError):
        Toolset().tools()


@pytest.mark.parametrize("model", [PluginConfig, ChannelConfig])
def test_settings_are_frozen_and_strict(model: type[BaseModel]) -> None:
    with pytest.raises(ValidationError):
        model.model_validate({"tokne": "x"})
    with pytest.raises(ValidationError, match="frozen"):
        ChannelConfig().enabled = False  # type: ignore[misc]  # that is the point


def test_defaults_of_a_channel_are_cautious() -> None:
    config = ChannelConfig()
    assert (config.dm_policy, config.group_policy) == ("pairing", "allowlist")
    assert (config.allow_from, config.require_mention) == ((), True)
    assert not Capabilities().idempotent_send


async def test_a_provider_offers_at_least_its_default_model() -> None:
    class Echo(Provider):
        default_model = "echo"

        async def stream(self, request: Any) -> Any:
            yield

    async with Echo() as provider:
        assert [model.id for model in await provider.models()] == ["echo"]


@pytest.mark.parametrize(
    ("kind", "retryable"),
    [
        ("rate_limit", True),
        ("overloaded", True),
        ("timeout", True),
        ("auth", False),
        ("auth_permanent", False),
        ("billing", False),
        ("context_overflow", False),
        ("format", False),
        ("model_not_found", False),
        ("unknown", False),
    ],
)
def test_what_is_worth_another_try(kind: Any, retryable: bool) -> None:
    assert ProviderError("failed", kind=kind).retryable is retryable


# --- Errors ---------------------------------------------------------------------


def test_the_drawing_of_the_errors_is_true() -> None:
    drawn: dict[str, str] = {}
    above = ["Exception"]
    for line in (errors.__doc__ or "").split("::\n", 1)[1].splitlines():
        if found := re.match(r"    ([│├└─ ]*)([A-Z]\w+)( {2,}.+)?$", line):
            depth = len(found[1]) // 4
            above[depth + 1 :] = [found[2]]
            drawn[found[2]] = above[depth]
    real = {
        name: value.__bases__[0].__name__
        for name, value in vars(errors).items()
        if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert drawn == real


def test_a_missing_plugin_says_what_to_install() -> None:
    assert str(errors.PluginNotFound("channel", "nextcloud_talk")) == (
        "channel 'nextcloud_talk' is not installed; "
        "try `pip install rustyclaw-nextcloud-talk`"
    )


# --- Public names ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["rustyclaw", "rustyclaw.testing"])
def test_names_are_the_same_at_run_time_and_for_type_checkers(name: str) -> None:
    module = import_module(name)
    stub = Path(str(module.__file__)).with_suffix(".pyi")
    declared: list[str] = []
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                assert alias.asname == alias.name, f"{alias.name} is not re-exported"
                declared.append(alias.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            declared.append(node.target.id)
    assert sorted(declared) == sorted(module.__all__)
    assert sorted(module.__all__) == dir(module)
    for public in module.__all__:
        assert getattr(module, public) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        module.nothing  # noqa: B018  # the lookup is what is tested


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("rustyclaw", {"pydantic", "asyncio", "anyio", "pluggy", "rustyclaw.messages"}),
        ("rustyclaw.testing", {"pydantic", "asyncio", "anyio", "pytest"}),
        ("rustyclaw.testing.plugin", {"pydantic", "anyio", "rustyclaw.messages"}),
        ("rustyclaw.testing.broken", {"pydantic", "anyio", "rustyclaw.messages"}),
    ],
)
def test_an_import_is_cheap(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not absent & set(process.stdout.split())
