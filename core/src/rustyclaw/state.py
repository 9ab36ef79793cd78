"""What the gateway keeps on disk, opened together: index, journal, pairing."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING

from rustyclaw.access import Access
from rustyclaw.sessions.database import Database
from rustyclaw.sessions.journal import Journal
from rustyclaw.sessions.store import SessionStore

if TYPE_CHECKING:
    from pathlib import Path

    from rustyclaw.config import Config
    from rustyclaw.hooks import HookFault

_SCHEMA = """
CREATE TABLE IF NOT EXISTS faults (
    plugin TEXT NOT NULL, hook TEXT NOT NULL, reason TEXT NOT NULL,
    count INTEGER NOT NULL, last REAL NOT NULL, PRIMARY KEY (plugin, hook));
"""


class State:
    """``state.db`` and the session folders of one home; use as a context."""

    def __init__(self, home: Path, config: Config) -> None:
        self.database = Database(home / "state.db")
        self.database.ensure(_SCHEMA)
        self.sessions = SessionStore(home, self.database, fsync=config.session.fsync)
        self.journal = Journal(self.database)
        self.access = Access(self.database)

    async def __aenter__(self) -> State:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.database.close()

    async def record_fault(self, fault: HookFault) -> None:
        """Keep what a plugin did wrong, for ``doctor``."""

        def write(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT INTO faults VALUES (?, ?, ?, 1, ?) ON CONFLICT DO UPDATE SET "
                "reason = excluded.reason, count = count + 1, last = excluded.last",
                (fault.plugin, fault.hook, fault.reason, time.time()),
            )

        await self.database.run(write)

    async def faults(self) -> list[tuple[str, str, str, int]]:
        """Return (plugin, hook, last reason, count) of the faults of a week."""
        query = "SELECT plugin, hook, reason, count FROM faults WHERE last > ?"
        week = (time.time() - 7 * 86_400,)
        return await self.database.read(lambda db: db.execute(query, week).fetchall())
