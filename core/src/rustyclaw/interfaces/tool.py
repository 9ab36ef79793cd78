"""The Tool interface: something that the model may ask the gateway to do.

A whole plugin, as a class::

    class Roll(Tool):
        \"\"\"Roll dice and return the sum.\"\"\"          # REQUIRED: the description

        name = "roll"                                  # REQUIRED

        class Params(BaseModel):                       # REQUIRED unless empty
            sides: int = Field(6, ge=2, description="sides of each die")

        async def run(self, params: Params, context: ToolContext) -> ToolResult:
            return ToolResult(text=str(random.randint(1, params.sides)))

or as a function, whose parameters become ``Params``::

    @tool(effects={"network"})
    async def weather(city: str) -> str:
        \"\"\"Tell the weather.

        :param city: Name of the city.
        \"\"\"

The entry point names a `Tool` class, an ``@tool`` function or a `Toolset`.
"""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_type_hints, overload

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from rustyclaw.errors import ToolError
from rustyclaw.interfaces import Configured, PluginConfig
from rustyclaw.messages import ToolCall, ToolResult, ToolSchema

Effect = Literal["read", "write", "network", "exec", "message"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext:
    """Where a tool runs.

    :param workspace: The agent's own folder: the default place for files.
    :param agent_dir: Where the tool may keep what belongs to this agent.
    :param home: The gateway's state; only ``workspace`` in it may be shown.
    :param tainted: The run has read what a stranger may have written.
    """

    agent_id: str
    session_key: str
    run_id: str
    channel: str
    workspace: Path
    agent_dir: Path
    home: Path
    tainted: bool = False


class Tool(Configured, ABC):
    """One tool. The docstring of the class is what the model reads.

    :cvar name: Lower-case with underscores; unique among all tools.
    :cvar effects: What it can do to the world. Calls of tools that only
        ``read`` run side by side; policies may refuse by effect.
    :cvar timeout_seconds: Its deadline; then it is cancelled.
    """

    name: ClassVar[str]
    Params: ClassVar[type[BaseModel]] = PluginConfig
    effects: ClassVar[frozenset[Effect]] = frozenset({"read"})
    timeout_seconds: ClassVar[float] = 120.0

    @abstractmethod
    async def run(self, params: Any, context: ToolContext) -> ToolResult:
        """Do it. REQUIRED.

        :param params: A validated instance of ``Params``.
        :raises ToolError: It failed; the model reads the message.
        """

    async def check(self, params: Any, context: ToolContext) -> None:
        """Judge exactly these parameters, after the last hook has changed them.

        :raises Veto: Not to run; the model is shown the reason.
        :raises Ask: To run only if an operator says yes to this very call.
        """

    @property
    def schema(self) -> ToolSchema:
        """The tool as models are shown it."""
        return ToolSchema(
            name=self.name,
            description=inspect.cleandoc(type(self).__doc__ or ""),
            parameters=parameters_schema(self.Params),
        )

    def parse(self, call: ToolCall) -> BaseModel:
        """Validate the arguments of a call.

        :raises ToolError: Naming each wrong argument, for the model to mend.
        """
        try:
            return self.Params.model_validate(dict(call.arguments))
        except ValidationError as exc:
            problems = "; ".join(
                f"{'.'.join(map(str, e['loc'])) or 'arguments'}: {e['msg']}"
                for e in exc.errors(include_url=False, include_input=False)
            )
            raise ToolError(f"wrong arguments for {self.name!r}: {problems}") from None


class Toolset(Configured):
    """Several tools that come and go together and share one config section."""

    def tools(self) -> Sequence[Tool]:
        """Return the tools. REQUIRED."""
        raise NotImplementedError


def parameters_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema of a model without what a language model ignores."""
    schema = _trimmed(model.model_json_schema())
    schema.pop("description", None)
    return {"properties": {}, **schema}


def _trimmed(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema without titles; values such as defaults are left alone."""
    trimmed = {key: value for key, value in schema.items() if key != "title"}
    for key, value in trimmed.items():
        if key in ("properties", "$defs"):
            trimmed[key] = {name: _trimmed(sub) for name, sub in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            trimmed[key] = _trimmed(value)
        elif key in ("anyOf", "allOf", "oneOf", "prefixItems"):
            trimmed[key] = [_trimmed(sub) for sub in value]
    return trimmed


@overload
def tool(function: Callable[..., Awaitable[Any]], /) -> type[Tool]: ...
@overload
def tool(
    *,
    name: str | None = None,
    effects: Iterable[Effect] = ("read",),
    timeout_seconds: float = 120.0,
) -> Callable[[Callable[..., Awaitable[Any]]], type[Tool]]: ...
def tool(
    function: Callable[..., Awaitable[Any]] | None = None,
    *,
    name: str | None = None,
    effects: Iterable[Effect] = ("read",),
    timeout_seconds: float = 120.0,
) -> Any:
    """Turn an ``async def`` into a `Tool` class.

    Parameters become ``Params`` (their help from ``:param x:`` lines), except one
    called ``context``, which receives the `ToolContext`. A ``str`` that is
    returned becomes the text of the result.
    """
    if function is None:
        return lambda f: _tool_class(f, name, effects, timeout_seconds)
    return _tool_class(function, name, effects, timeout_seconds)


def _tool_class(
    function: Callable[..., Awaitable[Any]],
    name: str | None,
    effects: Iterable[Effect],
    timeout_seconds: float,
) -> type[Tool]:
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"@tool needs an `async def`, not {function!r}")
    signature = inspect.signature(function)
    wants_context = "context" in signature.parameters
    summary, help_of = _split_docstring(inspect.getdoc(function) or "")
    hints = get_type_hints(
        function,
        {**function.__globals__, "ToolContext": ToolContext},
        include_extras=True,
    )
    fields: dict[str, Any] = {
        p.name: (
            hints.get(p.name, str),
            Field(
                ... if p.default is p.empty else p.default,
                description=help_of.get(p.name),
            ),
        )
        for p in signature.parameters.values()
        if p.name != "context"
    }

    async def run(self: Tool, params: BaseModel, context: ToolContext) -> ToolResult:
        arguments = {field: getattr(params, field) for field in fields}
        if wants_context:
            arguments["context"] = context
        answer = await function(**arguments)
        return answer if isinstance(answer, ToolResult) else ToolResult(text=answer)

    attributes = {
        "__doc__": summary,
        "__module__": function.__module__,
        "name": name or function.__name__,
        "Params": create_model(
            f"{function.__name__}_params",
            __config__=ConfigDict(extra="forbid"),
            **fields,
        ),
        "effects": frozenset(effects),
        "timeout_seconds": timeout_seconds,
        "run": run,
    }
    return type(function.__name__, (Tool,), attributes)


def _split_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Split a docstring into its prose and the help of its parameters."""
    prose, *fields = re.split(r"^(?=:\w+)", text, flags=re.MULTILINE)
    named = (re.match(r":param (\w+):(.*)", field, re.DOTALL) for field in fields)
    return prose.strip(), {m[1]: " ".join(m[2].split()) for m in named if m}
