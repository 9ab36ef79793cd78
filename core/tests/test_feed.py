"""The feed: what those who watch the whole gateway are told."""

from __future__ import annotations

import logging
from pathlib import Path

import anyio
import pytest
from rustyclaw import GatewayEvent, Notice, RunEnded, RunStarted, TextDelta
from rustyclaw.feed import Feed
from rustyclaw.testing import Bot, FakeChannel


async def test_a_watcher_is_told_at_once_and_in_order(tmp_path: Path) -> None:
    seen: list[GatewayEvent | Notice] = []
    async with Bot(tmp_path, script=["hello"]) as bot:
        unwatch = bot.gateway.feed.watch(seen.append)
        await bot.say("hi", session="a")
        unwatch()
        await bot.say("hi", session="b")

    events = [e for e in seen if isinstance(e, GatewayEvent)]
    assert [type(e.event) for e in events] == [RunStarted, TextDelta, RunEnded]
    assert [e.event for e in events] == bot_events(events)
    assert {e.session_key for e in events} == {"agent:main:a"}
    assert len({e.run_id for e in events}) == 1


def bot_events(events: list[GatewayEvent]) -> list[object]:
    """Return the events as a caller of the run would have seen them."""
    (ended,) = [e.event for e in events if isinstance(e.event, RunEnded)]
    started = RunStarted(run_id=ended.result.run_id, session_key="agent:main:a")
    return [started, TextDelta(text="hello"), ended]


async def test_runs_of_channels_and_notices_are_shown_too(tmp_path: Path) -> None:
    seen: list[GatewayEvent | Notice] = []
    policy = FakeChannel.Config(dm_policy="pairing", allow_from=("alice",))
    async with Bot(tmp_path, channel=FakeChannel(policy)) as bot:
        bot.gateway.feed.watch(seen.append)
        await bot.channel.deliver("hi")
        await bot.reply()
        await bot.channel.deliver("let me in", sender="bob")
        await bot.reply()
        bot.gateway.feed.announce("weather", {"is": "fine"}, "operator.read")

    runs = [e for e in seen if isinstance(e, GatewayEvent)]
    assert isinstance(runs[0].event, RunStarted)
    assert isinstance(runs[-1].event, RunEnded)
    notices = [e for e in seen if isinstance(e, Notice)]
    assert [(n.name, n.payload, n.scope) for n in notices] == [
        ("pairing", {"channel": "fake"}, "operator.pairing"),
        ("weather", {"is": "fine"}, "operator.read"),
        ("stopping", {"reason": "closed"}, ""),
    ]


async def test_a_watcher_that_fails_harms_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[object] = []

    def broken(event: object) -> None:
        raise ZeroDivisionError("oh")

    async with Bot(tmp_path) as bot:
        bot.gateway.feed.watch(broken)
        bot.gateway.feed.watch(seen.append)
        with caplog.at_level(logging.ERROR):
            assert await bot.say("hi") == "hi"
    assert any(isinstance(e, GatewayEvent) for e in seen)
    assert "a watcher of the gateway failed" in caplog.text


async def test_a_watcher_may_leave_while_it_is_told() -> None:
    feed, seen = Feed(), list[str]()

    def once(event: object) -> None:
        seen.append("once")
        unwatch()

    unwatch = feed.watch(once)
    feed.watch(lambda event: seen.append("always"))
    feed.announce("a", {})
    feed.announce("b", {})
    assert seen == ["once", "always", "always"]


async def test_a_reader_who_is_too_slow_misses_the_newest() -> None:
    feed = Feed()
    with feed.events() as events:
        for number in range(1000):
            feed.publish("agent:main:a", str(number), TextDelta(text="x"))
        feed.announce("a", {})  # is no event of a run
        read = events.statistics().current_buffer_used
        first = await events.receive()
    assert 0 < read < 1000
    assert first.run_id == "0"
    with pytest.raises(anyio.ClosedResourceError):
        await events.receive()
    feed.publish("agent:main:a", "after", TextDelta(text="x"))
