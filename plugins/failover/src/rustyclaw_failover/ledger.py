"""Keeps how the profiles are, in a file that several processes share.

It is SQLite, as all state of the gateway: short transactions, so that a command beside
a running gateway neither waits nor loses anything. It knows ids, never keys. What it
says is advice: if the disk refuses, calls go on without it.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from rustyclaw import Database, StorageError

from rustyclaw_failover.config import CooldownConfig, Profile
from rustyclaw_failover.health import Health

logger = logging.getLogger(__name__)

T = TypeVar("T")
FILE = "profiles.db"
#: What must not cost an answer: the disk, another version's table, a damaged row.
_FAULTS = (StorageError, sqlite3.Error, ValueError)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS profiles (
    id TEXT PRIMARY KEY, last_used REAL NOT NULL, cooling_until REAL NOT NULL,
    disabled_until REAL NOT NULL, disabled_reason TEXT NOT NULL,
    errors INTEGER NOT NULL, failures TEXT NOT NULL, last_failure REAL NOT NULL);
CREATE TABLE IF NOT EXISTS pins (
    conversation TEXT NOT NULL, provider TEXT NOT NULL, profile TEXT NOT NULL,
    since REAL NOT NULL, PRIMARY KEY (conversation, provider));
"""
_FIELDS = (
    "last_used, cooling_until, disabled_until, disabled_reason, errors, failures, "
    "last_failure"
)
#: A conversation that was silent for so long has nothing left in a vendor's cache.
_PIN_SECONDS = 86_400.0


class Ledger:
    """The profiles of one home.

    :param folder: Made when it is needed.
    :param clock: Seconds since the epoch.
    """

    def __init__(
        self,
        folder: Path,
        rules: CooldownConfig,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.rules, self.clock = rules, clock
        self._database = Database(folder / FILE)
        self._database.ensure(_SCHEMA)

    async def close(self) -> None:
        """Close the file."""
        await self._database.close()

    async def all(self) -> dict[str, Health]:
        """Return how all profiles are that were ever used.

        :raises StorageError: The file cannot be read.
        """
        return await self._database.read(_all)

    async def look(
        self, ids: Sequence[str], conversation: str, provider: str
    ) -> tuple[Mapping[str, Health], str]:
        """Return how profiles are, and which one a conversation has used last."""

        def read(db: sqlite3.Connection) -> tuple[Mapping[str, Health], str]:
            query = "SELECT profile FROM pins WHERE conversation = ? AND provider = ?"
            pin = db.execute(query, (conversation, provider)).fetchone()
            return _of(db, ids), pin[0] if pin else ""

        try:
            return await self._database.read(read)
        except _FAULTS as exc:
            logger.warning("failover: the state of keys cannot be read: %s", exc)
            return {}, ""

    async def used(self, profile: Profile) -> None:
        """Note that a profile is tried now, so that others get the next turn."""

        def write(db: sqlite3.Connection) -> None:
            now = self.clock()
            _put(db, profile.id, Health(last_used=now), "last_used")

        await self._try(write)

    async def failed(
        self, profile: Profile, kind: str, retry_after: float | None
    ) -> Health:
        """Mark a profile; return how it is now."""

        def write(db: sqlite3.Connection) -> Health:
            old = _of(db, [profile.id]).get(profile.id, Health())
            now = self.clock()
            new = old.failed(kind, self.rules, now=now, retry_after=retry_after)
            _put(db, profile.id, new, _FIELDS)
            return new

        return await self._try(write) or Health()

    async def succeeded(self, profile: Profile, conversation: str) -> None:
        """Forget the failures of a profile; the conversation stays with it."""

        def write(db: sqlite3.Connection) -> None:
            now = self.clock()
            _put(db, profile.id, Health().succeeded(now), _FIELDS)
            if conversation:
                db.execute("DELETE FROM pins WHERE since < ?", (now - _PIN_SECONDS,))
                row = (conversation, profile.provider, profile.id, now)
                db.execute("INSERT OR REPLACE INTO pins VALUES (?, ?, ?, ?)", row)

        await self._try(write)

    async def clear(self, ids: Iterable[str]) -> None:
        """Let profiles be used again at once.

        :raises StorageError: The file cannot be written.
        """

        def write(db: sqlite3.Connection) -> None:
            for id, health in _of(db, list(ids)).items():
                _put(db, id, health.succeeded(0.0), _FIELDS)

        await self._database.run(write)

    async def _try(self, write: Callable[[sqlite3.Connection], T]) -> T | None:
        try:
            return await self._database.run(write, durable=False)
        except _FAULTS as exc:
            logger.warning("failover: the state of keys cannot be kept: %s", exc)
            return None


def _all(db: sqlite3.Connection) -> dict[str, Health]:
    rows = db.execute(f"SELECT id, {_FIELDS} FROM profiles")  # noqa: S608 - a constant
    return {id: _health(*row) for id, *row in rows}


def _of(db: sqlite3.Connection, ids: Sequence[str]) -> dict[str, Health]:
    return {id: health for id, health in _all(db).items() if id in ids}


def _health(*row: object) -> Health:
    names = _FIELDS.split(", ")
    fields = dict(zip(names, row, strict=True))
    fields["failures"] = json.loads(str(fields["failures"]))
    return Health(**fields)  # type: ignore[arg-type]  # typed by the schema


def _put(db: sqlite3.Connection, id: str, health: Health, changed: str) -> None:
    """Write a row; of one that exists only the fields in ``changed``."""
    row = [getattr(health, name) for name in _FIELDS.split(", ")]
    row[5] = json.dumps(dict(row[5]))
    sets = ", ".join(f"{name} = excluded.{name}" for name in changed.split(", "))
    query = (
        f"INSERT INTO profiles (id, {_FIELDS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608 - constants
        f"ON CONFLICT (id) DO UPDATE SET {sets}"
    )
    db.execute(query, (id, *row))
