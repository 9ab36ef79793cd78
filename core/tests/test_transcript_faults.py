"""Transcripts on a live system: other writers, full disks, broken disks, no files.

Each ``live`` row of the corpus has its ``test_live_<case>`` here.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from rustyclaw import Message, SessionError, StorageError
from rustyclaw.sessions.database import Database
from rustyclaw.sessions.entries import Entry, encode
from rustyclaw.sessions.locks import SessionLock
from rustyclaw.sessions.store import SessionStore
from rustyclaw.sessions.transcript import Transcript

KEY = "agent:main:main"
CORPUS = Path(__file__).parent / "data" / "transcripts.jsonl"


def say(text: str) -> Entry:
    return Entry.of(Message.user(text))


def texts(transcript: Transcript) -> list[str]:
    return [e.message.text for e in transcript.entries if e.message]


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
async def live(tmp_path: Path) -> Transcript:
    """A transcript that two entries were appended to."""
    transcript = await Transcript.load(tmp_path / "00000000000000aa.jsonl", KEY)
    await transcript.append_many([say("one"), say("two")], sync=True)
    return transcript


def test_each_live_row_of_the_corpus_is_tested_here() -> None:
    rows = map(json.loads, CORPUS.read_text().splitlines())
    cases = [row["case"].replace("-", "_") for row in rows if row.get("live")]
    assert cases
    assert [case for case in cases if f"test_live_{case}" not in globals()] == []


# --- Other writers --------------------------------------------------------------

HOLD = """
import sys, anyio
from pathlib import Path
from rustyclaw.sessions.locks import SessionLock

async def main():
    async with SessionLock(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.read()

anyio.run(main)
"""

HAMMER = """
import sys, anyio
from pathlib import Path
from rustyclaw import Message
from rustyclaw.sessions.entries import Entry
from rustyclaw.sessions.locks import SessionLock
from rustyclaw.sessions.transcript import Transcript

async def main():
    path = Path(sys.argv[1])
    for number in range(25):
        async with SessionLock(path, timeout_seconds=60):
            transcript = await Transcript.load(path, "agent:main:main")
            text = f"{sys.argv[2]} {number}"
            await transcript.append(Entry.of(Message.user(text)))

anyio.run(main)
"""


async def test_live_two_gateways(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with start(HOLD, path) as other:
        assert other.stdout is not None
        assert await anyio.to_thread.run_sync(other.stdout.readline) == "held\n"
        with pytest.raises(
            SessionError, match=rf"'x' is locked by process {other.pid};"
        ):
            async with SessionLock(path, timeout_seconds=0.1):
                pass
        other.send_signal(signal.SIGKILL)
        async with SessionLock(path):  # the lock of a dead process is free
            pass


async def test_two_processes_never_break_a_line(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    writers = [start(HAMMER, path, name) for name in "ab"]
    for writer in writers:
        await anyio.to_thread.run_sync(writer.communicate)
        assert writer.returncode == 0
    transcript = await Transcript.load(path, KEY)
    assert transcript.report.skipped_lines == 0
    for name in "ab":
        said = [text for text in texts(transcript) if text.startswith(name)]
        assert said == [f"{name} {number}" for number in range(25)]


async def test_live_concurrent_appends(live: Transcript) -> None:
    async def one(task: int) -> None:
        for number in range(20):
            await live.append(say(f"{task} {number}"))

    async with anyio.create_task_group() as group:
        for task in range(100):
            group.start_soon(one, task)
    again = await Transcript.load(live.path, KEY)
    assert again.entries == live.entries
    assert len(again.entries) == 2_002
    parents = [e.parent_id for e in again.entries]
    assert parents == [None, *(e.id for e in again.entries[:-1])]
    for task in range(100):
        said = [text for text in texts(again) if text.startswith(f"{task} ")]
        assert said == [f"{task} {number}" for number in range(20)]


@pytest.mark.parametrize("keep", [0, 1, 200, 600])
async def test_live_external_truncate(live: Transcript, keep: int) -> None:
    os.truncate(live.path, min(keep, live.path.stat().st_size))
    changed = not live.is_ours()
    assert changed or keep == 600
    await live.append(say("three"))
    assert live.is_ours() is not changed  # until it is loaded anew
    assert b"\0" not in live.path.read_bytes()
    again = await Transcript.load(live.path, KEY)
    assert texts(again)[-1] == "three"
    assert not again.report.dropped_tail


async def test_live_inode_reuse(live: Transcript, tmp_path: Path) -> None:
    moved = live.path.rename(tmp_path / "moved.jsonl")
    before = moved.read_bytes()
    await live.append(say("three"))
    assert moved.read_bytes() == before
    assert not live.is_ours()
    again = await Transcript.load(live.path, KEY)
    assert texts(again) == ["three"]
    await again.append(say("four"))
    assert again.is_ours()


async def test_a_folder_that_vanished_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "sessions" / "x.jsonl"
    transcript = await Transcript.load(path, KEY)
    await transcript.append(say("one"))
    path.unlink()
    path.parent.rmdir()
    await transcript.append(say("two"))
    assert texts(await Transcript.load(path, KEY)) == ["two"]


# --- Disks ----------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB, where the tests may make one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True).returncode == 0
    except OSError:
        done = False
    if not done:
        pytest.skip("may not mount a file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def remount(disk: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", str(disk)], check=True)


async def fill(transcript: Transcript, size: int) -> list[str]:
    """Append until the disk is full; return what was accepted."""
    accepted = texts(transcript)

    async def append_all() -> None:
        for number in range(10_000):
            text = f"{number} " + "x" * size
            await transcript.append(say(text), sync=True)
            accepted.append(text)

    with pytest.raises(StorageError, match="free space"):
        await append_all()
    return accepted


async def test_live_enospc(disk: Path) -> None:
    ballast = disk / "ballast"
    ballast.write_bytes(b"x" * 500_000)
    transcript = await Transcript.load(disk / "x.jsonl", KEY)
    accepted = await fill(transcript, 7000)
    assert len(accepted) > 10
    assert texts(transcript) == accepted
    assert transcript.path.read_bytes().endswith(b"\n")
    with pytest.raises(StorageError):
        await transcript.append(say("x" * 70_000))
    again = await Transcript.load(transcript.path, KEY)
    assert texts(again) == accepted
    assert again.report.skipped_lines == 0
    ballast.unlink()
    await transcript.append(say("space again"), sync=True)
    assert transcript.is_ours()
    again = await Transcript.load(transcript.path, KEY)
    assert texts(again) == [*accepted, "space again"]


async def test_a_disk_that_is_full_from_the_start(disk: Path) -> None:
    transcript = await Transcript.load(disk / "x.jsonl", KEY)
    with pytest.raises(StorageError, match="No space left"):
        await transcript.append(say("x" * 2_000_000))
    assert transcript.path.read_bytes() == b""
    await transcript.append(say("short"))
    again = await Transcript.load(transcript.path, KEY)
    assert texts(again) == ["short"]
    assert transcript.path.read_bytes().count(b'"session"') == 1


async def test_a_write_that_stops_half_way_leaves_no_torn_line(
    live: Transcript,
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        accepted = await fill(live, 3000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert live.path.read_bytes().endswith(b"\n")
    await live.append(say("space again"))
    again = await Transcript.load(live.path, KEY)
    assert texts(again) == [*accepted, "space again"]
    assert again.report.skipped_lines == 0


async def test_live_eio(live: Transcript, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    await live.append(say("not synced"))
    before = live.path.stat()
    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(StorageError, match="Input/output error"):
        await live.append(say("lost"), sync=True)
    assert texts(live) == ["one", "two", "not synced"]
    with pytest.raises(StorageError):  # the old file is not trusted any more
        await live.append(say("lost as well"))
    assert live.path.stat().st_size == before.st_size
    monkeypatch.undo()
    await live.append(say("three"), sync=True)
    assert live.path.stat().st_ino != before.st_ino
    assert live.is_ours()
    again = await Transcript.load(live.path, KEY)
    assert again.entries == live.entries
    assert texts(again) == ["one", "two", "not synced", "three"]


async def test_what_another_writer_added_is_not_cut_off(
    live: Transcript, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = encode(say("of another writer"))

    def broken(fd: int) -> None:
        with live.path.open("ab") as file:
            file.write(other)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(StorageError):
        await live.append(say("three"), sync=True)
    monkeypatch.undo()
    assert not live.is_ours()
    await live.append(say("four"))
    again = await Transcript.load(live.path, KEY)
    assert texts(again) == ["one", "two", "three", "of another writer", "four"]


async def test_live_erofs(disk: Path) -> None:
    transcript = await Transcript.load(disk / "x.jsonl", KEY)
    await transcript.append(say("one"))
    with transcript.path.open("ab") as file:
        file.write(b"torn")
    remount(disk, "ro")
    reader = await Transcript.load(transcript.path, KEY)
    assert texts(reader) == ["one"]
    assert reader.report.dropped_tail
    assert reader.report.quarantined_path is None  # there is no place for a copy
    for path in (transcript.path, disk / "new.jsonl", disk / "new" / "x.jsonl"):
        writer = await Transcript.load(path, KEY)
        with pytest.raises(StorageError, match=r"Read-only.*permissions"):
            await writer.append(say("two"))
    with pytest.raises(StorageError, match="Read-only"):
        async with SessionLock(transcript.path):
            pass
    with pytest.raises(StorageError, match="permissions"):
        await Database(disk / "state.db").run(lambda db: None)
    remount(disk, "rw")
    await reader.append(say("two"))
    again = await Transcript.load(transcript.path, KEY)
    assert texts(again) == ["one", "two"]
    assert b"torn" in transcript.path.read_bytes()  # it was never copied, so it stays


async def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "agents").write_text("")
    path = tmp_path / "agents" / "main" / "x.jsonl"
    with pytest.raises(SessionError, match="cannot read"):
        await Transcript.load(path, KEY)
    with pytest.raises(StorageError, match="cannot lock"):
        async with SessionLock(path):
            pass


EXHAUST = """
import os, resource, sys, anyio
from pathlib import Path
from rustyclaw import Message, SessionError, StorageError
from rustyclaw.sessions.entries import Entry
from rustyclaw.sessions.locks import SessionLock
from rustyclaw.sessions.transcript import Transcript

def say(text):
    return Entry.of(Message.user(text))

async def main():
    path = Path(sys.argv[1])
    transcript = await Transcript.load(path, "agent:main:main")
    await transcript.append(say("one"))
    async with SessionLock(path):
        pass
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    taken = []
    try:
        while True:
            taken.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    failures = []
    for work in (
        lambda: transcript.append(say("lost")),
        lambda: Transcript.load(path, "agent:main:main"),
        lambda: SessionLock(path).__aenter__(),
    ):
        try:
            await work()
        except (SessionError, StorageError) as exc:
            failures.append(type(exc).__name__)
    for fd in taken:
        os.close(fd)
    await transcript.append(say("two"))
    print(*failures)

anyio.run(main)
"""


async def test_live_emfile(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with start(EXHAUST, path) as process:
        output, _ = await anyio.to_thread.run_sync(process.communicate)
    assert output.split() == ["StorageError", "SessionError", "StorageError"]
    again = await Transcript.load(path, KEY)
    assert texts(again) == ["one", "two"]
    assert again.report.skipped_lines == 0


async def test_live_clock_jump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(tmp_path / "state.db")
    store = SessionStore(tmp_path, database)
    try:
        for jump in (0, -7200, 7200):
            now = 1_800_000_000 + jump
            monkeypatch.setattr("time.time", lambda now=now: float(now))
            monkeypatch.setattr("time.time_ns", lambda now=now: now * 10**9)
            transcript = await store.transcript(await store.get_or_create("main"))
            await transcript.append(say(f"at {jump}"))
        transcript = await store.transcript(await store.get_or_create("main"))
        assert texts(transcript) == ["at 0", "at -7200", "at 7200"]
        assert len({e.id for e in transcript.entries}) == 3
    finally:
        await database.close()
