"""What clients set for a session and the core does not keep, in ``state.db``.

The core has a session's label, model and level of thinking. How much of a run clients
are shown (verbose, reasoning) concerns them alone, and is kept here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rustyclaw import Gateway

    from rustyclaw_server.wire.runs import RunBook

_SCHEMA = """
CREATE TABLE IF NOT EXISTS session_settings (key TEXT PRIMARY KEY, facts TEXT NOT NULL);
"""


class SessionSettings:
    """The settings of all sessions, by full key; kept in memory as well."""

    def __init__(self, gateway: Gateway, runs: RunBook) -> None:
        self._database, self._runs = gateway.state.database, runs
        self._facts: dict[str, dict[str, Any]] = {}

    async def load(self) -> None:
        """Read what is kept."""
        self._database.ensure(_SCHEMA)
        rows = await self._database.read(
            lambda db: db.execute("SELECT key, facts FROM session_settings").fetchall()
        )
        for key, facts in rows:
            self._keep(key, json.loads(facts))

    def get(self, key: str) -> Mapping[str, Any]:
        """Return the settings of a session, under the names that clients use."""
        return self._facts.get(key, {})

    async def patch(self, key: str, changes: Mapping[str, Any]) -> None:
        """Change settings; ``None`` clears."""
        merged = {**self.get(key), **changes}
        facts = {name: value for name, value in merged.items() if value is not None}
        if facts == self.get(key):
            return
        query, row = (
            "INSERT OR REPLACE INTO session_settings VALUES (?, ?)",
            (key, json.dumps(facts)),
        )
        await self._database.run(lambda db: db.execute(query, row))
        self._keep(key, facts)

    async def forget(self, key: str) -> None:
        """Drop the settings of a session that is no more."""
        if key in self._facts:
            query = "DELETE FROM session_settings WHERE key = ?"
            await self._database.run(lambda db: db.execute(query, (key,)))
            self._keep(key, {})

    def _keep(self, key: str, facts: dict[str, Any]) -> None:
        self._facts[key] = facts
        if not facts:
            del self._facts[key]
        for name, known in (
            ("verboseLevel", self._runs.verbose_of),
            ("reasoningLevel", self._runs.reasoning_of),
        ):
            if name in facts:
                known[key] = facts[name]
            else:
                known.pop(key, None)
