"""Which tools an agent is offered: each stage only takes away."""

from __future__ import annotations

from typing import Any

import pytest
from rustyclaw import Config, Tool, tool
from rustyclaw.agent.policy import allowed_tools
from rustyclaw.registry import Registry

EFFECTS: dict[str, tuple[Any, ...]] = {
    "ask": ("message",),
    "fetch": ("network",),
    "look": ("read",),
    "ls": ("read",),
    "shell": ("exec", "write"),
    "write": ("write",),
}
OWNERS = {"look": "files", "ls": "files", "write": "files"}
ALL = "ask fetch look ls shell write"


@pytest.fixture(scope="module")
def registry() -> Registry[Tool]:
    tools = Registry[Tool]("tool", lambda found: found.name)
    for name, effects in EFFECTS.items():

        @tool(name=name, effects=effects)
        async def do() -> str:
            """Do it."""
            return ""

        tools.add(do(), owner=OWNERS.get(name, name))
    return tools


def offered(
    registry: Registry[Tool],
    tools: dict[str, Any],
    agent: dict[str, Any] | None = None,
    session: str = "agent:main:main",
) -> str:
    config = Config.model_validate(
        {"tools": tools, "agents": {"list": [{"id": "main", "tools": agent}]}}
    )
    return " ".join(t.name for t in allowed_tools(config, "main", session, registry))


@pytest.mark.parametrize(
    ("tools", "agent", "names"),
    [
        ({}, None, ALL),
        ({}, {}, ALL),
        ({"profile": "full"}, None, ALL),
        ({"profile": "minimal"}, None, "look ls"),
        ({"profile": "messaging"}, None, "ask look ls"),
        ({"profile": "coding"}, None, "fetch look ls shell write"),
        ({"allow": ["look", "shell"]}, None, "look shell"),
        ({"allow": ["l*"]}, None, "look ls"),
        ({"allow": ["group:files"]}, None, "look ls write"),
        ({"allow": ["group:write"]}, None, "shell write"),
        ({"allow": ["nothing"]}, None, ""),
        ({"deny": ["group:files"]}, None, "ask fetch shell"),
        ({"deny": ["*"]}, None, ""),
        ({"deny": ["Look"]}, None, ALL),
        ({"allow": ["l*"], "deny": ["ls"]}, None, "look"),
        ({"profile": "minimal", "allow": ["shell", "ls"]}, None, "ls"),
        ({}, {"profile": "minimal"}, "look ls"),
        ({"profile": "minimal"}, {"profile": "full", "allow": ["*"]}, "look ls"),
        ({"deny": ["ls"]}, {"allow": ["l*"]}, "look"),
        ({"allow": ["l*"]}, {"deny": ["look"]}, "ls"),
    ],
)
def test_stages_narrow_what_is_offered(
    registry: Registry[Tool],
    tools: dict[str, Any],
    agent: dict[str, Any] | None,
    names: str,
) -> None:
    assert offered(registry, tools, agent) == names


@pytest.mark.parametrize(
    ("session", "is_shared"),
    [
        ("agent:main:main", False),
        ("agent:main:telegram:dm:42", False),
        ("agent:main:telegram:default:dm:42", False),
        ("agent:main:cron:group", False),
        ("agent:main:telegram:group:-100", True),
        ("agent:main:slack:channel:c1", True),
        ("agent:main:slack:channel:c1:thread:7", True),
    ],
)
def test_in_company_less_is_offered(
    registry: Registry[Tool], session: str, is_shared: bool
) -> None:
    names = "ask fetch look ls" if is_shared else ALL
    assert offered(registry, {}, session=session) == names
    assert offered(registry, {"shared_deny": []}, session=session) == ALL
