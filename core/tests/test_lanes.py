"""One lane a session: order, collecting and steering, commands, aborts, limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from rustyclaw import (
    Busy,
    HookContext,
    Inbound,
    ModelRequest,
    RunEnded,
    RunStarted,
    TextDelta,
    Tool,
    ToolContext,
    ToolResult,
    hookimpl,
)
from rustyclaw.testing import Bot, FakeChannel, FakeProvider, call, hang


class Gate(FakeProvider):
    """Answers with its text, but the first call waits until it may."""

    def __init__(self, *, script: Any = None) -> None:
        super().__init__(script=script)
        self.called, self.open = anyio.Event(), anyio.Event()

    async def stream(self, request: ModelRequest) -> Any:
        self.called.set()
        await self.open.wait()
        async for event in super().stream(request):
            yield event


@dataclass
class Heard:
    """Remembers which messages the hooks were told of."""

    texts: list[str] = field(default_factory=list)
    starts: list[str] = field(default_factory=list)

    @hookimpl
    async def message_received(self, message: Inbound) -> None:
        self.texts.append(message.text)

    @hookimpl
    async def session_start(self, context: HookContext) -> None:
        self.starts.append(context.session_key)

    @hookimpl
    async def session_end(self, context: HookContext) -> None:
        self.starts.append(f"-{context.session_key}")


async def taken(channel: FakeChannel) -> None:
    """Wait until the gateway has everything."""
    with anyio.fail_after(5):
        while channel.pending:
            await channel._next_change().wait()


def asked(request: ModelRequest) -> list[str]:
    return [m.text for m in request.messages if m.role == "user"]


# --- Order and collecting -----------------------------------------------------------


async def test_messages_during_a_run_wait_for_the_next_one(tmp_path: Path) -> None:
    heard, provider = Heard(), Gate()
    async with Bot(tmp_path, provider=provider, plugins={"hooks.h": heard}) as bot:
        await bot.channel.deliver("one")
        await provider.called.wait()
        for text in ("two", "three", "four"):
            await bot.channel.deliver(text)
        await taken(bot.channel)
        provider.open.set()
        assert [await bot.reply() for _ in range(2)] == ["one", "two\nthree\nfour"]
        assert len(provider.requests) == 2
        assert heard.texts == ["one", "two", "three", "four"]
        assert bot.channel.posted[1].message.reply_to == "in-4"


async def test_each_chat_keeps_its_order_and_chats_do_not_wait(tmp_path: Path) -> None:
    provider = FakeProvider(
        default=lambda r: hang() if "block" in asked(r)[-1] else asked(r)[-1]
    )
    async with Bot(tmp_path, provider=provider) as bot:
        await bot.channel.deliver("block", sender="slow")
        for number in range(6):
            await bot.channel.deliver(f"m{number}", sender=f"s{number % 2}")
            await bot.reply()
        for sender in ("s0", "s1"):
            mine = [p for p in bot.channel.posted if p.target.chat_id == sender]
            assert [p.text for p in mine] == sorted(p.text for p in mine)
            assert len(mine) == 3
        bot.gateway.abort("fake:dm:slow")


async def test_a_redelivered_message_is_answered_once(tmp_path: Path) -> None:
    provider = Gate()
    async with Bot(tmp_path, provider=provider) as bot:
        for _ in range(3):  # while it waits, runs and is done
            await bot.channel.deliver("one", message_id="x")
            await taken(bot.channel)
            await provider.called.wait()
        provider.open.set()
        assert await bot.reply() == "one"
        await bot.channel.deliver("one", message_id="x")
        await bot.channel.deliver("two")
        assert await bot.reply() == "two"
        assert len(provider.requests) == 2
    async with Bot(tmp_path) as bot:  # and also in another life
        await bot.channel.deliver("one", message_id="x")
        await bot.channel.deliver("three", message_id="y")
        assert await bot.reply() == "three"
        assert len(bot.provider.requests) == 1


async def test_people_in_a_group_are_named_and_share_a_session(tmp_path: Path) -> None:
    async with Bot(tmp_path) as bot:
        for sender in ("ann", "bob"):
            await bot.channel.deliver(
                "hi", sender=sender, chat="g", chat_type="group", mentioned=True
            )
            assert await bot.reply() == f"[{sender}] hi"
        assert asked(bot.provider.requests[1]) == ["[ann] hi", "[bob] hi"]
        assert bot.channel.posted[0].target.chat_id == "g"


# --- Steering -----------------------------------------------------------------------


class Wait(Tool):
    """Wait for a sign."""

    name = "wait"

    def __init__(self) -> None:
        super().__init__()
        self.called, self.go_on = anyio.Event(), anyio.Event()

    async def run(self, params: Any, context: ToolContext) -> ToolResult:
        self.called.set()
        await self.go_on.wait()
        return ToolResult(text="done")


@pytest.mark.parametrize(
    ("mode", "second", "replies"),
    [("steer", ["one", "two"], ["two"]), ("collect", ["one"], ["one", "two"])],
)
async def test_a_message_during_a_tool_call(
    tmp_path: Path, mode: str, second: list[str], replies: list[str]
) -> None:
    wait, heard = Wait(), Heard()
    provider = FakeProvider(script=[call("wait")], default=lambda r: asked(r)[-1])
    async with Bot(
        tmp_path,
        provider=provider,
        plugins={"tools.wait": wait, "hooks.heard": heard},
        config={"session": {"queue_mode": mode}},
    ) as bot:
        await bot.channel.deliver("one")
        await wait.called.wait()
        await bot.channel.deliver("two")
        await taken(bot.channel)
        wait.go_on.set()
        assert [await bot.reply() for _ in replies] == replies
        assert asked(provider.requests[1]) == second
        assert heard.texts == ["one", "two"]
    assert len(bot.channel.posted) == len(replies)


async def test_a_command_does_not_steer(tmp_path: Path) -> None:
    """What comes before it does; it and what follows wait for their turn."""
    wait = Wait()
    provider = FakeProvider(script=[call("wait")], default=lambda r: asked(r)[-1])
    async with Bot(
        tmp_path,
        provider=provider,
        plugins={"tools.wait": wait},
        config={"session": {"queue_mode": "steer"}},
    ) as bot:
        await bot.channel.deliver("one")
        await wait.called.wait()
        for text in ("two", "/new", "three"):
            await bot.channel.deliver(text)
        await taken(bot.channel)
        wait.go_on.set()
        replies = [await bot.reply() for _ in range(3)]
        assert replies == ["two", "Here begins a new conversation.", "three"]
        assert asked(provider.requests[1]) == ["one", "two"]
        assert asked(provider.requests[2]) == ["three"]


# --- Commands -----------------------------------------------------------------------


async def test_commands_keep_their_place_among_messages(tmp_path: Path) -> None:
    provider, heard = Gate(), Heard()
    async with Bot(tmp_path, provider=provider, plugins={"hooks.h": heard}) as bot:
        await bot.channel.deliver("one")
        await provider.called.wait()
        texts = ["two", "/status", "three", "/RESET", "four", "/help", "/path is here"]
        for text in texts:
            await bot.channel.deliver(text)
        await taken(bot.channel)
        provider.open.set()
        replies = [await bot.reply() for _ in range(8)]
        assert replies[:2] == ["one", "two"]
        assert "session agent:main:fake:dm:alice\nmodel fake/fake" in replies[2]
        assert replies[3:6] == ["three", "Here begins a new conversation.", "four"]
        assert "/stop" in replies[6]
        assert replies[7] == "/path is here"
        assert asked(provider.requests[2]) == ["one", "two", "three"]
        assert asked(provider.requests[3]) == ["four"]
        assert heard.texts == ["one", *texts]


@pytest.mark.parametrize("word", ["/stop", " /STOP\n"])
async def test_stop_does_not_queue(tmp_path: Path, word: str) -> None:
    provider = FakeProvider(script=[hang(after=1), "fine"])
    async with Bot(tmp_path, provider=provider) as bot:
        with bot.gateway.feed.events() as events:
            await bot.channel.deliver("talk")
            while not isinstance((await events.receive()).event, TextDelta):
                pass
        await bot.channel.deliver("and more")
        await bot.channel.deliver(word, message_id="stop")
        replies = {await bot.reply(), await bot.reply()}
        assert replies == {"Stopped.", "...\n\n[stopped]"}
        assert await bot.reply() == "fine"
        await bot.channel.deliver("/stop")
        assert await bot.reply() == "Nothing is running."


async def test_a_redelivered_stop_stops_nothing_more(tmp_path: Path) -> None:
    provider = Gate()
    async with Bot(tmp_path, provider=provider) as bot:
        await bot.channel.deliver("/stop", message_id="stop")
        assert await bot.reply() == "Nothing is running."
        await bot.channel.deliver("talk")
        await provider.called.wait()
        await bot.channel.deliver("/stop", message_id="stop")
        await taken(bot.channel)
        provider.open.set()
        assert await bot.reply() == "talk"


# --- Jobs of this process -----------------------------------------------------------


async def test_a_full_queue_is_busy(tmp_path: Path) -> None:
    provider = Gate()
    config = {"session": {"queue_limit": 2}}
    ended: list[str] = []

    async def ask(text: str) -> None:
        async for event in bot.gateway.run(text):
            if isinstance(event, RunEnded):
                ended.append(event.result.text)

    async with Bot(tmp_path, provider=provider, config=config) as bot:
        async with anyio.create_task_group() as group:
            group.start_soon(ask, "one")
            await provider.called.wait()
            for text in ("two", "three"):
                group.start_soon(ask, text)
                await anyio.wait_all_tasks_blocked()
            with pytest.raises(Busy, match="2 messages wait"):
                await bot.say("four")
            assert not ended
            provider.open.set()
        assert ended == ["one", "two", "three"]


async def test_leaving_early_aborts(tmp_path: Path) -> None:
    aborted = anyio.Event()

    class Watch:
        @hookimpl
        async def agent_end(self, result: Any) -> None:
            if result.aborted:
                aborted.set()

    provider = FakeProvider(script=[hang(after=3), "next"])
    async with Bot(tmp_path, provider=provider, plugins={"hooks.w": Watch()}) as bot:
        stream = bot.gateway.run("talk")
        async for event in stream:
            if isinstance(event, TextDelta):
                break
        await stream.aclose()
        with anyio.fail_after(5):
            await aborted.wait()
        assert await bot.say("again") == "next"


async def test_who_leaves_before_it_begins_leaves_no_trace(tmp_path: Path) -> None:
    provider = Gate()
    async with Bot(tmp_path, provider=provider) as bot:
        async with anyio.create_task_group() as group:
            group.start_soon(bot.say, "one")
            await provider.called.wait()
            with anyio.move_on_after(0.01):
                async for _ in bot.gateway.run("two"):
                    raise AssertionError
            provider.open.set()
        assert await bot.say("three") == "three"
        assert [m.text for m in provider.requests[-1].messages] == [
            "one",
            "one",
            "three",
        ]


async def test_an_abort_ends_the_run_and_keeps_what_was_said(tmp_path: Path) -> None:
    provider = FakeProvider(script=[hang(after=1), "next"])
    async with Bot(tmp_path, provider=provider) as bot:
        assert not bot.gateway.abort()
        async for event in bot.gateway.run("talk"):
            if isinstance(event, TextDelta):
                assert bot.gateway.abort()
        assert isinstance(event, RunEnded)
        assert event.result.aborted
        assert event.result.text == "..."


async def test_an_abort_finds_a_run_that_is_about_to_begin(tmp_path: Path) -> None:
    opening, go_on = anyio.Event(), anyio.Event()

    class Slow:
        @hookimpl
        async def session_start(self) -> None:
            opening.set()
            await go_on.wait()

    async with Bot(tmp_path, plugins={"hooks.slow": Slow()}) as bot:
        async with anyio.create_task_group() as group:
            group.start_soon(bot.say, "one")
            await opening.wait()
            assert bot.gateway.abort()
            go_on.set()
        assert bot.last.aborted
        assert not bot.provider.requests


async def test_whatever_breaks_in_a_lane_the_reader_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"providers": {"x": {"token": "canary-value"}}}
    async with Bot(tmp_path, config=config) as bot:

        async def broken(*_: Any) -> Any:
            raise ZeroDivisionError("oh canary-value")

        with monkeypatch.context() as patch:
            patch.setattr("rustyclaw.live_sessions.LiveSession.open", broken)
            await bot.say("one")
        assert bot.last.error is not None
        assert (bot.last.error.kind, bot.last.error.message) == (
            "internal",
            "internal error: oh ***",
        )
        assert await bot.say("two") == "two"


async def test_a_message_survives_whatever_breaks_in_its_lane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = anyio.sleep

    async def sleep(seconds: float) -> None:
        await (checkpoint() if 1 <= seconds < 100 else real(seconds))

    monkeypatch.setattr(anyio, "sleep", sleep)
    faults = [ZeroDivisionError("oh"), ZeroDivisionError("oh")]
    async with Bot(tmp_path) as bot:
        journal = bot.gateway.state.journal
        finish: Callable[..., Any] = journal.finish

        async def broken(*arguments: Any) -> None:
            if faults:
                raise faults.pop()
            await finish(*arguments)

        monkeypatch.setattr(journal, "finish", broken)
        await bot.channel.deliver("one")
        assert await bot.reply() == "one"
        assert len(bot.provider.requests) == 1, "the answer is in the transcript"
        assert "has to wait: oh" in caplog.text


# --- Sessions -----------------------------------------------------------------------


async def test_a_session_begins_once_however_small_the_cache(tmp_path: Path) -> None:
    heard = Heard()
    config = {"session": {"max_cached": 1}}
    async with Bot(tmp_path, config=config, plugins={"hooks.h": heard}) as bot:
        for name in ("a", "b", "a", "b"):
            await bot.say(name, session=name)
        await bot.gateway.reset("b")
        assert len(bot.gateway._sessions._open) <= 1
    a, b = "agent:main:a", "agent:main:b"
    assert heard.starts == [a, b, f"-{b}", f"-{a}"]


async def test_a_deleted_session_begins_anew(tmp_path: Path) -> None:
    async with Bot(tmp_path) as bot:
        await bot.say("one")
        await bot.gateway.reset("main", "delete")
        assert await bot.gateway.state.sessions.list() == ()
        await bot.say("two")
        assert asked(bot.provider.requests[1]) == ["two"]


async def test_events_come_in_order(tmp_path: Path) -> None:
    async with Bot(tmp_path) as bot:
        await bot.say("hello")
        kinds = [type(event) for event in bot.events]
        assert kinds[0] is RunStarted
        assert kinds[-1] is RunEnded
        assert set(kinds[1:-1]) == {TextDelta}
