"""The tools and the chat commands that are there."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from rustyclaw_server.auth.scopes import READ
from rustyclaw_server.methods.base import Context, method
from rustyclaw_server.wire.frames import Wire

Word = Field(None, max_length=256)
#: The commands of the core: what each does, and its argument if it takes one.
COMMANDS = {
    "new": ("begin a new conversation", ""),
    "reset": ("begin a new conversation", ""),
    "compact": ("shorten this conversation", "what to keep above all"),
    "model": ("show the model, or use another", "`provider/model`, or `default`"),
    "think": ("show how hard the model thinks, or change it", "a level, or `default`"),
    "stop": ("stop what the assistant is doing", ""),
    "status": ("show model, size and usage of this conversation", ""),
    "help": ("show what can be typed here", ""),
}
_CATEGORIES = {
    **dict.fromkeys(("help", "status"), "status"),
    **dict.fromkeys(("model", "think"), "options"),
}
#: What a tool's effects mean for who lets it run.
_RISKS = {"exec": "high", "write": "medium", "message": "medium", "network": "medium"}
_PROFILES = ("minimal", "coding", "messaging", "full")


class CommandsParams(Wire):
    """Parameters of ``commands.list``."""

    agent_id: str | None = Word
    provider: str | None = Word
    scope: Literal["text", "native", "both"] | None = None
    include_args: bool | None = None


class CommandsResult(Wire):
    """The commands."""

    commands: list[dict[str, Any]]


@method("commands.list", scope=READ, params=CommandsParams, result=CommandsResult)
async def commands_list(params: CommandsParams, context: Context) -> dict[str, Any]:
    """Return the commands that can be typed in a chat."""
    rows = []
    for name, (description, argument) in COMMANDS.items():
        row: dict[str, Any] = {
            "name": name,
            "nativeName": name,
            "textAliases": [f"/{name}"],
            "description": description,
            "category": _CATEGORIES.get(name, "session"),
            "source": "native",
            "scope": "both",
            "acceptsArgs": bool(argument),
        }
        if argument and params.include_args is not False:
            arg = {"name": "value", "description": argument, "type": "string"}
            row["args"] = [arg]
        rows.append(row)
    return {"commands": rows}


class ToolsParams(Wire):
    """Parameters of ``tools.catalog`` and ``tools.list``."""

    agent_id: str | None = Word
    include_plugins: bool | None = None


class CatalogResult(Wire):
    """The tools by the plugin that brought them."""

    agent_id: str
    profiles: list[dict[str, str]]
    groups: list[dict[str, Any]]


@method("tools.catalog", scope=READ, params=ToolsParams, result=CatalogResult)
async def tools_catalog(params: ToolsParams, context: Context) -> dict[str, Any]:
    """Return all tools, grouped by plugin."""
    gateway = context.gateway
    agent = gateway.config.agent(params.agent_id or gateway.config.default_agent_id)
    groups: dict[str, list[dict[str, Any]]] = {}
    for tool in gateway.tools:
        risks = {_RISKS.get(effect, "low") for effect in tool.effects}
        row = {
            "id": tool.name,
            "label": tool.name,
            "description": tool.schema.description,
            "source": "plugin",
            "pluginId": gateway.tools.owner(tool.name),
            "risk": next((r for r in ("high", "medium") if r in risks), "low"),
            "tags": sorted(tool.effects),
            "defaultProfiles": ["full"],
        }
        groups.setdefault(gateway.tools.owner(tool.name), []).append(row)
    return {
        "agentId": agent.id,
        "profiles": [{"id": name, "label": name.title()} for name in _PROFILES],
        "groups": [
            {"id": name, "label": name, "source": "plugin", "pluginId": name}
            | {"tools": groups[name]}
            for name in sorted(groups)
        ],
    }


class ToolsResult(Wire):
    """The tools, with the schema of what each takes."""

    tools: list[dict[str, Any]]


@method("tools.list", scope=READ, params=ToolsParams, result=ToolsResult)
async def tools_list(params: ToolsParams, context: Context) -> dict[str, Any]:
    """Return all tools by name, with their effects and parameters."""
    gateway = context.gateway
    return {
        "tools": [
            {
                "name": tool.name,
                "description": tool.schema.description,
                "effects": sorted(tool.effects),
                "plugin": gateway.tools.owner(tool.name),
                "parameters": tool.schema.parameters,
            }
            for tool in gateway.tools
        ]
    }
