"""What visitors and the assistant said, so that a page that is opened again shows it.

SQLite in the channel's folder. A message is there once for each of its ids, which is
what makes a repeated send harmless.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import anyio.to_thread
from rustyclaw import StorageError

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    seq INTEGER PRIMARY KEY, visitor TEXT NOT NULL, id TEXT NOT NULL,
    role TEXT NOT NULL, text TEXT NOT NULL, at REAL NOT NULL, UNIQUE (visitor, id));
"""
_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A message on the page; ``at`` in seconds since the epoch."""

    seq: int
    id: str
    role: str
    text: str
    at: float


class Store:
    """The messages of all visitors."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = anyio.Lock()
        self._db: sqlite3.Connection | None = None

    async def add(
        self, visitor: str, message_id: str, role: str, text: str
    ) -> tuple[Said, bool]:
        """Keep a message; return it, and whether it is a new one.

        :raises StorageError: The disk refused it.
        """

        def work(db: sqlite3.Connection) -> tuple[Said, bool]:
            row = (visitor, message_id, role, text, time.time())
            query = (
                "INSERT OR IGNORE INTO messages (visitor, id, role, text, at) "
                "VALUES (?, ?, ?, ?, ?)"
            )
            is_new = db.execute(query, row).rowcount == 1
            query = (
                "SELECT seq, id, role, text, at FROM messages "
                "WHERE visitor = ? AND id = ?"
            )
            return _said(db.execute(query, (visitor, message_id)).fetchone()), is_new

        return await self._run(work)

    async def after(self, visitor: str, seq: int) -> list[Said]:
        """Return the last messages of a visitor behind one, oldest first."""
        query = (
            "SELECT seq, id, role, text, at FROM messages WHERE visitor = ? AND "
            "seq > ? ORDER BY seq DESC LIMIT ?"
        )
        rows = await self._run(
            lambda db: db.execute(query, (visitor, seq, _SHOWN)).fetchall()
        )
        return [_said(row) for row in reversed(rows)]

    async def forget(self, days: float) -> None:
        """Forget what is older."""
        oldest = (time.time() - days * 86_400,)
        query = "DELETE FROM messages WHERE at < ?"
        await self._run(lambda db: db.execute(query, oldest))

    async def close(self) -> None:
        """Close the file."""
        async with self._lock:
            if self._db is not None:
                await anyio.to_thread.run_sync(self._db.close)
                self._db = None

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def inside() -> T:
            if self._db is None:
                self._db = self._open()
            with self._db:
                return work(self._db)

        async with self._lock:
            try:
                return await anyio.to_thread.run_sync(inside)
            except (sqlite3.Error, OSError) as exc:
                raise StorageError(f"cannot use {str(self._path)!r}: {exc}") from None

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.touch(mode=0o600)
        db = sqlite3.connect(self._path, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(_SCHEMA)
        return db


def _said(row: tuple[int, str, str, str, float]) -> Said:
    seq, message_id, role, text, at = row
    return Said(seq=seq, id=message_id, role=role, text=text, at=at)
