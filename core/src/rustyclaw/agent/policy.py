"""Which tools an agent may use: profile, allow and deny, groups, session type.

The pipeline narrows: what a stage has taken away, no later stage brings back; the
guards and the tool's own `check` then judge each single call.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rustyclaw.config import Config
    from rustyclaw.interfaces.tool import Tool
    from rustyclaw.registry import Registry

#: Effects that a profile permits; ``full`` permits all.
PROFILES: dict[str, frozenset[str]] = {
    "minimal": frozenset({"read"}),
    "messaging": frozenset({"read", "message"}),
    "coding": frozenset({"read", "write", "exec", "network"}),
}


def allowed_tools(
    config: Config, agent_id: str, session_key: str, tools: Registry[Tool]
) -> list[Tool]:
    """Return the tools that an agent may use in a session, sorted by name.

    A rule is a tool's name, a glob, ``group:<plugin>`` or ``group:<effect>``.
    """
    agent = config.agent(agent_id).tools
    stages = [config.tools] if agent is None else [config.tools, agent]
    chosen = list(tools)
    for stage in stages:
        effects = PROFILES.get(stage.profile or "full")
        chosen = [
            tool
            for tool in chosen
            if (effects is None or tool.effects <= effects)
            and (not stage.allow or _named(tool, tools, stage.allow))
            and not _named(tool, tools, stage.deny)
        ]
    if _is_shared(session_key):
        refused = config.tools.shared_deny
        chosen = [tool for tool in chosen if not _named(tool, tools, refused)]
    return chosen


def _named(tool: Tool, tools: Registry[Tool], rules: Iterable[str]) -> bool:
    groups = {f"group:{name}" for name in (tools.owner(tool.name), *tool.effects)}
    return any(rule in groups or fnmatchcase(tool.name, rule) for rule in rules)


def _is_shared(session_key: str) -> bool:
    """Return whether people other than one private partner write in a session."""
    parts = session_key.split(":")
    return len(parts) > 3 and parts[3] in ("group", "channel")
