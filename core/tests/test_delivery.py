"""Replies on their way out: parts, retries, unknown outcomes; channels that break."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given, strategies as st
from rustyclaw import (
    Ask,
    Capabilities,
    ChannelError,
    Inbound,
    Inbox,
    Outbound,
    Sender,
    Sent,
    Target,
    Veto,
    hookimpl,
)
from rustyclaw.approvals import Approval, Decision
from rustyclaw.delivery import split_text
from rustyclaw.sessions.database import Database
from rustyclaw.sessions.journal import Journal, Reply
from rustyclaw.testing import Bot, FakeChannel


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses of a second or more take no time; they are written down here."""
    seen: list[float] = []
    real = anyio.sleep

    async def sleep(seconds: float) -> None:
        if 1 <= seconds < 1000:
            seen.append(seconds)
            await checkpoint()
        else:
            await real(seconds)

    monkeypatch.setattr(anyio, "sleep", sleep)
    return seen


@dataclass
class Receipts:
    """Remembers what became of the replies."""

    seen: list[tuple[str, str | None]] = field(default_factory=list)
    done: anyio.Event = field(default_factory=anyio.Event)

    @hookimpl
    async def message_sent(self, message: Outbound, error: str | None) -> None:
        self.seen.append((message.text, error))
        self.done.set()

    async def next(self) -> tuple[str, str | None]:
        with anyio.fail_after(5):
            await self.done.wait()
        self.done = anyio.Event()
        return self.seen[-1]


@pytest.fixture
def receipts() -> Receipts:
    return Receipts()


class Plain(FakeChannel):
    """A platform that does not drop what is sent twice."""

    capabilities = Capabilities(text_limit=4096)


def bot_with(
    home: Path, receipts: Receipts, channel: FakeChannel | None = None, **plugins: Any
) -> Bot:
    hooks = {f"hooks.{name}": plugin for name, plugin in plugins.items()}
    return Bot(home, channel=channel, plugins={"hooks.receipts": receipts, **hooks})


async def leave_in_outbox(home: Path, text: str, **progress: Any) -> None:
    """Leave a reply behind, as a gateway that was killed does."""
    database = Database(home / "state.db")
    asked = Inbound(
        message_id="m",
        sender=Sender(id="ann"),
        target=Target(channel="fake", chat_id="ann"),
    )
    reply = Reply.to(asked, "agent:main:fake:dm:ann", text)
    await Journal(database).accept(asked, reply.session, reply)
    await Journal(database).save(replace(reply, **progress))
    await database.close()


# --- Parts -----------------------------------------------------------------------


@given(st.text(alphabet="ab \n", max_size=300), st.integers(1, 40))
def test_no_piece_is_too_long_and_nothing_is_lost(text: str, limit: int) -> None:
    pieces = split_text(text, limit)
    assert pieces
    assert all(len(piece) <= limit for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(pieces) or pieces == [""]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("short", ["short"]),
        ("", [""]),
        ("aaaa bbbb", ["aaaa", "bbbb"]),
        ("aa\n\nb\nc dddd", ["aa\n\nb", "c dddd"]),
        ("aaaaaaaaaa", ["aaaaaaaa", "aa"]),
        ("aaaaaaaa     ", ["aaaaaaaa"]),
    ],
)
def test_where_a_text_is_cut(text: str, pieces: list[str]) -> None:
    assert split_text(text, 8) == pieces


class Narrow(FakeChannel):
    capabilities = Capabilities(text_limit=10, idempotent_send=True)


async def test_a_long_reply_arrives_in_parts(
    tmp_path: Path, receipts: Receipts
) -> None:
    async with bot_with(tmp_path, receipts, Narrow()) as bot:
        await bot.channel.deliver("one two three four five six seven eight")
        assert (await receipts.next())[1] is None
        posted = bot.channel.posted
        texts = [p.text for p in posted]
        assert texts == ["one two", "three four", "five six", "seven", "eight"]
        assert len({p.message.id for p in posted}) == len(posted) > 3
        assert [p.message.reply_to for p in posted][:2] == ["in-1", None]


class Stumbling(Narrow):
    """Every other send fails."""

    calls = 0

    async def send(self, target: Target, message: Outbound) -> Sent:
        self.calls += 1
        if self.calls % 2:
            raise ChannelError("stumbled")
        return await super().send(target, message)


async def test_many_parts_do_not_use_up_the_attempts(
    tmp_path: Path, receipts: Receipts, pauses: list[float]
) -> None:
    async with bot_with(tmp_path, receipts, Stumbling()) as bot:
        await bot.channel.deliver("word word " * 8)
        assert (await receipts.next())[1] is None
        assert len(bot.channel.posted) == len(pauses) == 8


@pytest.mark.parametrize("state", ["pending", "sending"])
async def test_parts_go_on_after_a_crash(
    tmp_path: Path, receipts: Receipts, state: str
) -> None:
    text = "aaaaaaaa bbbbbbbb cccccccc"
    await leave_in_outbox(tmp_path, text, state=state, parts=1)
    async with bot_with(tmp_path, receipts, Narrow()) as bot:
        assert await receipts.next() == (text, None)
        assert [p.text for p in bot.channel.posted] == ["bbbbbbbb", "cccccccc"]


# --- Failures --------------------------------------------------------------------


async def test_a_failed_send_is_repeated_with_growing_pauses(
    tmp_path: Path, receipts: Receipts, pauses: list[float]
) -> None:
    async with bot_with(tmp_path, receipts) as bot:
        for _ in range(3):
            bot.channel.fail_next()
        await bot.channel.deliver("hello")
        assert await receipts.next() == ("hello", None)
        assert pauses == [1, 2, 4]
        await bot.channel.deliver("again")
        await receipts.next()
        assert [p.text for p in bot.channel.posted] == ["hello", "again"]


async def test_after_five_attempts_it_is_given_up(
    tmp_path: Path, receipts: Receipts, pauses: list[float]
) -> None:
    async with bot_with(tmp_path, receipts) as bot:
        for _ in range(5):
            bot.channel.fail_next()
        await bot.channel.deliver("hello")
        assert "out of reach" in str((await receipts.next())[1])
        assert len(pauses) == 4
        await bot.channel.deliver("next")
        assert await bot.reply() == "next", "it does not hold up the others"
        (trouble,) = await bot.gateway.state.journal.troubles()
        assert trouble[:2] == ("fake", "failed")


async def test_a_permanent_failure_is_not_repeated(
    tmp_path: Path, receipts: Receipts, pauses: list[float]
) -> None:
    async with bot_with(tmp_path, receipts) as bot:
        bot.channel.fail_next(ChannelError("the chat is gone", permanent=True))
        await bot.channel.deliver("hello")
        assert await receipts.next() == ("hello", "the chat is gone")
        assert pauses == []


@pytest.mark.parametrize(("channel", "times"), [(FakeChannel, 1), (Plain, 1)])
async def test_a_lost_receipt_never_makes_a_second_message(
    tmp_path: Path,
    receipts: Receipts,
    pauses: list[float],
    channel: Callable[[], FakeChannel],
    times: int,
) -> None:
    async with bot_with(tmp_path, receipts, channel()) as bot:
        bot.channel.fail_next(RuntimeError("connection reset"), lands=True)
        await bot.channel.deliver("hello")
        _, error = await receipts.next()
        assert len(bot.channel.posted) == times
        if bot.channel.capabilities.idempotent_send:
            assert error is None
            assert pauses == [1]
        else:
            assert error == "RuntimeError: connection reset"
            assert pauses == []


async def test_a_crash_while_sending_is_unknown_on_a_plain_platform(
    tmp_path: Path, receipts: Receipts
) -> None:
    await leave_in_outbox(tmp_path, "hi", state="sending", attempts=1)
    async with bot_with(tmp_path, receipts, Plain()) as bot:
        assert "while it was sent" in str((await receipts.next())[1])
        assert bot.channel.posted == []
        assert (await bot.gateway.state.journal.troubles())[0][1] == "unknown"


async def test_a_crash_while_sending_is_repeated_where_it_does_no_harm(
    tmp_path: Path, receipts: Receipts
) -> None:
    await leave_in_outbox(tmp_path, "hi", state="sending", attempts=1)
    async with bot_with(tmp_path, receipts) as bot:
        assert await receipts.next() == ("hi", None)
        assert [p.text for p in bot.channel.posted] == ["hi"]


async def test_a_send_that_hangs_has_a_deadline(
    tmp_path: Path, receipts: Receipts, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hanging(Plain):
        async def send(self, target: Target, message: Outbound) -> Sent:
            await anyio.sleep_forever()
            raise AssertionError

    monkeypatch.setattr("rustyclaw.delivery._SEND_SECONDS", 0.02)
    async with bot_with(tmp_path, receipts, Hanging()) as bot:
        await bot.channel.deliver("hello")
        assert "TimeoutError" in str((await receipts.next())[1])


# --- Guards ----------------------------------------------------------------------


@dataclass
class Guard:
    """Signs each message, or asks first."""

    ask: bool = False
    calls: int = 0

    @hookimpl
    async def message_sending(self, message: Outbound) -> Outbound:
        self.calls += 1
        if self.ask:
            raise Ask("is this right?")
        return replace(message, text=f"{message.text} #{self.calls}", id="mine")


async def test_a_message_is_judged_once_however_often_it_is_sent(
    tmp_path: Path, receipts: Receipts, pauses: list[float]
) -> None:
    guard = Guard()
    async with bot_with(tmp_path, receipts, guard=guard) as bot:
        bot.channel.fail_next()
        bot.channel.fail_next()
        await bot.channel.deliver("hello")
        assert await receipts.next() == ("hello #1", None)
        assert guard.calls == 1
        assert bot.channel.posted[0].message.id != "mine", "the id stays"


@pytest.mark.parametrize("word", [True, False, None])
async def test_an_operator_is_asked(
    tmp_path: Path, receipts: Receipts, word: bool | None
) -> None:
    asked: list[Approval] = []

    async def operator(approval: Approval) -> Decision:
        asked.append(approval)
        return "allow-once" if word else "deny"

    async with bot_with(tmp_path, receipts, guard=Guard(ask=True)) as bot:
        if word is not None:
            bot.gateway.approvals.attach(operator)
        await bot.channel.deliver("hello")
        _, error = await receipts.next()
        assert (error is None) is (word is True)
        assert len(bot.channel.posted) == (word is True)
        assert [a.reason for a in asked] == ["is this right?"] * (word is not None)
        assert await bot.gateway.state.journal.next_reply("fake") is None


async def test_a_veto_is_no_trouble(tmp_path: Path, receipts: Receipts) -> None:
    class No:
        @hookimpl
        async def message_sending(self) -> None:
            raise Veto("quiet hours")

    async with bot_with(tmp_path, receipts, no=No()) as bot:
        await bot.channel.deliver("hello")
        assert await receipts.next() == ("hello", "quiet hours")
        assert await bot.gateway.state.journal.troubles() == []


# --- Channels that break -----------------------------------------------------------


class Shaky(FakeChannel):
    """Fails to log in, then to run, then works; a lost connection each time."""

    def __init__(self, *, entering: int = 0, running: int = 0) -> None:
        super().__init__()
        self.entering, self.running, self.left = entering, running, 0

    async def __aenter__(self) -> Shaky:
        if self.entering:
            self.entering -= 1
            raise OSError("no route to host")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await checkpoint()
        await checkpoint()
        self.left += 1

    async def run(self, inbox: Inbox) -> None:
        if self.running:
            self.running -= 1
            raise RuntimeError("connection lost")
        await super().run(inbox)


async def test_a_broken_channel_is_started_again_after_growing_pauses(
    tmp_path: Path,
    receipts: Receipts,
    pauses: list[float],
    caplog: pytest.LogCaptureFixture,
) -> None:
    channel = Shaky(entering=2, running=3)
    async with bot_with(tmp_path, receipts, channel) as bot:
        await channel.deliver("hello")
        assert await bot.reply() == "hello"
        assert pauses == [1, 2, 4, 8, 16]
        assert "no route to host; again in 2 s" in caplog.text
        assert "connection lost; again in 16 s" in caplog.text
        status = bot.gateway.channels["fake"]
        assert (status.state, status.error) == ("connected", "")
        assert status.last_message
    assert channel.left == 4, "it logs out, also when the gateway stops"


async def test_the_status_says_what_is_wrong_and_a_stop_does_not_wait(
    tmp_path: Path, receipts: Receipts
) -> None:
    channel = Shaky(entering=1000)
    await leave_in_outbox(tmp_path, "hi")
    with anyio.fail_after(5):
        async with bot_with(tmp_path, receipts, channel) as bot:
            while bot.gateway.channels["fake"].state != "failed":
                await checkpoint()
            assert bot.gateway.channels["fake"].error == "no route to host"
            assert await bot.say("hello") == "hello", "the others go on"


async def test_a_channel_that_has_read_all_still_sends(
    tmp_path: Path, receipts: Receipts
) -> None:
    class Once(FakeChannel):
        async def run(self, inbox: Inbox) -> None:
            for message in self.pending.values():
                await inbox.accept(message)

    channel = Once()
    await channel.deliver("hello")
    async with bot_with(tmp_path, receipts, channel) as bot:
        assert await bot.reply() == "hello"
        assert bot.gateway.channels["fake"].state == "ended"


async def test_a_send_in_progress_survives_a_crash_of_the_receiver(
    tmp_path: Path, receipts: Receipts, pauses: list[float]
) -> None:
    class Fragile(Plain):
        crash, go_on = anyio.Event(), anyio.Event()

        async def send(self, target: Target, message: Outbound) -> Sent:
            self.crash.set()
            await self.go_on.wait()
            return await super().send(target, message)

        async def run(self, inbox: Inbox) -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(super().run, inbox)
                await self.crash.wait()
                raise RuntimeError("connection lost")

    channel = Fragile()
    async with bot_with(tmp_path, receipts, channel) as bot:
        await channel.deliver("hello")
        await channel.crash.wait()
        await anyio.wait_all_tasks_blocked()
        channel.go_on.set()
        assert await receipts.next() == ("hello", None)
        assert [p.text for p in bot.channel.posted] == ["hello"]


@pytest.mark.parametrize("broken", ["routes", "config", "class"])
async def test_a_channel_that_cannot_be_made_is_a_status(
    tmp_path: Path, broken: str
) -> None:
    class Strange(FakeChannel):
        def routes(self) -> Any:
            raise AttributeError("no routes today")

    plugins: dict[str, object] = {
        "routes": {"channels.x": Strange()},
        "config": {"channels.x": FakeChannel},
        "class": {"channels.x": 42},
    }[broken]  # type: ignore[assignment] # a table
    config = {"channels": {"x": {"dm_policy": "sometimes"}}}
    async with Bot(tmp_path, plugins=plugins, config=config) as bot:
        status = bot.gateway.channels["x"]
        assert status.state == "failed"
        assert {"routes": "no routes", "config": "dm_policy", "class": "42"}[
            broken
        ] in status.error
        await bot.channel.deliver("hello")
        assert await bot.reply() == "hello"
