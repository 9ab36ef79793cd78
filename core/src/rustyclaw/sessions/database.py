"""``state.db``: one SQLite file, one thread at a time, short transactions."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
from anyio import to_thread

from rustyclaw.errors import StorageError

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

logger = logging.getLogger(__name__)

_PRAGMAS = """
PRAGMA busy_timeout = 5000;
PRAGMA journal_mode = WAL;
PRAGMA foreign_keys = ON;
"""
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class Database:
    """A database that is opened when first used, and made anew if it is damaged.

    Functions that are handed in run in a worker thread, one at a time, in the order
    of the calls. A cancellation does not interrupt one that has started.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._limiter = anyio.CapacityLimiter(1)
        self._mutex = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._schemas: list[tuple[str, Work[object]]] = []
        self._ensured = 0

    def ensure(self, schema: str, fill: Work[object] = lambda db: None) -> None:
        """Have ``CREATE ... IF NOT EXISTS`` statements run before the next use.

        :param fill: Runs after them, each time that the file is opened or made.
        """
        self._schemas.append((schema, fill))

    async def run(self, function: Work[T], *, durable: bool = True) -> T:
        """Call ``function`` in a transaction; any error rolls it back.

        :param durable: It is on the disk when this returns. Without that it
            outlives the process all the same, but perhaps not a loss of power.
        :raises StorageError: The disk refused, or another process holds the file.
        """
        return await self.read(partial(transaction, function, durable=durable))

    async def read(self, function: Work[T]) -> T:
        """Call ``function``, which only reads, without a transaction."""
        work = partial(self.visit, function)
        return await to_thread.run_sync(work, limiter=self._limiter)

    async def close(self) -> None:
        """Close the file; the next use opens it again."""
        await to_thread.run_sync(self._close, limiter=self._limiter)

    def visit(self, function: Work[T]) -> T:
        """Call ``function`` in this thread, which waits while another one is in."""
        try:
            with self._mutex:
                try:
                    return function(self._open())
                except sqlite3.DatabaseError as exc:
                    if _code(exc) not in _CORRUPT:
                        raise
                    self._put_aside(exc)
                    return function(self._open())
        except (sqlite3.OperationalError, OSError) as exc:
            if _code(exc) == sqlite3.SQLITE_ERROR:  # our SQL is wrong, not the disk
                raise
            raise StorageError(
                f"cannot use {str(self.path)!r} ({exc}); check free space, permissions "
                "and other processes that hold it, then try again"
            ) from exc

    def _open(self) -> sqlite3.Connection:
        try:
            if self._connection is None:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
                self._connection = sqlite3.connect(
                    self.path, isolation_level=None, check_same_thread=False
                )
                self._connection.executescript(_PRAGMAS)
            for schema, fill in self._schemas[self._ensured :]:
                self._connection.executescript(schema)
                transaction(fill, self._connection)
                self._ensured += 1
        except BaseException:
            self._close()
            raise
        return self._connection

    def _close(self) -> None:
        with self._mutex:
            if self._connection is not None:
                self._connection.close()
            self._connection, self._ensured = None, 0

    def _put_aside(self, error: sqlite3.DatabaseError) -> None:
        self._close()
        aside = f"{self.path}.corrupt-{time.strftime('%Y%m%d-%H%M%S')}"
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(f"{self.path}{suffix}"):
                os.replace(f"{self.path}{suffix}", f"{aside}{suffix}")
        logger.error("%s is damaged (%s); it is kept as %s", self.path, error, aside)


def transaction(function: Work[T], db: sqlite3.Connection, durable: bool = True) -> T:
    """Call ``function`` in a transaction, as `Database.run` does."""
    db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    db.execute("BEGIN IMMEDIATE")
    try:
        result = function(db)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # a full disk may have ended it already
            db.execute("ROLLBACK")
        raise
    return result


def _code(error: Exception) -> int:
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF
