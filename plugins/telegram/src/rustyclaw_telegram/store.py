"""What a restart must not lose, in SQLite in the channel's folder.

Four facts: up to where each bot's updates were taken in; which pictures of an album
were taken in together; which message of a chat each part of a reply stands in; and
which groups have a new id.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
from rustyclaw import StorageError

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS offsets (bot TEXT PRIMARY KEY, next INTEGER, at REAL);
CREATE TABLE IF NOT EXISTS parts (
    bot TEXT, reply TEXT, part INTEGER, message INTEGER, done INTEGER NOT NULL
    DEFAULT 0, at REAL NOT NULL, PRIMARY KEY (bot, reply, part));
CREATE TABLE IF NOT EXISTS albums (bot TEXT, message TEXT, first TEXT, at REAL NOT NULL,
    PRIMARY KEY (bot, message));
CREATE TABLE IF NOT EXISTS moved (bot TEXT, old TEXT, new TEXT,
    PRIMARY KEY (bot, old));
"""
#: The core repeats no reply that is older.
_KEPT_SECONDS = 30 * 86_400.0
#: After a week of silence Telegram chooses the next update's id at random: an older
#: offset could be above it, and the bot would be deaf.
_OFFSET_SECONDS = 6 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a reply that was begun.

    :param message: Its message in the chat; ``None`` if the call that made it has
        not come back.
    :param done: The message shows all of it.
    """

    message: int | None
    done: bool


class Store:
    """The file; open it before its use."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._path = Path()
        self._lock = anyio.Lock()
        self._db: sqlite3.Connection | None = None

    async def open(self, path: Path) -> None:
        """Open the file, and forget what is old.

        :raises StorageError: It cannot be used.
        """
        self._path = path
        oldest = (self._clock() - _KEPT_SECONDS,)

        def forget(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM parts WHERE at < ?", oldest)
            db.execute("DELETE FROM albums WHERE at < ?", oldest)

        await self._run(forget, opens=True)

    async def close(self) -> None:
        """Close the file."""
        with anyio.CancelScope(shield=True):
            async with self._lock:
                db, self._db = self._db, None
                if db is not None:
                    await anyio.to_thread.run_sync(db.close)

    # --- Offsets ----------------------------------------------------------------------

    async def offset(self, bot: str) -> int | None:
        """Return the id of the first update that was not taken in, if it is known."""
        query = "SELECT next FROM offsets WHERE bot = ? AND at > ?"
        row = (bot, self._clock() - _OFFSET_SECONDS)
        found = await self._run(lambda db: db.execute(query, row).fetchone())
        return int(found[0]) if found else None

    async def keep_offset(self, bot: str, following: int) -> None:
        """Remember that everything before an update was taken in."""
        row = (bot, following, self._clock())
        query = "INSERT OR REPLACE INTO offsets VALUES (?, ?, ?)"
        await self._run(lambda db: db.execute(query, row))

    async def firsts(self, bot: str, messages: Sequence[str]) -> list[str]:
        """Return for each message of an album the one that it is taken in with.

        Once said it stays so: what a restart brings again, perhaps with pictures that
        came later, is put together as before, and what is new is a message of its own.
        """

        def work(db: sqlite3.Connection) -> list[str]:
            known: dict[str, str] = {}
            for message in messages:
                query = "SELECT first FROM albums WHERE bot = ? AND message = ?"
                if row := db.execute(query, (bot, message)).fetchone():
                    known[message] = row[0]
            new = [message for message in messages if message not in known]
            rows = [(bot, message, new[0], self._clock()) for message in new]
            db.executemany("INSERT INTO albums VALUES (?, ?, ?, ?)", rows)
            return [known.get(message) or new[0] for message in messages]

        return await self._run(work)

    # --- Parts of replies -------------------------------------------------------------

    async def part(self, bot: str, reply: str, part: int) -> Part | None:
        """Return what became of a part of a reply; ``None`` if it was not begun."""
        query = "SELECT message, done FROM parts WHERE bot = ? AND reply = ? AND part=?"
        row = (bot, reply, part)
        found = await self._run(lambda db: db.execute(query, row).fetchone())
        return Part(message=found[0], done=bool(found[1])) if found else None

    async def keep_part(
        self, bot: str, reply: str, part: int, message: int | None, *, done: bool
    ) -> None:
        """Remember how far a part has come."""
        row = (bot, reply, part, message, done, self._clock())
        query = "INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?, ?)"
        await self._run(lambda db: db.execute(query, row))

    async def drop_part(self, bot: str, reply: str, part: int) -> None:
        """Forget that a part was begun: it was refused."""
        query = "DELETE FROM parts WHERE bot = ? AND reply = ? AND part = ?"
        await self._run(lambda db: db.execute(query, (bot, reply, part)))

    # --- Groups that became supergroups -----------------------------------------------

    async def moved(self, bot: str, chat: str) -> str:
        """Return the id that a chat has now."""
        query = "SELECT new FROM moved WHERE bot = ? AND old = ?"
        found = await self._run(lambda db: db.execute(query, (bot, chat)).fetchone())
        return str(found[0]) if found else chat

    async def keep_moved(self, bot: str, old: str, new: str) -> None:
        """Remember that a chat has a new id."""
        query = "INSERT OR REPLACE INTO moved VALUES (?, ?, ?)"
        await self._run(lambda db: db.execute(query, (bot, old, new)))

    # --- The file ---------------------------------------------------------------------

    async def _run(
        self, work: Callable[[sqlite3.Connection], T], *, opens: bool = False
    ) -> T:
        def inside() -> T:
            if self._db is None:
                if not opens:
                    raise StorageError("the channel 'telegram' is closed")
                self._db = self._open()
            with self._db:
                return work(self._db)

        # Shielded: what was begun is written, so that nobody has to guess.
        with anyio.CancelScope(shield=True):
            async with self._lock:
                try:
                    result = await anyio.to_thread.run_sync(inside)
                except (sqlite3.Error, OSError) as exc:
                    problem = f"cannot use {str(self._path)!r}: {exc}"
                    raise StorageError(problem) from None
        return result

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.touch(mode=0o600)
        db = sqlite3.connect(self._path, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.executescript(_SCHEMA)
        return db
