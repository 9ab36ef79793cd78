"""What the gateway keeps on disk, opened together: index, journal, pairing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rustyclaw.access import Access
from rustyclaw.sessions.database import Database
from rustyclaw.sessions.journal import Journal
from rustyclaw.sessions.run_journal import RunJournal
from rustyclaw.sessions.store import SessionStore

if TYPE_CHECKING:
    from pathlib import Path

    from rustyclaw.config import Config
    from rustyclaw.hooks import HookFault

_SCHEMA = """
CREATE TABLE IF NOT EXISTS faults (
    plugin TEXT NOT NULL, hook TEXT NOT NULL, reason TEXT NOT NULL,
    count INTEGER NOT NULL, last REAL NOT NULL, PRIMARY KEY (plugin, hook));
CREATE TABLE IF NOT EXISTS allowances (key TEXT PRIMARY KEY, since REAL NOT NULL);
"""
_WEEK = 7 * 86_400


class State:
    """``state.db`` and the session folders of one home; use as a context."""

    def __init__(self, home: Path, config: Config) -> None:
        self.database = Database(home / "state.db")
        self.database.ensure(_SCHEMA)
        self.sessions = SessionStore(
            home,
            self.database,
            fsync=config.session.fsync,
            default_agent=config.default_agent_id,
        )
        self.journal = Journal(self.database)
        self.runs = RunJournal(self.database)
        self.access = Access(self.database)
        self._scrub = config.redactor.scrub

    async def __aenter__(self) -> State:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.database.close()

    async def record_fault(self, fault: HookFault) -> None:
        """Keep what a plugin did wrong, for ``doctor``; secrets are taken out."""
        row = (fault.plugin, fault.hook, self._scrub(fault.reason), time.time())
        query = (
            "INSERT INTO faults VALUES (?, ?, ?, 1, ?) ON CONFLICT DO UPDATE SET "
            "reason = excluded.reason, count = count + 1, last = excluded.last"
        )
        await self.database.run(lambda db: db.execute(query, row))

    async def faults(self) -> list[tuple[str, str, str, int]]:
        """Return (plugin, hook, last reason, count) of the faults of a week."""
        query = "SELECT plugin, hook, reason, count FROM faults WHERE last > ?"
        since = (time.time() - _WEEK,)
        return await self.database.read(lambda db: db.execute(query, since).fetchall())

    # --- What an operator has allowed for always: the memory of the approvals --------

    async def is_allowed(self, key: str) -> bool:
        """Return whether an action was allowed for always."""
        query = "SELECT 1 FROM allowances WHERE key = ?"
        return bool(
            await self.database.read(lambda db: db.execute(query, (key,)).fetchone())
        )

    async def allow(self, key: str) -> None:
        """Allow an action for always."""
        query, row = (
            "INSERT OR IGNORE INTO allowances VALUES (?, ?)",
            (key, time.time()),
        )
        await self.database.run(lambda db: db.execute(query, row))

    async def allowances(self) -> list[tuple[str, float]]:
        """Return (key, time) of all that is allowed for always, the newest first."""
        query = "SELECT key, since FROM allowances ORDER BY since DESC"
        return await self.database.read(lambda db: db.execute(query).fetchall())

    async def forget(self, key: str) -> bool:
        """Allow an action no longer; return whether it was allowed."""
        query = "DELETE FROM allowances WHERE key = ?"
        return await self.database.run(
            lambda db: db.execute(query, (key,)).rowcount == 1
        )
