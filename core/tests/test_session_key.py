"""Session keys: their grammar, their short forms, and whom they keep apart."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st
from rustyclaw import SessionError
from rustyclaw.messages import Sender, Target
from rustyclaw.sessions.key import SessionKey, for_inbound, resolve

DM = Target(channel="telegram", chat_id="77", account_id="work")


@pytest.mark.parametrize(
    "text",
    [
        "agent:main:main",
        "agent:main:dm:42",
        "agent:main:telegram:dm:42",
        "agent:main:telegram:work:dm:42",
        "agent:main:slack:channel:c1",
        "agent:main:slack:group:c1:thread:17.5",
        "agent:a-1_b:cron:morning",
        "agent:main:subagent:0b0e9d2c-6a5b-4a53-a5a1-111111111111",
        "agent:main:whatever a plugin chose",
        "agent:main:" + "x" * 501,
    ],
)
def test_a_key_is_read_as_it_is_written(text: str) -> None:
    assert str(SessionKey.parse(text)) == text
    assert resolve(text, "other") == SessionKey.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "main",
        "agent",
        "agent:main",
        "agent:main:",
        "agent::main",
        "agent:main::x",
        "agent:main:x:",
        "agent:../up:main",
        "agent:-x:main",
        f"agent:{'x' * 65}:main",
        "agent:main:../../etc/passwd",
        "agent:main:a\\b",
        "agent:main:a\0b",
        "agent:main:a\nb",
        "agent:main:a\x7fb",
        "agent:main:a\u2028b",
        "agent:main:\ud800",
        "agent:main:" + "x" * 502,
        "user:main:main",
    ],
)
def test_what_is_no_key_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(SessionError, match="write `agent:<id>:<name>`"):
        SessionKey.parse(text)


def test_keys_are_lower_case() -> None:
    assert str(SessionKey.parse(" Agent:Main:Telegram:DM:X ")) == (
        "agent:main:telegram:dm:x"
    )
    with pytest.raises(SessionError):
        SessionKey("main", "Upper")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("main", "agent:helper:main"),
        (" telegram:dm:1 ", "agent:helper:telegram:dm:1"),
        ("AGENT:other:main", "agent:other:main"),
    ],
)
def test_short_forms_mean_the_default_agent(text: str, key: str) -> None:
    assert str(resolve(text, "helper")) == key


@pytest.mark.parametrize("text", ["", "telegram:../../x", "a/b\\c:d\0e", "a::b"])
def test_short_forms_obey_the_same_rules(text: str) -> None:
    with pytest.raises(SessionError):
        resolve(text, "main")


@pytest.mark.parametrize(
    ("scope", "key"),
    [
        ("main", "agent:main:main"),
        ("per_peer", "agent:main:dm:u1"),
        ("per_channel_peer", "agent:main:telegram:dm:u1"),
        ("per_account_channel_peer", "agent:main:telegram:work:dm:u1"),
    ],
)
def test_the_scope_says_who_shares_a_private_conversation(scope, key) -> None:  # type: ignore[no-untyped-def]  # parametrised
    sender = Sender(id="U1")
    assert str(for_inbound(DM, sender, "main", scope, {})) == key
    threaded = replace(DM, thread_id="9")
    assert str(for_inbound(threaded, sender, "main", scope, {})) == f"{key}:thread:9"


def test_identity_links_join_the_accounts_of_a_person() -> None:
    links = {"ann": ["telegram:U1", "discord:D9"], "bob": ["telegram:2"]}
    discord = Target(channel="discord", chat_id="5")

    def key(target: Target, sender: str, scope: str = "per_peer") -> str:
        return str(for_inbound(target, Sender(id=sender), "main", scope, links))  # type: ignore[arg-type]  # parametrised by hand

    assert key(DM, "u1") == key(discord, "d9") == "agent:main:dm:ann"
    assert key(DM, "2") == "agent:main:dm:bob"
    assert key(DM, "d9") == "agent:main:dm:d9"  # the id of another platform
    assert key(DM, "u1", "per_channel_peer") == "agent:main:telegram:dm:ann"
    assert key(DM, "u1", "main") == "agent:main:main"


@pytest.mark.parametrize(
    ("chat_type", "thread", "rest"),
    [
        ("group", None, "slack:group:c1"),
        ("channel", None, "slack:channel:c1"),
        ("channel", "1.5", "slack:channel:c1:thread:1.5"),
        ("group", "7", "slack:group:c1:thread:7"),
        ("thread", "7", "slack:channel:c1:thread:7"),
    ],
)
def test_groups_and_threads_have_their_own_sessions(chat_type, thread, rest) -> None:  # type: ignore[no-untyped-def]  # parametrised
    target = Target(
        channel="slack", chat_id="C1", chat_type=chat_type, thread_id=thread
    )
    for scope in ("main", "per_account_channel_peer"):
        key = for_inbound(target, Sender(id="u"), "a", scope, {})
        assert str(key) == f"agent:a:{rest}"


@given(st.text(min_size=1), st.text(min_size=1))
def test_any_peer_gets_a_key_that_stands_its_own_ground(one: str, two: str) -> None:
    keys = [
        for_inbound(DM, Sender(id=peer), "main", "per_channel_peer", {})
        for peer in (one, two)
    ]
    for key in keys:
        assert SessionKey.parse(str(key)) == key
        assert key.rest.startswith("telegram:dm:")
        assert key.rest.count(":") == 2
    assert (keys[0] == keys[1]) == (one.lower() == two.lower())


def test_long_peers_are_told_apart() -> None:
    keys = {
        str(for_inbound(DM, Sender(id="x" * 600 + end), "main", "per_peer", {}))
        for end in "ab"
    }
    assert len(keys) == 2
    assert all(len(key) < 200 for key in keys)
