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
PROFILES: dict[str | None, frozenset[str]] = {
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
    # agent:<id>:<channel>:group:<chat>: others than one private partner write there
    is_shared = session_key.split(":")[3:-1][:1] in (["group"], ["channel"])
    stages = [s for s in (config.tools, config.agent(agent_id).tools) if s]

    def named(tool: Tool, rules: Iterable[str]) -> bool:
        groups = {f"group:{name}" for name in (tools.owner(tool.name), *tool.effects)}
        return any(rule in groups or fnmatchcase(tool.name, rule) for rule in rules)

    return [
        tool
        for tool in tools
        if all(
            tool.effects <= PROFILES.get(stage.profile, tool.effects)
            and (not stage.allow or named(tool, stage.allow))
            and not (stage.deny and named(tool, stage.deny))
            for stage in stages
        )
        and not (is_shared and named(tool, config.tools.shared_deny))
    ]
