"""Bindings and their precedence, agents with folders and sessions of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rustyclaw import Inbound, Sender, Target
from rustyclaw.config.load import parse_config
from rustyclaw.config.source import Source
from rustyclaw.routing import agent_for, session_for
from rustyclaw.testing import Bot

AGENTS = ["main", "peer", "guild", "team", "account", "channel"]
MATCHES: dict[str, dict[str, Any]] = {
    "peer": {"channel": "d", "peer": {"kind": "group", "id": "g1"}},
    "guild": {"channel": "d", "guild_id": "1"},
    "team": {"channel": "d", "team_id": "2"},
    "account": {"channel": "d"},
    "channel": {"channel": "d", "account_id": "*"},
}


def config(tmp_path: Path, *bindings: tuple[str, dict[str, Any]]) -> Any:
    import json

    sections = {
        "agents": {"list": [{"id": name} for name in AGENTS]},
        "bindings": [{"agent": a, "match": match} for a, match in bindings],
    }
    source = Source(path=tmp_path / "config.yaml", home=tmp_path, env={})
    return parse_config(json.dumps(sections), source)


def message(
    *,
    channel: str = "d",
    chat: str = "g1",
    kind: Any = "group",
    account: str = "default",
    sender: str = "s1",
    **facts: str,
) -> Inbound:
    target = Target(channel=channel, chat_id=chat, chat_type=kind, account_id=account)
    return Inbound(message_id="1", sender=Sender(id=sender), target=target, facts=facts)


@pytest.mark.parametrize("most", range(len(MATCHES)))
def test_the_most_specific_binding_wins(tmp_path: Path, most: int) -> None:
    wanted = list(MATCHES)[most]
    rules = [(name, MATCHES[name]) for name in reversed(list(MATCHES)[most:])]
    everything = message(guild_id="1", team_id="2")
    assert agent_for(config(tmp_path, *rules), everything) == wanted


@pytest.mark.parametrize(
    ("match", "facts", "fits"),
    [
        ({"channel": "d"}, {}, True),
        ({"channel": "e"}, {}, False),
        ({"channel": "d"}, {"account": "work"}, False),
        ({"channel": "d", "account_id": "work"}, {"account": "work"}, True),
        ({"channel": "d", "account_id": "*"}, {"account": "work"}, True),
        ({"channel": "d", "guild_id": "1"}, {"guild_id": "1"}, True),
        ({"channel": "d", "guild_id": "1"}, {"guild_id": "2"}, False),
        ({"channel": "d", "guild_id": "1"}, {}, False),
        ({"channel": "d", "guild_id": "1", "team_id": "2"}, {"guild_id": "1"}, False),
        ({"channel": "d", "peer": {"kind": "group", "id": "g1"}}, {}, True),
        ({"channel": "d", "peer": {"kind": "dm", "id": "g1"}}, {}, False),
        ({"channel": "d", "peer": {"kind": "dm", "id": "s1"}}, {"kind": "dm"}, True),
        ({"channel": "d", "peer": {"kind": "dm", "id": "g1"}}, {"kind": "dm"}, False),
        (
            {"channel": "d", "peer": {"kind": "group", "id": "g1"}, "guild_id": "9"},
            {"guild_id": "1"},
            False,
        ),
    ],
)
def test_all_that_is_given_must_fit(
    tmp_path: Path, match: dict[str, Any], facts: dict[str, Any], fits: bool
) -> None:
    chosen = agent_for(config(tmp_path, ("peer", match)), message(**facts))
    assert chosen == ("peer" if fits else "main")


def test_among_equals_the_first_wins(tmp_path: Path) -> None:
    rules = config(tmp_path, ("team", {"channel": "d"}), ("guild", {"channel": "d"}))
    assert agent_for(rules, message()) == "team"


def test_an_agent_that_does_not_exist_means_the_default_one(tmp_path: Path) -> None:
    rules = config(
        tmp_path, ("nobody", MATCHES["peer"]), ("channel", MATCHES["channel"])
    )
    assert agent_for(rules, message()) == "main"
    assert "nobody" in " ".join(rules.warnings)


def test_the_session_belongs_to_the_agent(tmp_path: Path) -> None:
    rules = config(tmp_path, ("team", {"channel": "d"}))
    assert str(session_for(rules, message())) == "agent:team:d:group:g1"
    private = message(kind="dm", chat="c9")
    assert str(session_for(rules, private)) == "agent:team:d:dm:s1"


def transcripts(home: Path) -> list[str]:
    """Return the agent of each transcript."""
    return sorted(p.parts[-3] for p in home.glob("agents/*/sessions/*.jsonl"))


async def test_two_agents_share_nothing(tmp_path: Path) -> None:
    for name in ("main", "work"):
        folder = tmp_path / "agents" / name / "workspace"
        folder.mkdir(parents=True)
        (folder / "AGENTS.md").write_text(f"You are the {name} agent.")
    sections = {
        "agents": {"list": [{"id": "main"}, {"id": "work", "model": "fake/other"}]},
        "bindings": [
            {
                "agent": "work",
                "match": {"channel": "fake", "peer": {"kind": "dm", "id": "boss"}},
            }
        ],
    }
    async with Bot(tmp_path, config=sections) as bot:
        for sender in ("friend", "boss"):
            await bot.channel.deliver(f"I am {sender}", sender=sender)
            assert await bot.reply() == f"I am {sender}"
        friendly, bossy = bot.provider.requests
        assert "the main agent" in friendly.system
        assert "the work agent" in bossy.system
        assert (friendly.model, bossy.model) == ("fake", "other")
        assert [m.text for m in bossy.messages] == ["I am boss"]
    assert transcripts(tmp_path) == ["main", "work"]
