"""The index of sessions: settings, sums, resets, deletion, and loss of the index."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from rustyclaw import Message, SessionError
from rustyclaw.messages import Target, Usage
from rustyclaw.sessions.database import Database
from rustyclaw.sessions.entries import Entry
from rustyclaw.sessions.store import SessionStore

TARGET = Target(channel="telegram", chat_id="7", thread_id="x")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "state.db")
    yield database
    await database.close()


@pytest.fixture
def store(tmp_path: Path, database: Database) -> SessionStore:
    return SessionStore(tmp_path, database)


async def say(store: SessionStore, key: str, text: str) -> Path:
    transcript = await store.transcript(await store.get_or_create(key))
    await transcript.append(Entry.of(Message.user(text)))
    return transcript.path


async def said(store: SessionStore, key: str) -> list[str]:
    info = await store.get(key)
    assert info is not None
    entries = (await store.transcript(info)).entries
    return [e.message.text for e in entries if e.message]


async def test_a_session_is_made_once(store: SessionStore, tmp_path: Path) -> None:
    assert await store.get("main") is None
    info = await store.get_or_create("main")
    assert (info.key, info.agent_id) == ("agent:main:main", "main")
    assert await store.get_or_create("agent:main:main") == info
    assert await store.get(" Agent:Main:MAIN ") == info
    assert not (tmp_path / "agents").exists()  # no file before there is an entry


async def test_one_session_for_those_who_come_at_once(store: SessionStore) -> None:
    found = set()

    async def one() -> None:
        found.add((await store.get_or_create("main")).session_id)

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(one)
    assert len(found) == 1


async def test_no_part_of_a_key_is_in_the_path(
    store: SessionStore, tmp_path: Path
) -> None:
    path = await say(store, "agent:helper:telegram:dm:..%2f..%2fetc", "hi")
    assert path.parent == tmp_path / "agents" / "helper" / "sessions"
    assert len(path.stem) == 16
    assert set(path.stem) <= set("0123456789abcdef")
    assert await said(store, "agent:helper:telegram:dm:..%2f..%2fetc") == ["hi"]


@pytest.mark.parametrize("key", ["", "telegram:../../x", "agent:../x:main", "a\0b"])
async def test_what_is_no_key_finds_no_session(store: SessionStore, key: str) -> None:
    for method in (store.get, store.get_or_create, store.reset, store.delete):
        with pytest.raises(SessionError, match="not a session key"):
            await method(key)


@pytest.mark.parametrize(
    "damage",
    [{"session_id": "../../../x"}, {"session_id": ""}, {"key": "../../etc/passwd"}],
)
async def test_a_damaged_row_leads_to_no_file(
    store: SessionStore, damage: dict[str, Any]
) -> None:
    info = replace(await store.get_or_create("main"), **damage)
    with pytest.raises(SessionError):
        store.path_of(info)


async def test_settings_are_set_and_cleared(store: SessionStore) -> None:
    await store.get_or_create("main")
    info = await store.patch("main", label="Home", model="a/b", thinking="low")
    assert (info.label, info.model, info.thinking) == ("Home", "a/b", "low")
    info = await store.patch("main", model=None, system_prompt="be brief")
    assert (info.label, info.model, info.system_prompt) == ("Home", None, "be brief")
    assert await store.get("main") == info


async def test_labels_are_short_and_unique(store: SessionStore) -> None:
    await store.get_or_create("main")
    await store.get_or_create("other")
    await store.patch("main", label="x" * 64)
    await store.patch("main", label="home")
    with pytest.raises(SessionError, match="at most 64"):
        await store.patch("main", label="x" * 65)
    with pytest.raises(SessionError, match="'home' belongs to another session"):
        await store.patch("other", label="home")
    await store.patch("main", label="")
    assert (await store.patch("other", label="home")).label == "home"


async def test_what_needs_a_session_says_that_there_is_none(
    store: SessionStore,
) -> None:
    missing = "no session 'agent:main:x'; see"
    for work in (store.patch("x", label="y"), store.reset("x")):
        with pytest.raises(SessionError, match=missing):
            await work
    with pytest.raises(SessionError, match=missing):
        store.touch("x")
    assert await store.delete("x") is False


async def test_usage_adds_up(store: SessionStore) -> None:
    await store.get_or_create("main")
    usage = Usage(input_tokens=3, output_tokens=1)
    store.touch("main", usage=usage, context_tokens=10, compactions=1)
    store.touch("main", usage=usage, last_target=TARGET)
    info = store.touch("main", context_tokens=7, compactions=1)
    assert info.usage == usage + usage
    assert (info.context_tokens, info.compactions) == (7, 2)
    assert info.last_target == TARGET
    assert await store.get("main") == info


async def test_the_list_has_the_last_used_first(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(100, 200))
    monkeypatch.setattr("time.time", lambda: float(next(clock)))
    for key in ("a", "agent:helper:b", "c"):
        await store.get_or_create(key)
    await store.patch("a", label="Größe 1_0%")

    async def keys(**how: Any) -> list[str]:
        return [info.key.rpartition(":")[2] for info in await store.list(**how)]

    assert await keys() == ["a", "c", "b"]
    assert await keys(limit=2) == ["a", "c"]
    assert await keys(agent="helper") == ["b"]
    assert await keys(search="HELPER") == ["b"]
    assert await keys(search="größe 1_0%") == ["a"]
    assert await keys(search="1x0") == []


async def test_a_reset_begins_a_new_file_and_keeps_settings(
    store: SessionStore,
) -> None:
    old_path = await say(store, "main", "before")
    await store.patch("main", label="home", model="a/b")
    store.touch("main", usage=Usage(input_tokens=5), last_target=TARGET)
    info = await store.reset("main")
    assert await said(store, "main") == []
    assert (info.label, info.model, info.last_target) == ("home", "a/b", TARGET)
    assert info.usage == Usage()
    assert old_path.exists()
    assert await say(store, "main", "after") != old_path
    assert await said(store, "main") == ["after"]


async def test_a_deleted_session_puts_all_its_files_aside(store: SessionStore) -> None:
    old_path = await say(store, "main", "before")
    await store.reset("main")
    path = await say(store, "main", "after")
    other = await say(store, "other", "hi")
    path.write_bytes(b"?\n" + path.read_bytes())  # its header cannot be read any more
    assert await store.delete("main") is True
    assert await store.get("main") is None
    assert not old_path.exists()
    assert not path.exists()
    assert other.exists()
    assert len(list(path.parent.glob("*.jsonl.deleted-*"))) == 2
    await store.rebuild()
    assert [info.key for info in await store.list()] == ["agent:main:other"]


async def test_the_index_is_rebuilt_when_the_database_is_lost(
    store: SessionStore, database: Database, tmp_path: Path
) -> None:
    await say(store, "main", "old")
    await store.reset("main")
    await say(store, "main", "new")
    await say(store, "agent:helper:telegram:dm:1", "hi")
    await database.close()
    assert len(await store.list()) == 2
    await database.close()
    database.path.unlink()
    assert len(await store.list()) == 2
    assert await said(store, "main") == ["new"]
    assert await said(store, "agent:helper:telegram:dm:1") == ["hi"]


async def test_a_rebuild_trusts_no_header(store: SessionStore, tmp_path: Path) -> None:
    good = await say(store, "main", "hi")
    header, _, rest = good.read_text().partition("\n")
    bad_headers = [
        {"key": "../../etc/passwd"},
        {"key": "a"},
        {"key": None},
        {"key": "agent:other:main"},  # lies in the folder of another agent
        {"key": "agent:main:x", "time": "soon"},
        {"key": "agent:main:y", "time": None},
    ]
    for number, change in enumerate(bad_headers):
        line = json.dumps(json.loads(header) | change)
        good.with_name(f"{number:016x}.jsonl").write_text(f"{line}\n{rest}")
    good.with_name("not-an-id.jsonl").write_text(
        header.replace("agent:main:main", "agent:main:z")
    )
    os.mkfifo(good.with_name(f"{99:016x}.jsonl"))
    await store.rebuild()
    assert [info.key for info in await store.list()] == ["agent:main:main"]


async def test_a_rebuild_changes_no_row_that_is_there(store: SessionStore) -> None:
    await say(store, "main", "old")
    reset = await store.reset("main")
    await store.rebuild()
    assert await store.get("main") == reset
