"""rustyclaw: a personal-assistant gateway made of plugins around a tiny core.

What stands in ``__all__`` is all that a plugin needs; the first-party plugins use
nothing else. Names are imported when they are first touched, so that
``import rustyclaw`` costs next to nothing; ``__init__.pyi`` tells type checkers.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "agent.models": "Model",
    "agent.recovery": "is_overflow",
    "cli.remote": "NotServed ask_gateway running_gateway",
    "config": "Config Secret load_config",
    "config.edit": "edit_config replace_config set_config unset_config",
    "config.schema": "config_schema",
    "approvals": "Approval Decision",
    "errors": (
        "Ask Busy ChannelError ConfigError MethodError PluginError ProviderError "
        "RustyclawError SessionError StorageError ToolError Veto"
    ),
    "feed": "GatewayEvent Notice",
    "gateway": "Gateway",
    "hooks": "HookCall",
    "interfaces": "PluginConfig",
    "interfaces.channel": (
        "Capabilities Channel ChannelConfig Inbox Route WebRequest WebResponse"
    ),
    "interfaces.compactor": "Compactor Summarize",
    "interfaces.provider": "Provider ProviderHost TranscriptPolicy",
    "interfaces.tool": "Effect Tool ToolContext Toolset tool",
    "logs": "configure_logs",
    "markers": "hookimpl",
    "messages": (
        "Audio CompactionRequest CompactionResult File Finished HookContext Image "
        "Inbound Message ModelInfo ModelRequest ModelResponse Outbound Prompt Sender "
        "Sent StreamEvent Target Text TextDelta Thinking ThinkingDelta ToolCall "
        "ToolCallDelta ToolResult ToolSchema Usage"
    ),
    "registry": "Caller Method",
    "sessions.database": "Database",
    "runs": (
        "ActiveRun Compacted RunEnded RunError RunEvent RunOptions RunRequest "
        "RunResult RunStarted ToolEnded ToolStarted"
    ),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names.split()}

__all__ = ["__version__", *sorted(_MODULE_OF)]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'rustyclaw' has no attribute {name!r}")
    value = getattr(import_module(f"rustyclaw.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
