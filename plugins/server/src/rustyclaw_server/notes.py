"""Small things that clients want remembered, by name, in ``state.db``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rustyclaw import Gateway

_SCHEMA = """
CREATE TABLE IF NOT EXISTS server_notes (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class Notes:
    """JSON values by name; kept in memory as well."""

    def __init__(self, gateway: Gateway) -> None:
        self._database = gateway.state.database
        self._values: dict[str, Any] = {}

    async def load(self) -> None:
        """Read what is kept."""
        self._database.ensure(_SCHEMA)
        rows = await self._database.read(
            lambda db: db.execute("SELECT name, value FROM server_notes").fetchall()
        )
        self._values = {name: json.loads(value) for name, value in rows}

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value."""
        return self._values.get(name, default)

    async def set(self, name: str, value: Any) -> None:
        """Keep a value."""
        row = (name, json.dumps(value))
        query = "INSERT OR REPLACE INTO server_notes VALUES (?, ?)"
        await self._database.run(lambda db: db.execute(query, row))
        self._values[name] = value
