"""The durable inbox and outbox, without a gateway around them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from rustyclaw import Audio, Busy, File, Image, Inbound, Outbound, Sender, Target
from rustyclaw.sessions.database import Database
from rustyclaw.sessions.journal import Journal, Reply, _decode, _encode

TARGET = Target(channel="fake", chat_id="c1", chat_type="thread", thread_id="t")
BYTES = bytes(range(256))


@pytest.fixture
async def journal(tmp_path: Path, anyio_backend: Any) -> AsyncIterator[Journal]:
    database = Database(tmp_path / "state.db")
    yield Journal(database)
    await database.close()


def message(id: str = "1", **facts: Any) -> Inbound:
    return Inbound(
        message_id=id, sender=Sender(id="ann", name="Ann"), target=TARGET, **facts
    )


def reply(to: Inbound, text: str = "hi") -> Reply:
    return Reply.to(to, "agent:main:main", text)


async def test_a_message_comes_back_as_it_was(journal: Journal) -> None:
    media = (
        Image(data=BYTES, media_type="image/png"),
        Audio(data=b"", media_type="audio/ogg", transcript="hm"),
        File(data=BYTES, media_type="application/x", name="../x"),
    )
    full = message(
        text="Grüße \ud83d \u2028 \x00",
        media=media,
        mentioned=True,
        reply_to="0",
        timestamp=1.5,
        facts={"guild_id": "9"},
    )
    assert await journal.accept(full, "s")
    assert await journal.waiting("s", 10) == [full]
    answer = reply(full)
    answer = replace(answer, message=replace(answer.message, media=media, silent=True))
    await journal.finish([full.source], answer)
    assert await journal.next_reply("fake") == answer


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(), data=st.binary(), name=st.none() | st.text())
def test_any_message_can_be_kept(text: str, data: bytes, name: str | None) -> None:
    media = (File(data=data, media_type=text, name=text),)
    kept = message(text=text, media=media, facts={text: text})
    kept = replace(kept, sender=Sender(id=text, name=name, username=name))
    assert _decode(Inbound, _encode(kept)) == kept
    sent = Outbound(text=text, media=media, reply_to=name, id=text)
    assert _decode(Outbound, _encode(sent)) == sent


async def test_a_source_is_accepted_once(journal: Journal) -> None:
    assert not await journal.knows("fake:default:1")
    assert await journal.accept(message(text="a"), "s")
    assert not await journal.accept(message(text="b"), "s")
    assert [m.text for m in await journal.waiting("s", 10)] == ["a"]
    await journal.finish(["fake:default:1"], None)
    assert not await journal.accept(message(text="c"), "s"), "also when it is done"
    assert await journal.knows("fake:default:1")
    assert await journal.waiting("s", 10) == []


async def test_only_one_of_many_at_once_is_new(journal: Journal) -> None:
    new: list[bool] = []

    async def accept() -> None:
        new.append(await journal.accept(message(), "s"))

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(accept)
    assert sorted(new) == [False] * 9 + [True]


async def test_order_and_limit(journal: Journal) -> None:
    for number in range(5):
        await journal.accept(message(str(number)), "even" if number % 2 else "odd")
    assert [m.message_id for m in await journal.waiting("odd", 2)] == ["0", "2"]
    assert await journal.open_sessions() == ["odd", "even"]


async def test_a_reply_at_once_needs_no_run(journal: Journal) -> None:
    asked = message()
    assert await journal.accept(asked, "s", reply(asked))
    assert not await journal.accept(asked, "s", reply(asked, "again"))
    assert await journal.open_sessions() == []
    kept = await journal.next_reply("fake")
    assert kept == reply(asked)
    assert await journal.next_reply("other") is None


async def test_finishing_twice_sends_once(journal: Journal) -> None:
    asked = message()
    await journal.accept(asked, "s")
    for _ in range(2):
        await journal.finish([asked.source], reply(asked))
    first = await journal.next_reply("fake")
    assert first is not None
    await journal.save(replace(first, state="sent"))
    assert await journal.next_reply("fake") is None


async def test_a_full_inbox_is_busy(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rustyclaw.sessions.journal._INBOX_LIMIT", 2)
    assert await journal.accept(message("1"), "s")
    assert await journal.accept(message("2"), "s")
    with pytest.raises(Busy, match="2 messages wait"):
        await journal.accept(message("3"), "s")
    await journal.finish([message("1").source], None)
    assert await journal.accept(message("3"), "s")


async def test_progress_and_troubles(journal: Journal) -> None:
    asked = message()
    await journal.accept(asked, "s", reply(asked, "long"))
    moved = replace(
        reply(asked, "long"),
        message=Outbound(id=f"{asked.source}:reply", text="judged"),
        state="sending",
        parts=2,
        attempts=1,
    )
    await journal.save(moved)
    assert await journal.next_reply("fake") == moved
    await journal.save(replace(moved, state="failed"), "no such chat")
    assert await journal.next_reply("fake") is None
    assert await journal.troubles() == [("fake", "failed", "no such chat")]


async def test_only_what_is_old_and_finished_is_forgotten(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, open_ = message("done"), message("open")
    await journal.accept(done, "s", reply(done))
    await journal.accept(open_, "s")
    await journal.prune()
    assert await journal.knows(done.source)
    now = time.time()
    monkeypatch.setattr("rustyclaw.sessions.journal.time.time", lambda: now + 8 * 86400)
    await journal.prune()
    assert not await journal.knows(done.source)
    assert await journal.knows(open_.source)
    pending = await journal.next_reply("fake")
    assert pending is not None, "a reply that was not sent stays"
    await journal.save(replace(pending, state="unknown"), "?")
    await journal.prune()
    with sqlite3.connect(tmp_path / "state.db") as db:
        assert db.execute("SELECT count(*) FROM outbox").fetchone() == (0,)
    db.close()


async def test_a_message_is_found_by_its_source(journal: Journal) -> None:
    first = message("1", text="hello")
    await journal.accept(first, "agent:main:main", reply(first))

    assert await journal.find(first.source) == ("agent:main:main", first)
    assert await journal.find("fake:default:2") is None
