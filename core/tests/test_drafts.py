"""Answers that a chat sees grow: guards, tools, failures, ends and crashes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from rustyclaw import (
    Ask,
    ChannelError,
    HookContext,
    Inbound,
    ModelRequest,
    Outbound,
    Sender,
    Sent,
    Target,
    TextDelta,
    Veto,
    hookimpl,
    tool,
)
from rustyclaw.sessions.database import Database
from rustyclaw.sessions.journal import Journal
from rustyclaw.testing import Bot, FakeChannel, FakeProvider, call, hang

ALICE = Target(channel="fake", chat_id="alice")


class Slow(FakeProvider):
    """Says word after word, each when the test wants it."""

    def __init__(self, *words: str) -> None:
        super().__init__()
        self.words = words
        self.steps = [anyio.Event() for _ in words]

    async def stream(self, request: ModelRequest) -> Any:
        for word, step in zip(self.words, self.steps, strict=True):
            await step.wait()
            yield TextDelta(text=word)
        async for event in super().stream(request):
            if not isinstance(event, TextDelta):
                yield event


def drafting() -> FakeChannel:
    return FakeChannel(draft_seconds=0)


async def step(bot: Bot, provider: Slow, number: int, text: str) -> str:
    """Let the model say its next word, and wait for the chat to show it."""
    provider.steps[number].set()
    return await bot.channel.shows(text)


async def begin(bot: Bot, provider: Slow, text: str = "hi") -> str:
    """Ask; once the chat has a draft, let the model say all. Return the draft."""
    await bot.channel.deliver(text)
    draft = await bot.channel.shows("")
    for event in provider.steps:
        event.set()
    return draft


async def test_an_answer_grows_and_is_replaced_by_the_whole(tmp_path: Path) -> None:
    provider = Slow("one ", "two ", "three")
    async with Bot(tmp_path, provider=provider, channel=drafting()) as bot:
        asked = await bot.channel.deliver("count!")
        draft = await bot.channel.shows("")
        assert await step(bot, provider, 0, "one") == draft
        assert await step(bot, provider, 1, "one two") == draft
        provider.steps[2].set()
        posted = await bot.channel.next_sent()
        assert (posted.text, posted.message.draft) == ("one two three", draft)
        assert posted.message_id == draft
        assert not bot.channel.open_drafts
        first, *more = bot.channel.drafts
        assert (first.text, first.draft) == ("", None)
        assert {d.draft for d in more} == {draft}
        assert {d.reply_to for d in bot.channel.drafts} == {asked.message_id}
        assert {d.target for d in bot.channel.drafts} == {ALICE}
        assert await bot.gateway.state.journal.draft(asked.source) is None


async def test_drafts_are_off_unless_the_channel_claims_them(tmp_path: Path) -> None:
    async with Bot(tmp_path) as bot:
        await bot.channel.deliver("hi")
        assert await bot.reply() == "hi"
        assert not bot.channel.drafts
        assert bot.channel.posted[0].message.draft is None


async def test_commands_have_no_draft(tmp_path: Path) -> None:
    async with Bot(tmp_path, channel=drafting()) as bot:
        await bot.channel.deliver("/status")
        assert "session agent:main:" in await bot.reply()
        assert not bot.channel.drafts


async def test_what_is_said_after_a_tool_begins_a_new_text(tmp_path: Path) -> None:
    gate = anyio.Event()

    @tool
    async def look() -> str:
        """Look."""
        await gate.wait()
        return "seen"

    script = [["Let me look.", *call("look")], ["Found it."]]
    plugins = {"tools.look": look}
    async with Bot(tmp_path, script=script, plugins=plugins, channel=drafting()) as bot:
        await bot.channel.deliver("where?")
        draft = await bot.channel.shows("Let me look.")
        gate.set()
        posted = await bot.channel.next_sent()
    assert (posted.text, posted.message.draft) == ("Found it.", draft)
    assert all("look.Found" not in d.text for d in bot.channel.drafts)


async def test_the_pace_is_that_of_the_channel_but_the_end_waits_for_nobody(
    tmp_path: Path,
) -> None:
    provider = Slow("one ", "two ", "three")
    channel = FakeChannel(draft_seconds=3600)
    async with Bot(tmp_path, provider=provider, channel=channel) as bot:
        await begin(bot, provider)
        assert await bot.reply() == "one two three"
    assert [d.text for d in channel.drafts] == [""]


async def test_a_text_is_not_shown_twice_and_never_too_long(tmp_path: Path) -> None:
    provider = Slow("x" * 5000, "y", "z")
    async with Bot(tmp_path, provider=provider, channel=drafting()) as bot:
        await bot.channel.deliver("a lot!")
        await step(bot, provider, 0, "x" * 4096)
        for event in provider.steps:
            event.set()
        await bot.reply()
        assert (await bot.reply()).endswith("xyz")
        first, second = bot.channel.posted
    assert (first.message.draft, second.message.draft) == (first.message_id, None)
    assert max(len(d.text) for d in bot.channel.drafts) == 4096


# --- Guards ---------------------------------------------------------------------------


@dataclass
class Guard:
    """Judges as a function says; remembers the contexts."""

    judge: Callable[[Outbound], Outbound | None]
    seen: list[tuple[HookContext, Outbound]] = field(default_factory=list)

    @hookimpl
    async def message_sending(
        self, context: HookContext, message: Outbound
    ) -> Outbound | None:
        self.seen.append((context, message))
        return self.judge(message)


async def test_guards_judge_and_change_each_draft(tmp_path: Path) -> None:
    guard = Guard(lambda m: replace(m, text=m.text.replace("secret", "***")))
    provider = Slow("the ", "secret ", "word")
    async with Bot(
        tmp_path, provider=provider, channel=drafting(), plugins={"hooks.g": guard}
    ) as bot:
        await bot.channel.deliver("tell!")
        draft = await step(bot, provider, 0, "the")
        await step(bot, provider, 1, "the ***")
        provider.steps[2].set()
        assert await bot.reply() == "the *** word"
    assert not any("secret" in d.text for d in bot.channel.drafts)
    *drafts, (_, last) = guard.seen
    assert {m.id for _, m in drafts} == {""}, "a draft has no id, a message has one"
    assert drafts[-1][1].draft == draft
    assert last.id
    assert {c.channel for c, _ in guard.seen} == {"fake"}


async def test_a_vetoed_draft_is_the_last_and_a_vetoed_answer_takes_it_back(
    tmp_path: Path,
) -> None:
    def judge(message: Outbound) -> None:
        if "secret" in message.text:
            raise Veto("it is secret")

    provider = Slow("the ", "secret ", "word")
    async with Bot(
        tmp_path,
        provider=provider,
        channel=drafting(),
        plugins={"hooks.g": Guard(judge)},
    ) as bot:
        await bot.channel.deliver("tell!")
        draft = await step(bot, provider, 0, "the")
        for event in provider.steps:
            event.set()
        with anyio.fail_after(5):
            while bot.channel.open_drafts:
                await checkpoint()
        *_, last = bot.channel.drafts
        assert (last.text, last.draft) == ("", draft)
        assert not any("secret" in d.text for d in bot.channel.drafts)
        assert not bot.channel.posted


async def test_an_operator_is_asked_about_the_answer_not_about_drafts(
    tmp_path: Path,
) -> None:
    asked: list[Any] = []

    def judge(message: Outbound) -> None:
        raise Ask("may I?")

    async def operator(approval: Any) -> Any:
        asked.append(approval.subject.text)
        return "allow-once"

    provider = Slow("hello ", "there")
    async with Bot(
        tmp_path,
        provider=provider,
        channel=drafting(),
        plugins={"hooks.g": Guard(judge)},
        approver=operator,
    ) as bot:
        await begin(bot, provider)
        assert await bot.reply() == "hello there"
    assert asked == ["hello there"]
    assert {d.text for d in bot.channel.drafts} == {""}


async def test_a_guard_may_leave_nothing_to_show(tmp_path: Path) -> None:
    guard = Guard(lambda m: m if m.id else replace(m, text=""))
    provider = Slow("hello ", "there")
    async with Bot(
        tmp_path, provider=provider, channel=drafting(), plugins={"hooks.g": guard}
    ) as bot:
        await begin(bot, provider)
        assert await bot.reply() == "hello there"
    assert {d.text for d in bot.channel.drafts} == {""}


# --- Ends ----------------------------------------------------------------------------


class Held(FakeChannel):
    """Draft calls take until the test lets them end, or fail."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__(draft_seconds=0)
        self.called, self.release, self.error = anyio.Event(), anyio.Event(), error

    async def draft(self, *args: Any) -> str | None:
        self.called.set()
        if self.error is not None:
            raise self.error
        await self.release.wait()
        return await super().draft(*args)


async def test_a_call_in_progress_ends_before_the_answer_is_sent(
    tmp_path: Path,
) -> None:
    channel, provider = Held(), Slow("done")
    async with Bot(tmp_path, channel=channel, provider=provider) as bot:
        await bot.channel.deliver("hi")
        await channel.called.wait()
        provider.steps[0].set()
        with anyio.fail_after(5):
            while not provider.requests or bot.gateway.active_runs():
                await checkpoint()
        await anyio.wait_all_tasks_blocked()
        assert not channel.posted
        channel.release.set()
        posted = await channel.next_sent()
    assert posted.message.draft == channel.drafts[0].reference
    assert not channel.open_drafts


@pytest.mark.parametrize("error", [ChannelError("no edits"), ZeroDivisionError("oh")])
async def test_a_channel_that_cannot_show_drafts_still_answers(
    tmp_path: Path, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    channel, provider = Held(error), Slow("fine")
    async with Bot(tmp_path, channel=channel, provider=provider) as bot:
        await bot.channel.deliver("hi")
        await channel.called.wait()
        provider.steps[0].set()
        assert await bot.reply() == "fine"
    assert str(error) in caplog.text


async def test_a_call_that_hangs_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rustyclaw.drafts._CALL_SECONDS", 0.02)
    channel, provider = Held(), Slow("hi")
    async with Bot(tmp_path, channel=channel, provider=provider) as bot:
        await bot.channel.deliver("hi")
        await channel.called.wait()
        provider.steps[0].set()
        assert await bot.reply() == "hi"
        assert bot.channel.posted[0].message.draft is None


async def test_an_answer_without_a_word_leaves_no_draft(tmp_path: Path) -> None:
    provider = Slow("")
    async with Bot(tmp_path, channel=drafting(), provider=provider) as bot:
        draft = await begin(bot, provider)
        with anyio.fail_after(5):
            while bot.channel.open_drafts:
                await checkpoint()
        assert not bot.channel.posted
        assert [(d.text, d.draft) for d in bot.channel.drafts] == [
            ("", None),
            ("", draft),
        ]


async def test_a_stopped_run_ends_its_draft(tmp_path: Path) -> None:
    script = [hang(after=2)]
    async with Bot(tmp_path, channel=drafting(), script=script) as bot:
        await bot.channel.deliver("talk")
        draft = await bot.channel.shows("......")
        await bot.channel.deliver("/stop")
        replies = [await bot.channel.next_sent() for _ in range(2)]
    stopped = next(p for p in replies if p.message.draft)
    assert stopped.message.draft == draft
    assert stopped.text == "......\n\n[stopped]"


async def test_an_error_takes_the_place_of_the_draft(tmp_path: Path) -> None:
    broken = anyio.Event()

    class Breaks(FakeProvider):
        async def stream(self, request: ModelRequest) -> Any:
            yield TextDelta(text=" ")
            await broken.wait()
            raise ZeroDivisionError("oh")

    async with Bot(tmp_path, channel=drafting(), provider=Breaks()) as bot:
        await bot.channel.deliver("talk")
        draft = await bot.channel.shows("")
        broken.set()
        posted = await bot.channel.next_sent()
    assert posted.message.draft == draft
    assert not bot.channel.open_drafts


async def test_a_send_that_fails_is_repeated_with_its_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep = anyio.sleep
    monkeypatch.setattr(anyio, "sleep", lambda s: sleep(s if s > 1000 else 0))
    channel, provider = drafting(), Slow("hi")
    channel.fail_next()
    async with Bot(tmp_path, channel=channel, provider=provider) as bot:
        draft = await begin(bot, provider)
        posted = await bot.channel.next_sent()
    assert posted.message.draft == draft
    assert not channel.open_drafts


# --- After a crash ------------------------------------------------------------


async def crashed(home: Path, *, accepted: bool = True) -> Inbound:
    """Leave what a gateway leaves that is killed while it shows a draft."""
    database = Database(home / "state.db")
    asked = Inbound(message_id="m", sender=Sender(id="alice"), target=ALICE, text="hi")
    if accepted:
        await Journal(database).accept(asked, "agent:main:fake:dm:alice")
    await Journal(database).keep_draft(asked.source, "draft-of-old")
    await database.close()
    return asked


class Platform(FakeChannel):
    """A platform on which a draft of a gateway that was killed still stands."""

    def __init__(self) -> None:
        super().__init__(draft_seconds=0)
        self.open_drafts["draft-of-old"] = "half an ans"


async def test_a_run_that_begins_again_goes_on_with_its_draft(tmp_path: Path) -> None:
    await crashed(tmp_path)
    provider = Slow("a whole ", "answer")
    channel = Platform()
    async with Bot(tmp_path, provider=provider, channel=channel) as bot:
        await step(bot, provider, 0, "a whole")
        provider.steps[1].set()
        posted = await bot.channel.next_sent()
        assert (posted.text, posted.message_id) == ("a whole answer", "draft-of-old")
        assert not channel.open_drafts
        assert "" not in [d.text for d in channel.drafts], "it would vanish"


async def test_an_answer_from_before_the_crash_takes_the_draft_along(
    tmp_path: Path,
) -> None:
    channel = FakeChannel()
    async with Bot(tmp_path, channel=channel, script=["the answer"]) as bot:
        await bot.channel.deliver("hi", message_id="m")
        await bot.reply()
    database = Database(tmp_path / "state.db")
    await database.run(lambda db: db.execute("UPDATE inbox SET state = 'accepted'"))
    await database.run(lambda db: db.execute("DELETE FROM outbox"))
    await database.close()
    await crashed(tmp_path, accepted=False)
    again = Platform()
    async with Bot(tmp_path, channel=again, script=[]) as bot:
        posted = await bot.channel.next_sent()
    assert (posted.text, posted.message_id) == ("the answer", "draft-of-old")


async def test_the_draft_is_on_the_disk_before_a_text_is_shown(tmp_path: Path) -> None:
    kept: list[str | None] = []

    class Spy(FakeChannel):
        async def draft(
            self, target: Target, text: str, draft: str | None, reply_to: str | None
        ) -> str | None:
            if text:
                kept.append(await bot.gateway.state.journal.draft("fake:default:in-1"))
                assert kept[-1] == draft
            return await super().draft(target, text, draft, reply_to)

    provider = Slow("hello ", "there")
    bot = Bot(tmp_path, channel=Spy(draft_seconds=0), provider=provider)
    async with bot:
        await bot.channel.deliver("hi")
        await bot.channel.shows("")
        await step(bot, provider, 0, "hello")
        provider.steps[1].set()
        await bot.reply()
    assert kept
    assert None not in kept


async def test_without_a_channel_that_is_up_the_draft_is_still_replaced(
    tmp_path: Path,
) -> None:
    await crashed(tmp_path)
    entered = anyio.Event()

    class Late(Platform):
        async def __aenter__(self) -> Any:
            await entered.wait()
            return await super().__aenter__()

        async def send(self, target: Target, message: Outbound) -> Sent:
            assert entered.is_set()
            return await super().send(target, message)

    async with Bot(tmp_path, channel=Late()) as bot:
        with anyio.fail_after(5):
            while not bot.provider.requests or bot.gateway.active_runs():
                await checkpoint()
        assert not bot.channel.drafts
        entered.set()
        assert (await bot.channel.next_sent()).message_id == "draft-of-old"


async def test_a_channel_that_comes_late_begins_without_a_word(tmp_path: Path) -> None:
    entered = anyio.Event()

    class Late(FakeChannel):
        async def __aenter__(self) -> Any:
            await entered.wait()
            return await super().__aenter__()

    database = Database(tmp_path / "state.db")
    asked = Inbound(message_id="m", sender=Sender(id="alice"), target=ALICE, text="hi")
    await Journal(database).accept(asked, "agent:main:fake:dm:alice")
    await database.close()
    provider = Slow("one ", "two ", "three")
    async with Bot(tmp_path, provider=provider, channel=Late(draft_seconds=0)) as bot:
        provider.steps[0].set()
        await anyio.wait_all_tasks_blocked()
        entered.set()
        with anyio.fail_after(5):
            while bot.gateway.channels["fake"].state != "connected":
                await checkpoint()
        await step(bot, provider, 1, "one two")
        provider.steps[2].set()
        await bot.reply()
        assert bot.channel.drafts[0].text == ""
        assert not bot.channel.open_drafts
