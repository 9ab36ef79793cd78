"""Approvals by chat: who is told of a question, and who may answer it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from rustyclaw import Ask, ConfigError, Outbound, ToolEnded, hookimpl, tool
from rustyclaw.config import config_from
from rustyclaw.testing import Bot, FakeChannel, call
from rustyclaw.testing.fakes import FakeChannelConfig

REASON = "really?"


@tool
async def delete(path: str) -> str:
    """Delete a file."""
    return f"deleted {path}"


class Guard:
    """Asks before each tool call, and each message that begins with a word."""

    @hookimpl
    async def before_tool_call(self, call: Any) -> None:
        raise Ask(REASON)

    @hookimpl
    async def message_sending(self, message: Outbound) -> None:
        if message.text.startswith("send"):
            raise Ask("send it?")


def make(home: Path, *approvers: str, script: Any = None, **config: Any) -> Bot:
    script = script or [call("delete", path="a"), "done", call("delete", path="a"), "x"]
    plugins = {"tools.delete": delete, "hooks.guard": Guard()}
    config = {"gateway": {"approvers": list(approvers), **config}}
    return Bot(home, script=script, plugins=plugins, config=config)


async def pending(bot: Bot) -> str:
    with anyio.fail_after(5):
        while not bot.gateway.approvals.pending:
            await anyio.sleep(0.01)
    return next(iter(bot.gateway.approvals.pending))


def texts(bot: Bot, chat: str) -> list[str]:
    return [p.text for p in bot.channel.posted if p.target.chat_id == chat]


async def hear(bot: Bot, chat: str, count: int) -> list[str]:
    with anyio.fail_after(5):
        while len(texts(bot, chat)) < count:
            await anyio.sleep(0.01)
    return texts(bot, chat)


def outcomes(bot: Bot) -> list[str]:
    return [e.result.text for e in bot.events if isinstance(e, ToolEnded)]


# --- Who is asked, and answers ----------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told", "outcome"),
    [
        ("/allow {id}", "Allowed.", "deleted a"),
        ("/Allow  {id} ALWAYS", "Allowed.", "deleted a"),
        ("/deny {id}", "Denied.", f"not allowed: an operator refused it ({REASON})"),
    ],
)
async def test_an_approver_is_asked_and_decides(
    tmp_path: Path, words: str, told: str, outcome: str
) -> None:
    async with make(tmp_path, "fake:ann") as bot:
        await bot.channel.deliver("/help", sender="ann", chat="chat-of-ann")
        await hear(bot, "chat-of-ann", 1)
        async with anyio.create_task_group() as group:
            group.start_soon(bot.say, "delete it")
            question = (await hear(bot, "chat-of-ann", 2))[1]
            approval_id = await pending(bot)
            answer = words.format(id=approval_id)
            await bot.channel.deliver(answer, sender="ann", chat="chat-of-ann")
            assert (await hear(bot, "chat-of-ann", 3))[2] == told

        assert outcomes(bot) == [outcome]
        for part in ("'delete'", "agent:main:main", '{"path": "a"}', REASON, "2 min"):
            assert part in question
        assert f"/allow {approval_id} always" in question
        if "ALWAYS" in words:
            await bot.say("again")
            assert outcomes(bot) == [outcome]
            assert len(texts(bot, "chat-of-ann")) == 3


async def test_the_chat_that_waits_can_answer(tmp_path: Path) -> None:
    async with make(tmp_path, "fake:ann") as bot:
        await bot.channel.deliver("delete it", sender="ann")
        await hear(bot, "ann", 1)
        await bot.channel.deliver(f"/allow {await pending(bot)}", sender="ann")
        assert (await hear(bot, "ann", 3))[1:] == ["Allowed.", "done"]


@pytest.mark.parametrize(
    ("approvers", "sender"),
    [
        ((), "ann"),
        (("fake:ann",), "eve"),
        (("other:ann",), "ann"),
        (("fake:an",), "ann"),
    ],
)
async def test_nobody_else_decides_or_is_asked(
    tmp_path: Path, approvers: tuple[str, ...], sender: str
) -> None:
    async with make(tmp_path, *approvers) as bot:
        detach = bot.gateway.approvals.attach(lambda _: anyio.sleep_forever())  # type: ignore[arg-type,return-value]  # it never answers
        await bot.channel.deliver("/help", sender=sender)
        await hear(bot, sender, 1)
        async with anyio.create_task_group() as group:
            group.start_soon(bot.say, "delete it")
            approval_id = await pending(bot)
            await bot.channel.deliver(f"/allow {approval_id}", sender=sender)
            told = (await hear(bot, sender, 2))[1]
            assert approval_id in bot.gateway.approvals.pending
            bot.gateway.approvals.resolve(approval_id, "deny")
        detach()

    assert "`gateway.approvers`" in told


async def test_an_approver_must_be_served(tmp_path: Path) -> None:
    config = {"gateway": {"approvers": ["fake:ann"]}}
    plugins = {"tools.delete": delete, "hooks.guard": Guard()}
    script = [call("delete", path="a"), "done"]
    channel = FakeChannel(FakeChannelConfig(dm_policy="disabled"))
    bot = Bot(tmp_path, script=script, plugins=plugins, config=config, channel=channel)
    async with bot, anyio.create_task_group() as group:
        group.start_soon(bot.say, "delete it")
        approval_id = await pending(bot)
        sent = await bot.channel.deliver(f"/allow {approval_id}", sender="ann")
        with anyio.fail_after(5):
            while sent not in bot.channel.acknowledged:
                await anyio.sleep(0.01)
        assert approval_id in bot.gateway.approvals.pending
        bot.gateway.approvals.resolve(approval_id, "deny")


# --- Odd answers ------------------------------------------------------------------


@pytest.mark.parametrize("text", ["/allow", "/allow a b", "/deny a always", "/deny"])
async def test_half_an_answer_is_explained(tmp_path: Path, text: str) -> None:
    async with make(tmp_path, "fake:ann") as bot:
        await bot.channel.deliver(text, sender="ann")
        assert (await hear(bot, "ann", 1))[0].startswith("Write /allow ID")
    assert not bot.provider.requests


async def test_what_is_over_cannot_be_answered(tmp_path: Path) -> None:
    async with make(tmp_path, "fake:ann") as bot:
        await bot.channel.deliver("/allow abcd", sender="ann")
        assert "no approval 'abcd' waits" in (await hear(bot, "ann", 1))[0]


async def test_a_message_that_begins_alike_is_none(tmp_path: Path) -> None:
    async with make(tmp_path, "fake:ann", script=["hello"]) as bot:
        await bot.channel.deliver("/allowed or not?", sender="ann")
        assert await hear(bot, "ann", 1) == ["hello"]


# --- What is shown ----------------------------------------------------------------


async def test_hidden_and_long_text_is_shown_as_what_it_is(tmp_path: Path) -> None:
    path = "a\u202eb\n\x1b" + "x" * 4000
    script = [call("delete", path=path), "done"]
    async with make(tmp_path, "fake:ann", script=script) as bot:
        await bot.channel.deliver("/help", sender="ann")
        await hear(bot, "ann", 1)
        async with anyio.create_task_group() as group:
            group.start_soon(bot.say, "delete it")
            question = (await hear(bot, "ann", 2))[1]
            bot.gateway.approvals.resolve(await pending(bot), "deny")

    assert r'{"path": "a\u202eb\n\u001bxxx' in question
    assert "more characters are not shown]" in question


async def test_a_question_about_a_message_makes_no_message(tmp_path: Path) -> None:
    async with make(
        tmp_path, "fake:ann", script=["send this"], approval_seconds=0.3
    ) as bot:
        await bot.channel.deliver("/help", sender="ann")
        await hear(bot, "ann", 1)
        await bot.channel.deliver("hello", sender="bob")
        await pending(bot)
        with anyio.fail_after(5):
            while bot.gateway.approvals.pending:
                await anyio.sleep(0.01)

    assert len(texts(bot, "ann")) == 1
    assert texts(bot, "bob") == []


async def test_an_approver_who_has_not_written_is_not_reached(tmp_path: Path) -> None:
    async with make(tmp_path, "fake:ann", "gone:x", approval_seconds=0.2) as bot:
        await bot.channel.deliver("/help", sender="ann", chat="room", chat_type="group")
        await bot.say("delete it")
        assert "no operator answered in time" in outcomes(bot)[0]
        assert not [text for text in texts(bot, "room") if "May" in text]


@pytest.mark.parametrize("approvers", [["ann"], ["Fake:ann"], ["fake:"], "fake:a b"])
def test_an_approver_is_named_by_channel_and_id(tmp_path: Path, approvers: Any) -> None:
    with pytest.raises(ConfigError, match="approvers"):
        config_from({"gateway": {"approvers": approvers}}, home=tmp_path, env={})
