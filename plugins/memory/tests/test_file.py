"""The file behind the memory: private, shared safely, and never lost silently."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from rustyclaw import ToolContext, ToolError
from rustyclaw_memory import failures, store
from rustyclaw_memory.store import MemoryStore

WRITER = """
import sys
from pathlib import Path
from rustyclaw_memory.store import MemoryStore
path, name, count = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(count)):
    MemoryStore(Path(path), max_entries=10_000).put("n", f"{name}-{number}", name)
"""


@pytest.fixture
def path(tool_context: ToolContext) -> Path:
    return tool_context.agent_dir / "memory.db"


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_file_is_private(call: Any, path: Path) -> None:
    previous = os.umask(0)
    try:
        await call("set", key="a", value="b")
    finally:
        os.umask(previous)
    assert mode_of(path) == 0o600
    os.chmod(path, 0o644)
    await call("get", key="a")
    assert mode_of(path) == 0o600


async def test_file_is_private_where_mknod_is_not_allowed(
    call: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError

    monkeypatch.setattr(store.os, "mknod", refuse)
    await call("set", key="a", value="b")
    assert mode_of(path) == 0o600


def test_log_is_private_too(path: Path) -> None:
    notes = MemoryStore(path, max_entries=10)
    notes.put("n", "a", "b")
    with closing(sqlite3.connect(path)) as other:
        other.execute("SELECT count(*) FROM entries").fetchall()
        notes.put("n", "a", "c")
        modes = {
            entry.name: stat.S_IMODE(entry.stat().st_mode)
            for entry in os.scandir(path.parent)
            if entry.is_file()
        }
    names = ("memory.db", "memory.db-shm", "memory.db-wal")
    assert modes == dict.fromkeys(names, 0o600)


async def test_folder_is_created(call: Any, path: Path) -> None:
    path.parent.joinpath("workspace").rmdir()
    path.parent.rmdir()
    await call("set", key="a", value="b")
    assert (await call("get", key="a")).text == "b"


async def test_reading_an_empty_memory(call: Any) -> None:
    assert "not found" in (await call("get", key="a")).text
    assert (await call("search", query="a")).text == "nothing in 'default' matches 'a'"


# --- Several at once ----------------------------------------------------------


async def test_many_tasks(call: Any) -> None:
    async def put(number: int) -> None:
        await call("set", key=f"k{number}", value=str(number))
        assert (await call("get", key=f"k{number}")).text == str(number)

    async with anyio.create_task_group() as group:
        for number in range(30):
            group.start_soon(put, number)
    assert (await call("list")).details["total"] == 30


def test_many_processes(path: Path) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), f"w{number}", "15"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for number in range(4)
    ]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
        outputs = [writer.stdin for writer in writers if writer.stdin]
        for output in outputs:  # they start together, on a file that is not there
            output.write(b"go\n")
            output.flush()
        for writer in writers:
            assert writer.wait(timeout=30) == 0
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    assert len(MemoryStore(path, max_entries=10).keys("n", "")) == 60


def test_who_waits_too_long_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "BUSY_SECONDS", 0.01)
    notes = MemoryStore(path, max_entries=10)
    notes.put("n", "a", "b")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert notes.get("n", "a") == "b"  # reading goes on
        with pytest.raises(ToolError, match="writing to it; try again"):
            notes.put("n", "a", "c")
        other.execute("ROLLBACK")
    notes.put("n", "a", "c")


def journal_mode(path: Path) -> str:
    with closing(sqlite3.connect(path)) as db:
        return str(db.execute("PRAGMA journal_mode").fetchone()[0])


def test_switch_that_is_refused_comes_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "BUSY_SECONDS", 0.01)
    notes = MemoryStore(path, max_entries=10)
    notes.put("n", "a", "b")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM entries").fetchall()
        assert notes.get("n", "a") == "b"
        assert journal_mode(path) == "delete"
        other.execute("COMMIT")
        assert notes.get("n", "a") == "b"
    assert journal_mode(path) == "wal"


# --- What goes wrong ----------------------------------------------------------


def damaged_files(path: Path) -> list[Path]:
    return sorted(path.parent.glob("memory.db.damaged-*"))


def damage_file(path: Path, damage: str) -> None:
    content = path.read_bytes()
    broken = {
        "garbage": b"precious, but never a database " * 500,
        "header": b"X" * 100 + content[100:],
        "pages": content[:4096] + content[4096:].replace(b"k", b"\xff\xff"),
        "tail": content[: len(content) // 2],
    }
    path.write_bytes(broken[damage])


async def set_many(call: Any, value: str) -> None:
    for number in range(8):
        await call("set", key=f"k{number}", value=value)


@pytest.mark.parametrize("damage", ["garbage", "header", "pages", "tail"])
async def test_damaged_file_is_set_aside(
    damage: str, call: Any, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await set_many(call, "precious " * 600)
    damage_file(path, damage)
    with pytest.raises(ToolError, match=r"nothing was deleted.*starts empty") as told:
        await set_many(call, "new")  # one of them touches a broken page
    (aside,) = damaged_files(path)
    assert aside.name in str(told.value)
    assert b"precious" in aside.read_bytes()
    assert "is damaged" in caplog.text

    assert "none" in (await call("list")).text
    await call("set", key="a", value="b")
    assert (await call("get", key="a")).text == "b"
    assert damaged_files(path) == [aside]


def test_only_the_damaged_file_is_set_aside(path: Path) -> None:
    path.write_text("damaged")
    seen = path.stat()
    path.rename(path.with_name("moved by another process"))
    path.write_text("a new one")
    assert "try again" in str(failures.set_aside(path, seen))
    assert path.read_text() == "a new one"
    path.unlink()
    failures.set_aside(path, seen)
    assert not damaged_files(path)


def test_log_goes_with_the_damaged_file(path: Path) -> None:
    path.write_text("damaged")
    path.with_name("memory.db-wal").write_text("log")
    failures.set_aside(path, path.stat())
    file, log = damaged_files(path)
    assert log.name == f"{file.name}-wal"
    assert log.read_text() == "log"
    assert not path.with_name("memory.db-wal").exists()


@pytest.fixture
def small_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let no memory grow over 40 pages."""
    connect = sqlite3.connect

    def connect_small(*arguments: Any, **options: Any) -> sqlite3.Connection:
        db = connect(*arguments, **options)
        db.execute("PRAGMA max_page_count = 40")
        return db

    monkeypatch.setattr(store.sqlite3, "connect", connect_small)
    return


async def test_full_disk(call: Any, path: Path, small_disk: None) -> None:
    await call("set", key="a", value="kept")
    with pytest.raises(ToolError, match="the disk is full; nothing was changed"):
        await set_many(call, "x" * 60_000)
    assert (await call("get", key="a")).text == "kept"
    await call("set", key="a", value="still works")
    assert not damaged_files(path)


async def test_file_of_a_newer_version(call: Any, path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 2")
    with pytest.raises(ToolError, match="newer version"):
        await call("get", key="a")
    assert not damaged_files(path)


async def test_folder_in_place_of_the_file(call: Any, path: Path) -> None:
    os.mkdir(path)
    with pytest.raises(ToolError, match="cannot be opened"):
        await call("get", key="a")
    assert not damaged_files(path)


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
async def test_folder_in_place_of_the_log(suffix: str, call: Any, path: Path) -> None:
    os.mkdir(f"{path}{suffix}")
    with pytest.raises(ToolError, match=r"the disk failed|cannot be opened"):
        await call("get", key="a")
    assert not damaged_files(path)


async def test_file_in_place_of_the_folder(
    call_in: Callable[..., Any], tool_context: ToolContext
) -> None:
    path = tool_context.agent_dir / "workspace"
    path.rmdir()
    tool_context.agent_dir.rmdir()
    tool_context.agent_dir.write_text("a file")
    with pytest.raises(ToolError, match=r"File exists: .*; ask the operator"):
        await call_in(tool_context)("get", key="a")


def test_search_ends_with_what_it_has(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = MemoryStore(path, max_entries=10_000)
    notes.put("n", "a", "needle")
    with closing(sqlite3.connect(path)) as db, db:
        db.executemany(
            "INSERT INTO entries (namespace, key, value, updated) "
            "VALUES ('n', ?, 'hay', 0)",
            [(f"k{number}",) for number in range(5000)],
        )
    monkeypatch.setattr(store, "DEADLINE_SECONDS", -1.0)
    assert notes.search("n", ["needle"], 5) == [("a", "needle")]
    with pytest.raises(ToolError, match="took too long"):
        notes.search("n", ["eedl"], 5)
