"""Runs that somebody was promised: they outlive the gateway that was asked for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from rustyclaw import (
    Busy,
    GatewayEvent,
    Message,
    Notice,
    RunEnded,
    RunOptions,
    RunResult,
    Target,
    ToolSchema,
)
from rustyclaw.testing import Bot, FakeProvider, hang

HASTY = {"gateway": {"drain_seconds": 0}}


class Watched(Bot):
    """A bot that remembers how runs ended."""

    def __init__(self, home: Path, **facts: Any) -> None:
        super().__init__(home, **{"config": HASTY, **facts})
        self.ended: list[RunResult] = []
        self._more = anyio.Event()
        self.gateway.feed.watch(self._hear)

    def _hear(self, seen: GatewayEvent | Notice) -> None:
        if isinstance(seen, GatewayEvent) and isinstance(seen.event, RunEnded):
            self.ended.append(seen.event.result)
            self._more.set()

    async def end(self, number: int = 1) -> RunResult:
        """Return how the first, second, ... run ended."""
        with anyio.fail_after(5):
            while len(self.ended) < number:
                self._more = anyio.Event()
                await self._more.wait()
        return self.ended[number - 1]

    async def submit(self, text: str, run_id: str = "r", **facts: Any) -> str:
        """Submit a text."""
        options = RunOptions(run_id=run_id)
        return await self.gateway.submit(Message.user(text), options=options, **facts)

    async def until(self, is_true: Callable[[], bool]) -> None:
        """Wait for something that no event tells."""
        with anyio.fail_after(5):
            while not is_true():
                await anyio.sleep(0.001)

    async def closed(self, run_id: str = "r") -> RunResult:
        """Return how a run ended, as it is known for a day."""
        with anyio.fail_after(5):
            while True:
                found = await self.gateway.submitted(run_id)
                if found is not None and found[1] is not None:
                    return found[1]
                await anyio.sleep(0.001)


async def cut_off(home: Path, text: str = "one", **facts: Any) -> Watched:
    """Stop a gateway in the middle of a run."""
    provider = FakeProvider(default=hang(after=1))
    async with Watched(home, provider=provider, **facts) as bot:
        await bot.submit(text)
        await bot.until(lambda: bool(provider.requests))
        assert await bot.gateway.submitted("r") is not None
    assert not bot.ended
    return bot


async def questions(bot: Bot) -> list[str]:
    info = await bot.gateway.state.sessions.get("agent:main:main")
    assert info is not None
    transcript = await bot.gateway.state.sessions.transcript(info)
    messages = (entry.message for entry in transcript.entries)
    return [m.text for m in messages if m is not None and m.role == "user"]


async def test_a_submitted_run_is_answered_and_known(tmp_path: Path) -> None:
    async with Watched(tmp_path) as bot:
        assert await bot.submit("hello") == "r"
        result = await bot.end()
        assert (result.run_id, result.text, result.error) == ("r", "hello", None)
        again = await bot.closed()
        assert (again.text, again.model) == ("hello", "fake/fake")
        assert again.usage == result.usage
        assert await bot.gateway.submitted("other") is None


async def test_the_same_run_is_not_run_twice(tmp_path: Path) -> None:
    async with Watched(tmp_path) as bot:
        for text in ("hello", "hello", "something else"):
            await bot.submit(text)
        await bot.closed()
        await bot.submit("and again")
        await bot.say("x")
        assert [r.text for r in bot.ended] == ["hello", "x"]
        assert len(bot.provider.requests) == 2


async def test_a_run_that_was_cut_off_is_resumed_once(tmp_path: Path) -> None:
    await cut_off(tmp_path)

    async with Watched(tmp_path) as bot:
        result = await bot.end()
        assert (result.run_id, result.text) == ("r", "one")
        await bot.closed()
        assert await questions(bot) == ["one"]
    async with Watched(tmp_path) as bot:
        await bot.say("x")
        assert [r.text for r in bot.ended] == ["x"]


async def test_runs_that_waited_keep_their_order(tmp_path: Path) -> None:
    provider = FakeProvider(default=hang(after=1))
    async with Watched(tmp_path, provider=provider) as bot:
        for number in "abc":
            await bot.submit(number, run_id=number)
        await bot.until(lambda: bool(provider.requests))

    async with Watched(tmp_path) as bot:
        await bot.end(3)
        assert [r.run_id for r in bot.ended] == ["a", "b", "c"]
        assert await questions(bot) == ["a", "b", "c"]


async def test_an_answer_that_stands_is_not_asked_for_again(tmp_path: Path) -> None:
    """As when the process dies between the answer and the note that it was given."""
    async with Watched(tmp_path) as bot:
        await bot.submit("hello")
        await bot.closed()
        reopen = "UPDATE runs SET is_open = 1"
        await bot.gateway.state.database.run(lambda db: db.execute(reopen))

    async with Watched(tmp_path) as bot:
        result = await bot.end()
        assert (result.run_id, result.text, result.model) == ("r", "hello", "fake/fake")
        await bot.closed()
        assert not bot.provider.requests


async def test_the_answer_is_sent_to_a_chat_as_well(tmp_path: Path) -> None:
    target = Target(channel="fake", chat_id="c")
    provider = FakeProvider(default=hang(after=1))
    async with Watched(tmp_path, provider=provider) as bot:
        await bot.submit("for you", target=target)
        await bot.until(lambda: bool(provider.requests))

    async with Watched(tmp_path) as bot:
        assert await bot.reply() == "for you"
        await bot.closed()
    async with Watched(tmp_path) as bot:
        await bot.say("x")
        assert not bot.channel.posted


async def test_a_run_that_was_aborted_does_not_begin_again(tmp_path: Path) -> None:
    provider = FakeProvider(default=hang(after=1))
    async with Watched(tmp_path, provider=provider) as bot:
        await bot.submit("runs", run_id="a")
        await bot.submit("waits", run_id="b")
        await bot.until(lambda: bool(provider.requests))
        assert bot.gateway.abort("main", "b")
        assert bot.gateway.abort("main", "a")
        assert (await bot.end(1)).aborted
        assert (await bot.end(2)).aborted
        assert (await bot.closed("b")).aborted
        await bot.closed("a")

    async with Watched(tmp_path) as bot:
        await bot.say("x")
        assert [r.text for r in bot.ended] == ["x"]


async def test_a_run_that_fails_is_over(tmp_path: Path) -> None:
    provider = FakeProvider(default=[ValueError("oh")])
    async with Watched(tmp_path, provider=provider) as bot:
        await bot.submit("hello")
        error = (await bot.end()).error
        assert error is not None
        assert error.kind == "internal"
        again = (await bot.closed()).error
        assert again is not None
        assert "oh" in again.message
    async with Watched(tmp_path) as bot:
        await bot.say("x")
        assert [r.text for r in bot.ended] == ["x"]


async def test_a_run_that_ends_each_gateway_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rustyclaw.lanes._MOST_RESTARTS", 3)
    for _ in range(4):
        await cut_off(tmp_path)

    async with Watched(tmp_path) as bot:
        error = (await bot.end()).error
        assert error is not None
        assert error.message.startswith("[given up")
        assert not bot.provider.requests
        assert await bot.say("x") == "x"


async def test_what_is_not_taken(tmp_path: Path) -> None:
    one = Message.user("one")
    schema = ToolSchema(name="t", description="t", parameters={"type": "object"})
    config = {**HASTY, "session": {"queue_limit": 1}}
    provider = FakeProvider(default=hang(after=1))
    async with Watched(tmp_path, provider=provider, config=config) as bot:
        for options in (RunOptions(history=(one,)), RunOptions(tools=(schema,))):
            with pytest.raises(ValueError, match="cannot outlive"):
                await bot.gateway.submit(one, options=options)
        await bot.submit("runs", run_id="a")
        await bot.until(lambda: bool(provider.requests))
        await bot.submit("waits", run_id="b")
        with pytest.raises(Busy, match="wait in session"):
            await bot.submit("one too many", run_id="c")
        await bot.gateway.stop("test")
        with pytest.raises(Busy, match="is stopping"):
            await bot.submit("too late", run_id="d")
