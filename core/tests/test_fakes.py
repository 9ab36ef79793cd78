"""The fakes of the kit: a provider with a script, a platform with a ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from rustyclaw import (
    ChannelError,
    Finished,
    Inbound,
    Message,
    ModelRequest,
    Outbound,
    ProviderError,
    StorageError,
    StreamEvent,
    Target,
    TextDelta,
    ToolCallDelta,
    tool,
)
from rustyclaw.testing import Bot, FakeChannel, FakeProvider, call, fault, hang

REQUEST = ModelRequest(model="fake", system="", messages=(Message.user("hello there"),))
TARGET = Target(channel="fake", chat_id="alice")


async def play(provider: FakeProvider) -> list[StreamEvent]:
    return [event async for event in provider.stream(REQUEST)]


def text_of(events: list[StreamEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


# --- The provider ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ("a long answer", "a long answer"),
        (["in two ", "parts"], "in two parts"),
        (lambda request: request.messages[0].text.upper(), "HELLO THERE"),
        (lambda request: lambda request: "twice", "twice"),
    ],
)
async def test_an_answer_comes_in_small_pieces(item: Any, text: str) -> None:
    events = await play(FakeProvider(script=[item]))
    assert text_of(events) == text
    assert max(len(e.text) for e in events if isinstance(e, TextDelta)) <= 5
    assert isinstance(events[-1], Finished)
    assert events[-1].stop_reason == "stop"
    assert events[-1].usage.input_tokens > 0
    assert events[-1].usage.output_tokens == len(text) // 4 + 1


async def test_without_a_script_it_repeats_what_it_is_told() -> None:
    provider = FakeProvider()
    assert text_of(await play(provider)) == "hello there"
    assert provider.requests == [REQUEST]


async def test_calls_of_one_answer_have_their_own_index_and_id() -> None:
    script = [["Let me see. ", *call("add", a=1), *call("add", a=2)]]
    events = await play(FakeProvider(script=script))
    deltas = [event for event in events if isinstance(event, ToolCallDelta)]
    joined = {
        index: [
            "".join(getattr(d, field) for d in deltas if d.index == index)
            for field in ("id", "name", "arguments")
        ]
        for index in (0, 1)
    }
    assert joined == {
        0: ["call_1_1", "add", '{"a": 1}'],
        1: ["call_1_2", "add", '{"a": 2}'],
    }
    assert isinstance(events[-1], Finished)
    assert events[-1].stop_reason == "tool_calls"


async def test_events_are_streamed_as_they_are() -> None:
    script = [TextDelta(text="a whole sentence"), Finished(stop_reason="length")]
    assert await play(FakeProvider(script=[script])) == script


async def test_a_fault_breaks_the_stream_where_it_stands() -> None:
    error = ProviderError("too much", kind="overloaded")
    provider = FakeProvider(script=[fault(after=2, error=error), error, fault(after=1)])
    stream = provider.stream(REQUEST)
    assert [await anext(stream), await anext(stream)] == fault(after=2)
    with pytest.raises(ProviderError, match="too much"):
        await anext(stream)
    with pytest.raises(ProviderError, match="too much"):
        await play(provider)
    assert not isinstance((await play(provider))[-1], Finished)


async def test_a_hanging_stream_can_only_be_left() -> None:
    provider = FakeProvider(script=[hang(after=1), "next"])
    with anyio.move_on_after(0.05) as scope:
        await play(provider)
    assert scope.cancelled_caught
    assert text_of(await play(provider)) == "next"


async def test_a_script_that_has_ended_says_so() -> None:
    provider = FakeProvider(script=["only"])
    await play(provider)
    with pytest.raises(ProviderError, match="ended after 1 model calls"):
        await play(provider)
    assert text_of(await play(FakeProvider(script=[], default="again"))) == "again"


# --- The platform ---------------------------------------------------------------


class Inbox:
    """Takes messages, once it is in the mood."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.messages: list[Inbound] = []
        self.taken = anyio.Event()

    async def accept(self, message: Inbound) -> bool:
        self.messages.append(message)
        if len(self.messages) <= self.refusals:
            raise StorageError("the disk is full; free some space")
        self.taken.set()
        return True


async def test_it_delivers_again_until_it_is_acknowledged() -> None:
    channel, inbox = FakeChannel(), Inbox(refusals=2)
    async with anyio.create_task_group() as group:
        group.start_soon(channel.run, inbox)
        message = await channel.deliver("hello", chat="room", chat_type="group")
        with anyio.fail_after(5):
            await inbox.taken.wait()
            await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert inbox.messages == [message] * 3
    assert channel.acknowledged == [message]
    assert channel.pending == {}


def test_it_outlives_the_event_loop_of_a_gateway() -> None:
    channel = FakeChannel()

    async def serve(refusals: int) -> list[Inbound]:
        inbox = Inbox(refusals)
        with anyio.move_on_after(0.05):
            await channel.run(inbox)
        return inbox.messages

    async def write() -> Inbound:
        return await channel.deliver("hello")

    assert anyio.run(serve, 0) == []
    message = anyio.run(write)
    assert message in anyio.run(serve, 1000)
    assert anyio.run(serve, 0) == [message]


async def test_what_was_sent_can_be_read_in_turn() -> None:
    channel = FakeChannel()
    texts = []
    async with anyio.create_task_group() as group:

        async def read() -> None:
            texts.extend([(await channel.next_sent()).text for _ in range(2)])

        group.start_soon(read)
        for number in (1, 2):
            sent = await channel.send(
                TARGET, Outbound(text=f"{number}", id="a" * number)
            )
            assert sent.message_id == f"out-{number}"
    assert texts == ["1", "2"]
    with pytest.raises(TimeoutError):
        await channel.next_sent(timeout_seconds=0.01)


async def test_a_send_can_fail_before_and_after_it_landed() -> None:
    channel, message = FakeChannel(), Outbound(text="hello", id="1")
    channel.fail_next()
    channel.fail_next(ChannelError("timed out"), lands=True)
    for landed in (0, 1):
        with pytest.raises(ChannelError):
            await channel.send(TARGET, message)
        assert len(channel.posted) == landed
    assert (await channel.send(TARGET, message)).message_id == "out-1"
    assert [posted.target for posted in channel.posted] == [TARGET]


# --- The bot --------------------------------------------------------------------


@tool
async def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


async def test_a_chat_reads_like_one(bot: Bot) -> None:
    assert await bot.say("hi") == "hi"
    await bot.channel.deliver("are you there?")
    assert await bot.reply() == "are you there?"
    assert bot.last.text == "hi"


async def test_a_bot_uses_its_tools_and_remembers(tmp_path: Path) -> None:
    script = [call("add", a=1, b=2), "It is 3.", "I said 3."]
    async with Bot(tmp_path, script=script, plugins={"tools.add": add}) as bot:
        assert await bot.say("1 + 2?") == "It is 3."
        assert bot.last.tool_calls == 1
        assert [type(event).__name__ for event in bot.events][:1] == ["RunStarted"]
        assert await bot.say("what?") == "I said 3."
        assert "It is 3." in [m.text for m in bot.provider.requests[-1].messages]


async def test_a_bot_that_said_nothing_has_no_last_word(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="no run has ended"):
        _ = Bot(tmp_path).last
