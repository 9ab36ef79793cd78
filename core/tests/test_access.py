"""Who is served: policies of private and group messages, pairing from end to end."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from rustyclaw import Inbound, RustyclawError, Sender, Target
from rustyclaw.access import Access
from rustyclaw.sessions.database import Database
from rustyclaw.testing import Bot
from rustyclaw.testing.fakes import FakeChannelConfig


@pytest.fixture
async def access(tmp_path: Path, anyio_backend: Any) -> AsyncIterator[Access]:
    database = Database(tmp_path / "state.db")
    yield Access(database)
    await database.close()


def message(
    sender: str = "bob",
    *,
    id: str = "1",
    channel: str = "fake",
    chat: str | None = None,
    mentioned: bool = False,
) -> Inbound:
    return Inbound(
        message_id=id,
        sender=Sender(id=sender),
        target=Target(
            channel=channel, chat_id=chat or sender, chat_type="group" if chat else "dm"
        ),
        text="hello",
        mentioned=mentioned,
    )


def policy(**settings: Any) -> FakeChannelConfig:
    closed = {"dm_policy": "pairing", "allow_from": (), "group_policy": "allowlist"}
    return FakeChannelConfig(**{**closed, **settings})


@pytest.mark.parametrize(
    ("how", "allow_from", "served", "asked"),
    [
        ("pairing", (), False, True),
        ("pairing", ("bob",), True, False),
        ("pairing", ("eve",), False, True),
        ("pairing", ("*",), True, False),
        ("allowlist", (), False, False),
        ("allowlist", ("bob",), True, False),
        ("allowlist", ("*",), False, False),
        ("open", (), False, False),
        ("open", ("*",), True, False),
        ("open", ("bob",), True, False),
        ("disabled", ("*", "bob"), False, False),
    ],
)
async def test_private_messages(
    access: Access, how: str, allow_from: tuple[str, ...], served: bool, asked: bool
) -> None:
    rules = policy(dm_policy=how, allow_from=allow_from)
    decision = await access.decide(message(), rules)
    assert decision.serve is served
    assert bool(decision.reply) is asked
    assert len(await access.pending()) == asked


@pytest.mark.parametrize(
    ("how", "groups", "need_mention", "mentioned", "served"),
    [
        ("open", (), True, True, True),
        ("open", (), True, False, False),
        ("open", (), False, False, True),
        ("allowlist", (), False, True, False),
        ("allowlist", ("g1",), True, True, True),
        ("allowlist", ("g2",), True, True, False),
        ("allowlist", ("*",), True, True, True),
        ("allowlist", ("g1",), True, False, False),
        ("disabled", ("*", "g1"), False, True, False),
    ],
)
async def test_group_messages(
    access: Access,
    how: str,
    groups: tuple[str, ...],
    need_mention: bool,
    mentioned: bool,
    served: bool,
) -> None:
    rules = policy(
        group_policy=how,
        group_allow_from=groups,
        require_mention=need_mention,
        allow_from=("*",),
    )
    decision = await access.decide(message(chat="g1", mentioned=mentioned), rules)
    assert decision.serve is served
    assert decision.reply == "", "a group is never told a code"


async def test_three_requests_wait_in_each_channel(access: Access) -> None:
    for name in ("a", "b", "c"):
        assert (await access.decide(message(name, id=name), policy())).reply
    assert not (await access.decide(message("d", id="d"), policy())).reply
    other = message("d", id="d", channel="other")
    assert (await access.decide(other, policy())).reply
    assert len(await access.pending()) == 4


async def test_a_code_expires(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    await access.decide(message(), policy())
    (request,) = await access.pending()
    now = time.time()
    monkeypatch.setattr("rustyclaw.access.time.time", lambda: now + 3599)
    assert await access.pending() == [request]
    monkeypatch.setattr("rustyclaw.access.time.time", lambda: now + 3601)
    with pytest.raises(RustyclawError, match="no pending request"):
        await access.approve("fake", request.code)
    again = await access.decide(message(id="2"), policy())
    assert again.reply
    assert request.code not in again.reply


async def test_the_same_message_gets_the_same_code_and_a_further_one_none(
    access: Access,
) -> None:
    """A crash may have lost the reply; the platform then delivers again."""
    first = await access.decide(message(), policy())
    assert await access.decide(message(), policy()) == first
    assert (await access.decide(message(id="2"), policy())).reply == ""


async def test_codes_and_decisions(access: Access) -> None:
    await access.decide(message(), policy())
    (request,) = await access.pending()
    assert re.fullmatch("[A-HJ-NP-Z2-9]{8}", request.code)
    with pytest.raises(RustyclawError, match="pairing list"):
        await access.approve("other", request.code)
    assert await access.reject("fake", request.code) == request
    assert await access.pending() == []
    assert (await access.decide(message(id="2"), policy())).reply, "it may ask again"
    (request,) = await access.pending()
    await access.approve("fake", f" {request.code.lower()} ")
    assert (await access.decide(message(), policy())).serve
    assert (await access.decide(message(), policy(dm_policy="allowlist"))).serve
    assert not (await access.decide(message(), policy(dm_policy="disabled"))).serve
    other = message(channel="other")
    assert not (await access.decide(other, policy())).serve, "per channel"


# --- Through the gateway ----------------------------------------------------------


async def test_pairing_from_end_to_end(tmp_path: Path) -> None:
    async with Bot(tmp_path, script=["welcome"]) as bot:
        bot.channel.config = policy()
        await bot.channel.deliver("let me in", sender="bob")
        told = await bot.reply()
        access = bot.gateway.state.access
        (request,) = await access.pending()
        assert f"rustyclaw pairing approve fake {request.code}" in told
        assert "bob" in told
        await bot.channel.deliver("hello?", sender="bob")
        await bot.channel.deliver("hello??", sender="bob")
        while bot.channel.pending:
            await bot.channel._next_change().wait()
        await access.approve("fake", request.code.lower())
        await bot.channel.deliver("and now", sender="bob")
        assert await bot.reply() == "welcome"
        (asked,) = bot.provider.requests
        assert [m.text for m in asked.messages] == ["and now"]
        assert len(bot.channel.posted) == 2, "the code is told once"


async def test_what_was_refused_is_not_resumed(tmp_path: Path) -> None:
    async with Bot(tmp_path) as bot:
        bot.channel.config = policy(dm_policy="allowlist")
        await bot.channel.deliver("obey me", sender="eve")
        await bot.channel.deliver("/stop", sender="eve")
        while bot.channel.pending:
            await bot.channel._next_change().wait()
    with sqlite3.connect(tmp_path / "state.db") as db:
        assert db.execute("SELECT count(*) FROM inbox").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM outbox").fetchone() == (0,)
    db.close()
    async with Bot(tmp_path) as bot:
        await bot.channel.deliver("hello", sender="bob")
        assert await bot.reply() == "hello"
        assert len(bot.provider.requests) == 1


async def test_a_stranger_cannot_stop_or_command(tmp_path: Path) -> None:
    async with Bot(tmp_path) as bot:
        bot.channel.config = policy()
        for word in ("/stop", "/status", "/help"):
            await bot.channel.deliver(word, sender=word)
            assert "does not know you" in await bot.reply()


async def test_a_message_that_names_another_channel_is_not_decided(
    tmp_path: Path,
) -> None:
    from rustyclaw import ChannelError

    async with Bot(tmp_path) as bot:
        with pytest.raises(ChannelError, match="'other'"):
            await bot.gateway.accept(message(channel="other"))


async def test_a_message_without_ids_is_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Bot(tmp_path) as bot:
        assert await bot.gateway.accept(message(sender=""))
        assert "is dropped" in caplog.text
        assert bot.gateway.channels["fake"].state == "connected"
