"""Transcripts: reading what is there, appending whole lines, rewriting at once."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from rustyclaw import Message, SessionError, StorageError, ToolResult
from rustyclaw.sessions.entries import Entry, encode
from rustyclaw.sessions.transcript import LoadReport, Transcript, read_header

KEY = "agent:main:main"


def say(text: str) -> Entry:
    return Entry.of(Message.user(text))


def texts(transcript: Transcript) -> list[str]:
    return [e.message.text for e in transcript.entries if e.message]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agents" / "main" / "sessions" / "00000000000000aa.jsonl"


async def reloaded(path: Path) -> Transcript:
    return await Transcript.load(path, KEY)


# --- Appending ------------------------------------------------------------------


async def test_a_new_transcript_is_empty_and_makes_no_file(path: Path) -> None:
    transcript = await Transcript.load(path, KEY)
    assert transcript.entries == []
    assert transcript.report == LoadReport()
    assert transcript.is_ours()
    assert not path.parent.exists()


async def test_the_first_append_makes_a_private_file_with_a_header(path: Path) -> None:
    transcript = await Transcript.load(path, KEY)
    await transcript.append(say("hi"))
    assert path.stat().st_mode & 0o777 == 0o600
    for folder in (path.parent, path.parent.parent, path.parent.parent.parent):
        assert folder.stat().st_mode & 0o777 == 0o700
    header, entry = map(json.loads, path.read_text().splitlines())
    assert header.pop("time") > 0
    assert header == {"type": "session", "version": 1, "id": path.stem, "key": KEY}
    assert entry["message"]["content"][0]["text"] == "hi"
    assert read_header(path)["key"] == KEY


async def test_entries_are_linked_and_read_back(path: Path) -> None:
    transcript = await Transcript.load(path, KEY)
    first = await transcript.append(say("one"))
    rest = await transcript.append_many([say("two"), say("three")], sync=True)
    assert first.parent_id is None
    assert [e.parent_id for e in rest] == [first.id, rest[0].id]
    assert transcript.entries == [first, *rest]
    assert transcript.is_ours()
    again = await reloaded(path)
    assert again.entries == transcript.entries
    assert again.report == LoadReport(entries=3)
    await again.append(say("four"))
    assert again.entries[-1].parent_id == rest[-1].id
    assert not transcript.is_ours()


async def test_each_append_is_one_write_of_only_what_is_new(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    write = os.write

    def counting(fd: int, data: bytes) -> int:
        sizes.append(len(data))
        return write(fd, data)

    transcript = await Transcript.load(path, KEY)
    await transcript.append_many([say(f"entry {n}") for n in range(2000)])
    entries = [say("x" * 100), say("y" * 100)]
    lines = len(b"".join(map(encode, entries)))
    monkeypatch.setattr(os, "write", counting)
    await transcript.append_many(entries)
    monkeypatch.undo()
    own = [size for size in sizes if size >= lines]  # an event loop may write as well
    assert len(own) == 1
    assert own[0] < lines + 100


@pytest.mark.parametrize(
    ("fsync", "sync", "expected"),
    [
        ("always", False, 1),
        ("always", True, 1),
        ("turn", False, 0),
        ("turn", True, 1),
        ("never", True, 0),
    ],
)
async def test_the_policy_says_when_the_disk_is_waited_for(
    path: Path, monkeypatch: pytest.MonkeyPatch, fsync: Any, sync: bool, expected: int
) -> None:
    synced: list[int] = []
    transcript = await Transcript.load(path, KEY, fsync=fsync)
    monkeypatch.setattr(os, "fsync", synced.append)
    await transcript.append(say("first"))
    assert bool(synced) == (fsync != "never")  # a new file is not to vanish again
    synced.clear()
    await transcript.append(say("second"), sync=sync)
    assert len(synced) == expected


async def test_a_message_that_could_not_be_read_again_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rustyclaw.sessions.transcript._LINE_LIMIT", 1000)
    transcript = await Transcript.load(path, KEY)
    with pytest.raises(SessionError, match="send less"):
        await transcript.append(say("x" * 1000))
    assert not path.exists()


async def test_long_transcripts_load_fast(path: Path) -> None:
    transcript = await Transcript.load(path, KEY)
    await transcript.append_many([say(f"entry {n} " * 20) for n in range(10_000)])
    started = perf_counter()
    again = await reloaded(path)
    assert len(again.entries) == 10_000
    assert perf_counter() - started < 1.5  # some 0.15 s on an idle machine


async def test_a_cancelled_append_is_whole_or_absent(path: Path) -> None:
    transcript = await Transcript.load(path, KEY)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await transcript.append(say("late"))
    await transcript.append(say("next"))
    assert texts(transcript) in (["next"], ["late", "next"])
    assert texts(await reloaded(path)) == texts(transcript)


# --- Reading what is damaged ----------------------------------------------------


def damage(path: Path, change: Callable[[bytes], bytes]) -> bytes:
    data = change(path.read_bytes())
    path.write_bytes(data)
    return data


async def test_a_torn_tail_is_cut_off_only_by_the_next_append(path: Path) -> None:
    transcript = await Transcript.load(path, KEY)
    await transcript.append_many([say("one"), say("two")])
    damaged = damage(path, lambda data: data + b'{"type":"message","id":"x","mes')
    again = await reloaded(path)
    assert again.report.dropped_tail
    assert again.report.skipped_lines == 0
    assert path.read_bytes() == damaged  # another process may still be writing it
    assert again.report.quarantined_path is not None
    assert again.report.quarantined_path.read_bytes().startswith(b'{"type":"message"')
    assert again.report.quarantined_path.stat().st_mode & 0o777 == 0o600
    await again.append(say("three"))
    last = await reloaded(path)
    assert texts(last) == ["one", "two", "three"]
    assert last.report == LoadReport(entries=3)


async def test_a_tail_that_was_still_being_written_is_not_cut(path: Path) -> None:
    writer = await Transcript.load(path, KEY)
    await writer.append(say("one"))
    whole = encode(say("two"))
    damage(path, lambda data: data + whole[:30])
    reader = await reloaded(path)
    damage(path, lambda data: data + whole[30:])
    assert not reader.is_ours()
    await reader.append(say("three"))
    assert texts(await reloaded(path)) == ["one", "two", "three"]


async def test_a_last_line_that_only_lacks_its_end_is_kept(path: Path) -> None:
    transcript = await Transcript.load(path, KEY)
    await transcript.append_many([say("one"), say("two")])
    damage(path, lambda data: data.rstrip(b"\n"))
    again = await reloaded(path)
    assert again.report == LoadReport(entries=2)
    await again.append(say("three"))
    assert texts(await reloaded(path)) == ["one", "two", "three"]


async def test_damaged_lines_are_copied_once_and_stay(path: Path) -> None:
    transcript = await Transcript.load(path, KEY)
    await transcript.append_many([say("one"), say("two")])
    lines = path.read_bytes().splitlines(keepends=True)
    bad = b"<html>\n" + b"\xff\xfe\n"
    for _ in range(3):
        path.write_bytes(b"".join([*lines[:2], bad, *lines[2:], b"null\n"]))
        again = await reloaded(path)
        assert texts(again) == ["one", "two"]
        assert again.report.skipped_lines == 3
        assert again.report.quarantined_path is not None
        assert again.report.quarantined_path.read_bytes() == bad + b"null\n"
        await again.append(say("more"))
        assert bad in path.read_bytes()
        assert texts(await reloaded(path)) == ["one", "two", "more"]
    assert len(list(path.parent.glob("*.bad-*"))) == 1


async def test_documents_on_one_line_are_all_kept(path: Path) -> None:
    transcript = await Transcript.load(path, KEY)
    await transcript.append_many([say("one"), say("two"), say("three")])
    damage(path, lambda data: data.replace(b"\n", b" ") + b"?\n")
    again = await reloaded(path)
    assert texts(again) == ["one", "two", "three"]
    assert again.report.skipped_lines == 1
    assert not again.report.dropped_tail


async def test_an_endless_line_costs_only_itself(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rustyclaw.sessions.transcript._LINE_LIMIT", 1000)
    transcript = await Transcript.load(path, KEY)
    await transcript.append_many([say("one"), say("two")])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"x" * 5000 + b"\n", *lines[2:]]))
    again = await reloaded(path)
    assert texts(again) == ["one", "two"]
    assert again.report.skipped_lines == 1
    data = damage(path, lambda data: data + b"y" * 5000)
    again = await reloaded(path)
    assert not again.report.dropped_tail  # its copy would not be complete
    await again.append(say("three"))
    assert path.read_bytes().startswith(data)
    assert texts(await reloaded(path)) == ["one", "two", "three"]


@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_damage_costs_more_than_the_lines_it_hits(
    tmp_path: Path, data: st.DataObject
) -> None:
    path = tmp_path / f"{len(list(tmp_path.iterdir())):016x}.jsonl"
    entries = [
        Entry.of(Message.user(f"\u2028 entry {n} é"), id=f"{n:016x}", timestamp=1.0)
        for n in range(6)
    ]
    good = [encode(entry) for entry in entries]
    header = b'{"type":"session","version":1,"id":"x","key":"agent:main:main"}\n'
    raw = header + b"".join(good)
    start = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(start, len(raw)) | st.just(len(raw)))
    garbage = data.draw(
        st.binary(max_size=40)
        | st.sampled_from(
            [b"\0" * 50, b"\n", b"\r\n", b"{", b"[" * 5000, b"\xef\xbb\xbf"]
        )
    )
    raw = raw[:start] + garbage + raw[end:]
    path.write_bytes(raw)
    transcript = Transcript(path, KEY)
    whole = {line.removesuffix(b"\r") for line in raw.split(b"\n")}
    survivors = [e.id for e, g in zip(entries, good, strict=True) if g[:-1] in whole]
    assert [e.id for e in transcript.entries if e.id in set(survivors)] == survivors

    async def append() -> None:
        before = list(transcript.entries)
        added = await transcript.append(say("next"))
        again = Transcript(path, KEY)
        assert again.entries == [*before, added]

    anyio.run(append)


# --- What is no transcript ------------------------------------------------------


@pytest.mark.parametrize("kind", ["fifo", "folder", "device", "socket"])
def test_what_is_no_regular_file_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = tmp_path / "x.jsonl"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        monkeypatch.chdir(tmp_path)  # the name of a socket may not be long
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("x.jsonl")
    with pytest.raises(SessionError, match=r"x\.jsonl"):
        Transcript(path, KEY)
    assert read_header(path) == {}


async def test_a_pipe_in_the_place_of_the_file_is_not_written_to(path: Path) -> None:
    transcript = await Transcript.load(path, KEY)
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(SessionError, match="not a regular file"):
            await transcript.append(say("x"))
    finally:
        os.close(reader)


def test_a_newer_version_is_left_alone(path: Path) -> None:
    path.parent.mkdir(parents=True)
    data = b'{"type":"session","version":2,"id":"s","key":"agent:main:main"}\n??'
    path.write_bytes(data)
    with pytest.raises(SessionError, match=r"version 2.*upgrade"):
        Transcript(path, KEY)
    assert path.read_bytes() == data
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "head", [b"", b"\n", b"[]\n", b"{\n", b"[" * 4000, b"\0" * 99, b'{"type":"user"}\n']
)
def test_a_file_without_a_header_has_an_empty_one(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "x").write_bytes(head)
    assert read_header(tmp_path / "x") == {}
    assert read_header(tmp_path / "missing") == {}


# --- Rewriting ------------------------------------------------------------------


async def test_rewrite_replaces_all_entries_and_keeps_ids(path: Path) -> None:
    transcript = await Transcript.load(path, KEY)
    await transcript.append_many([say("one"), say("two"), say("three")])
    header = read_header(path)
    changed = list(transcript.entries)
    result = ToolResult(text="short", call_id="t")
    changed[1] = Entry.of(Message(role="tool", content=(result,)), id=changed[1].id)
    await transcript.rewrite(changed)
    assert transcript.entries == changed
    assert transcript.is_ours()
    await transcript.append(say("four"))
    again = await reloaded(path)
    assert again.entries[:3] == changed
    assert texts(again)[-1] == "four"
    assert read_header(path) == header
    assert [p.name for p in path.parent.iterdir()] == [path.name]


async def test_a_rewrite_that_fails_leaves_the_file_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transcript = await Transcript.load(path, KEY)
    await transcript.append(say("one"))
    before = path.read_bytes()

    def full(fd: int) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"no space left.*try again"):
        await transcript.rewrite([say("other")])
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert texts(transcript) == ["one"]
    assert [p.name for p in path.parent.iterdir()] == [path.name]


async def test_a_rewrite_never_drops_damage_that_was_not_copied(path: Path) -> None:
    transcript = await Transcript.load(path, KEY)
    await transcript.append(say("one"))
    damage(path, lambda data: b"?\n" + data)
    copy = (await reloaded(path)).report.quarantined_path
    assert copy is not None
    copy.unlink()
    copy.mkdir()  # so that it cannot be written
    again = await reloaded(path)
    assert again.report.quarantined_path is None
    with pytest.raises(StorageError, match="could not be copied"):
        await again.rewrite(again.entries)
    assert path.read_bytes().startswith(b"?\n")
