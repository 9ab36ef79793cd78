"""What conversations have cost: by day, by session, over time."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from rustyclaw.testing import FakeProvider, call
from rustyclaw_server.usage import days_of

from .client import READ, Failed
from .conftest import Running


@pytest.fixture
def fake_provider() -> FakeProvider:
    return FakeProvider(script=[call("nothing", x=1), "one", "two", "three"])


async def say(running: Running, session: str, key: str) -> None:
    client = await running.client()
    await client.ask("chat.send", sessionKey=session, message="hi", idempotencyKey=key)
    await client.event("chat", state="final", runId=key)


async def test_usage_adds_up(running: Running) -> None:
    client = await running.client()
    await say(running, "main", "1")
    await say(running, "other", "2")

    cost = await client.ask("usage.cost", days=1)
    usage = await client.ask("sessions.usage")
    one = await client.ask("sessions.usage", key="main")
    series = await client.ask("sessions.usage.timeseries", key="main")

    infos = await running.gateway.state.sessions.list()
    spent = sum(info.usage.input_tokens + info.usage.output_tokens for info in infos)
    assert cost["totals"]["totalTokens"] == spent > 0
    assert usage["totals"] == cost["totals"]
    assert [row["date"] for row in cost["daily"]] == [f"{datetime.now(UTC):%Y-%m-%d}"]
    assert {row["key"] for row in usage["sessions"]} == {i.key for i in infos}
    (row,) = one["sessions"]
    assert row["usage"]["toolUsage"]["tools"] == [{"name": "nothing", "count": 1}]
    assert row["usage"]["messageCounts"]["assistant"] == 2
    assert row["usage"]["messageCounts"]["errors"] == 1
    assert series["points"][-1]["cumulativeTokens"] == row["usage"]["totalTokens"]
    assert len(series["points"]) == 2
    assert one["aggregates"]["byModel"][0]["model"] == "fake"


async def test_what_was_reset_still_counts(running: Running) -> None:
    client = await running.client()
    await say(running, "main", "1")
    before = (await client.ask("usage.cost", days=1))["totals"]["totalTokens"]
    await running.gateway.reset("main")
    await say(running, "main", "2")

    after = (await client.ask("usage.cost", days=1))["totals"]["totalTokens"]
    sessions = await client.ask("sessions.usage")

    assert after > before > 0
    assert sessions["totals"]["totalTokens"] == after - before


async def test_a_range_is_of_days(running: Running) -> None:
    client = await running.client(scopes=[READ])
    await say(running, "main", "1")

    old = await client.ask("usage.cost", startDate="2020-01-01", endDate="2020-01-03")

    assert (old["days"], old["daily"], old["totals"]["totalTokens"]) == (3, [], 0)
    for params in ({"startDate": "2020-13-01"}, {"utcOffset": "UTC+99"}):
        with pytest.raises(Failed, match="invalid range"):
            await client.ask("usage.cost", **params)
    with pytest.raises(Failed, match=r"invalid usage\.cost params"):
        await client.ask("usage.cost", startDate="yesterday")


async def test_the_messages_of_a_session(running: Running) -> None:
    client = await running.client()
    await say(running, "main", "1")

    rows = (await client.ask("sessions.usage.logs", key="main", limit=10))["logs"]

    assert [row["role"] for row in rows] == [
        "user",
        "assistant",
        "toolResult",
        "assistant",
    ]
    assert rows[1]["content"].endswith("[Tool: nothing]")
    assert rows[-1]["content"] == "one"
    assert rows[-1]["tokens"] > 0
    with pytest.raises(Failed, match="no session found: nobody"):
        await client.ask("sessions.usage.timeseries", key="nobody")


def range_of(**facts: Any) -> Any:
    given = dict.fromkeys(("days", "start", "end", "offset"))
    return days_of(**{**given, **facts})


def test_ranges() -> None:
    assert len(range_of()) == 30
    assert len(range_of(days=7)) == 7
    days = range_of(start="2026-01-01", end="2026-01-02", offset="UTC+5:30")
    assert days.zone.utcoffset(None) == timedelta(hours=5, minutes=30)
    assert range_of(offset="UTC-8").zone.utcoffset(None) == timedelta(hours=-8)
    start = datetime(2025, 12, 31, 18, 30, tzinfo=UTC).timestamp()
    assert days.has(start)
    assert not days.has(start - 1)
    assert days.day(start) == date(2026, 1, 1)
    assert len(range_of(start="2026-01-02", end="2026-01-01")) == 0
    assert range_of(end="2026-03-01", days=1).first == date(2026, 3, 1)
    assert range_of().has(time.time())
