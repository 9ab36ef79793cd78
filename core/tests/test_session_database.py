"""The database: transactions, one thread, and a file that may be damaged."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from rustyclaw import StorageError
from rustyclaw.sessions.database import Database, transaction

SCHEMA = "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value INTEGER);"


def names(db: sqlite3.Connection) -> list[str]:
    return [row[0] for row in db.execute("SELECT name FROM facts ORDER BY rowid")]


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "home" / "state.db")
    database.ensure(SCHEMA)
    yield database
    await database.close()


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


async def test_nothing_is_opened_before_it_is_used(database: Database) -> None:
    assert not database.path.exists()
    assert await database.read(names) == []
    assert database.path.stat().st_mode & 0o777 == 0o600
    assert database.path.parent.stat().st_mode & 0o777 == 0o700
    for suffix in ("-wal", "-shm"):
        file = database.path.with_name(f"{database.path.name}{suffix}")
        assert not file.exists() or file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)],
)
async def test_the_settings_that_make_it_safe(
    database: Database, pragma: str, value: object
) -> None:
    (row,) = await database.read(lambda db: db.execute(f"PRAGMA {pragma}").fetchall())
    assert row == (value,)


async def test_a_schema_may_be_added_at_any_time(database: Database) -> None:
    await database.read(names)
    database.ensure("CREATE TABLE IF NOT EXISTS more (x);", fill)
    database.ensure("CREATE TABLE IF NOT EXISTS even_more (x);")
    count = "SELECT (SELECT count(*) FROM more) + (SELECT count(*) FROM even_more)"
    assert await database.read(lambda db: db.execute(count).fetchone()) == (1,)
    await database.close()
    assert await database.read(lambda db: db.execute(count).fetchone()) == (2,)


def fill(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO more VALUES (1)")


async def test_a_transaction_is_done_or_undone_as_a_whole(database: Database) -> None:
    def half(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO facts VALUES ('a', 1)")
        raise KeyError("x")

    with pytest.raises(KeyError):
        await database.run(half)
    assert await database.read(names) == []
    await database.run(lambda db: db.execute("INSERT INTO facts VALUES ('b', 1)"))
    with pytest.raises(sqlite3.IntegrityError):
        await database.run(lambda db: db.execute("INSERT INTO facts VALUES ('b', 2)"))
    with opened(database.path) as other:
        assert names(other) == ["b"]


async def test_mistakes_in_sql_are_not_blamed_on_the_disk(database: Database) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await database.run(lambda db: db.execute("SELECT * FROM missing"))
    assert await database.read(names) == []


async def test_calls_keep_their_order_and_share_one_thread_at_a_time(
    database: Database,
) -> None:
    running: list[int] = []
    called: list[str] = []

    def add(db: sqlite3.Connection, name: str) -> None:
        running.append(threading.get_ident())
        db.execute("INSERT INTO facts VALUES (?, 0)", (name,))
        assert len(running) == 1
        running.pop()

    async def one(name: str) -> None:
        called.append(name)
        await database.run(lambda db: add(db, name))

    async with anyio.create_task_group() as group:
        for number in range(200):
            group.start_soon(one, str(number))
    assert await database.read(names) == called


async def test_who_is_in_a_thread_already_waits_there(database: Database) -> None:
    running: list[int] = []

    def add(db: sqlite3.Connection, name: str) -> None:
        running.append(threading.get_ident())
        db.execute("INSERT INTO facts VALUES (?, 0)", (name,))
        assert len(running) == 1
        running.pop()

    async with anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(database.run, partial(add, name=f"run {number}"))
            work = partial(transaction, partial(add, name=f"visit {number}"))
            group.start_soon(anyio.to_thread.run_sync, database.visit, work)
    assert len(await database.read(names)) == 200


async def test_a_cancelled_write_is_finished_or_not_begun(database: Database) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def slow(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO facts VALUES ('slow', 1)")
        entered.set()
        assert go_on.wait(10)

    async with anyio.create_task_group() as group:
        group.start_soon(database.run, slow)
        await anyio.to_thread.run_sync(entered.wait)
        group.start_soon(
            database.run, lambda db: db.execute("INSERT INTO facts VALUES ('never', 1)")
        )
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
        go_on.set()
    assert await database.read(names) == ["slow"]


async def test_a_locked_database_is_a_storage_error(database: Database) -> None:
    await database.run(lambda db: db.execute("PRAGMA busy_timeout = 1"))
    with opened(database.path) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match=r"state\.db.*locked.*try again"):
            await database.run(lambda db: None)
        assert await database.read(names) == []  # readers need not wait
    await database.run(lambda db: None)


async def test_a_full_database_is_a_storage_error_and_recovers(
    database: Database,
) -> None:
    await database.run(lambda db: db.execute("INSERT INTO facts VALUES ('a', 1)"))
    await database.read(lambda db: db.execute("PRAGMA max_page_count = 10").fetchone())
    large = [(f"{n}" * 500, n) for n in range(1000)]
    with pytest.raises(StorageError, match=r"full.*check free space"):
        await database.run(
            lambda db: db.executemany("INSERT INTO facts VALUES (?, ?)", large)
        )
    assert await database.read(names) == ["a"]
    await database.run(lambda db: db.execute("INSERT INTO facts VALUES ('b', 1)"))
    assert await database.read(names) == ["a", "b"]


@pytest.mark.parametrize("kind", ["folder", "no folder"])
async def test_a_place_that_cannot_hold_it_is_a_storage_error(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "state.db"
    if kind == "folder":
        path.mkdir()
    else:
        path.write_text("")
        path = path / "state.db"
    with pytest.raises(StorageError, match=r"cannot use .*state\.db"):
        await Database(path).run(lambda db: None)


@pytest.mark.parametrize("garbage", [b"[{", b"{}" * 5000, b"\xff" * 4096])
async def test_what_is_no_database_is_put_aside(
    database: Database, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    database.path.parent.mkdir()
    database.path.write_bytes(garbage)
    with caplog.at_level(logging.ERROR):
        await database.run(lambda db: db.execute("INSERT INTO facts VALUES ('a', 1)"))
    assert "state.db is damaged" in caplog.text
    (aside,) = database.path.parent.glob("state.db.corrupt-*")
    assert aside.read_bytes() == garbage
    assert await database.read(names) == ["a"]


async def test_a_database_that_is_damaged_while_open_is_made_anew(
    database: Database,
) -> None:
    fills: list[int] = []
    database.ensure("", lambda db: fills.append(1))
    rows = [(f"{n}", n) for n in range(5000)]

    def insert(db: sqlite3.Connection) -> None:  # a cursor returned would live on
        db.executemany("INSERT INTO facts VALUES (?, ?)", rows)

    await database.run(insert)
    await database.close()
    assert not database.path.with_name("state.db-wal").exists()
    size = database.path.stat().st_size
    with database.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    await database.run(lambda db: db.execute("INSERT INTO facts VALUES ('new', 1)"))
    assert await database.read(names) == ["new"]
    assert fills == [1, 1, 1]
    (aside,) = database.path.parent.glob("state.db.corrupt-*")
    assert aside.stat().st_size == size
