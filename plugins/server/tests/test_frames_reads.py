"""Answers to what clients read have the keys and types of a real gateway's answers.

``data/answers.jsonl`` holds the shapes of captured ones: the values are left out.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from rustyclaw.testing import FakeChannel, FakeProvider, call

from .client import Client
from .conftest import serving
from .shapes import differences

LINES = (Path(__file__).parent / "data" / "answers.jsonl").read_text().splitlines()
CAPTURED = [json.loads(line) for line in LINES]

SKILL = """\
---
name: notes
description: Take notes.
homepage: https://example.org
metadata: {"openclaw": {"emoji": "n", "requires": {"bins": ["no-such-program"]}, \
"os": ["no-such-system"]}}
---
Write it down.
"""
CONFIG = {
    "agents": {
        "list": [
            {"id": "home", "name": "Home", "identity": {"name": "Sam", "emoji": "s"}}
        ]
    },
    "channels": {"telegram": {"enabled": False}},
    "providers": {"fake": {}},
    "tools": {"unknown_tool": {}},
}


class Tolerated(NamedTuple):
    """Paths that ours lacks because we do not have the fact, and those we add."""

    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()


#: Keys are names of channels: whose they are does not matter.
CHANNEL_MAPS = ("channels", "channelLabels")
#: We measure no event loop, know no prices, and keep no list of tasks.
UNKNOWN = ("eventLoop", "modelPricing", "plugins", "tasks", "taskAudit", "cacheStatus")
TOLERATED = {
    "health": Tolerated(
        # Without a plugin for heartbeats there is no interval.
        ("*heartbeat.everyMs", *UNKNOWN),
        (*CHANNEL_MAPS, "agents[].name", "channels.*"),
    ),
    "status": Tolerated(
        # A run of ours has no other runtime; levels are there when they are set.
        ("*.everyMs", "*.runtime", "*.thinkingLevel", "*.verboseLevel", *UNKNOWN),
        ("runtimeVersion", "*.cacheRead", "*.cacheWrite", "sessions.*"),
    ),
    "system-presence": Tolerated(
        # What a client does not say of itself is not there.
        ("[].*",),
        ("[].*",),
    ),
    "last-heartbeat": Tolerated(("*",)),
    "usage.cost": Tolerated(UNKNOWN),
    "config.get": Tolerated(
        extra=(
            *("parsed", "resolved", "config", "sourceConfig", "runtimeConfig"),
            "warnings[]",
        )
    ),
    "config.schema": Tolerated(("uiHints.*",), ("schema.*", "uiHints.*")),
    "models.list": Tolerated(extra=("models[].maxTokens",)),
    "agents.list": Tolerated(
        # There is one runtime.
        ("agents[].agentRuntime",),
        tuple(f"agents[].{key}" for key in ("name", "identity", "workspace", "model")),
    ),
    "agent.identity.get": Tolerated(extra=("emoji", "avatarStatus", "avatarReason")),
    "skills.status": Tolerated(
        # We install nothing, and no skill needs a setting.
        (
            "skills[].emoji",
            "skills[].homepage",
            "skills[].install",
            "skills[].requirements.*",
            "skills[].missing.*",
        ),
        (
            *("skills[].blockedByAgentFilter", "skills[].modelVisible"),
            *("skills[].userInvocable", "skills[].commandVisible"),
        ),
    ),
    "agents.files.list": Tolerated(extra=("files[].size", "files[].updatedAtMs")),
    "channels.status": Tolerated(
        # How it hears of messages is for a channel to tell; the fake one does not.
        ("*.mode", "*[].mode", *UNKNOWN),
        (
            *CHANNEL_MAPS,
            *("channelDetailLabels", "channelSystemImages"),
            *("channelAccounts", "channelDefaultAccountId"),
        ),
    ),
    "commands.list": Tolerated(
        # No command of ours has a choice of values, or needs one.
        ("commands[].args[].choices", "commands[].args[].required")
    ),
    "models.authStatus": Tolerated(),
    "sessions.usage": Tolerated(
        # How a prompt was made up is not kept.
        ("sessions[].contextWeight", "cacheStatus"),
        ("sessions[].label",),
    ),
}


@pytest.fixture(scope="module")
async def answers(
    tmp_path_factory: pytest.TempPathFactory, anyio_backend: Any
) -> AsyncIterator[list[Any]]:
    """Yield our answers to all captured requests, of a house where things are."""
    home = tmp_path_factory.mktemp("reads") / "home"
    skills = home / "agents" / "home" / "workspace" / "skills" / "notes"
    skills.mkdir(parents=True)
    (skills / "SKILL.md").write_text(SKILL)
    script = [call("no_such_tool", x=1), "done"]
    async with serving(
        home,
        provider=FakeProvider(script=script),
        plugins={"channels.telegram": FakeChannel(name="telegram")},
        config=CONFIG,
    ) as running:
        clients = {
            protocol: await running.client(protocol=(protocol, protocol))
            for protocol in (3, 4)
        }
        await clients[3].ask(
            "chat.send", sessionKey="main", message="hi", idempotencyKey="k"
        )
        await clients[3].event("chat", state="final")
        running.server.health._last = {}  # as it was before the session
        logging.getLogger("rustyclaw").warning("a line of the log")
        found = []
        for row in CAPTURED:
            found.append(await _ask(clients[row["protocol"]], row))
        yield found


async def _ask(client: Client, row: dict[str, Any]) -> Any:
    """Ask what they asked, but of our only agent, and of all days."""
    params = dict(row["params"] or {})
    for key in params.keys() & {"agentId", "sessionKey"}:
        params[key] = params[key].replace("main", "home", 1)
    if "startDate" in params:
        params |= {"startDate": "2020-01-01", "endDate": "2200-01-01"}
    return await client.ask(row["method"], **params)


@pytest.mark.parametrize(
    "number",
    range(len(CAPTURED)),
    ids=[f"{row['from']}-{row['method']}" for row in CAPTURED],
)
def test_an_answer_has_the_shape_of_theirs(number: int, answers: list[Any]) -> None:
    row = CAPTURED[number]
    tolerated = TOLERATED.get(row["method"], Tolerated())

    assert (
        differences(
            row["payload"],
            answers[number],
            missing=tolerated.missing,
            extra=tolerated.extra,
        )
        == []
    )


def test_what_is_compared_is_there(answers: list[Any]) -> None:
    """A list that is empty on our side would prove nothing."""
    by_method = {row["method"]: a for row, a in zip(CAPTURED, answers, strict=True)}

    assert by_method["status"]["sessions"]["recent"]
    assert by_method["channels.status"]["channelAccounts"]["telegram"]
    assert by_method["skills.status"]["skills"]
    assert by_method["sessions.usage"]["sessions"][0]["usage"]["toolUsage"]["tools"]
    assert by_method["logs.tail"]["lines"]
    assert by_method["models.list"]["models"]
