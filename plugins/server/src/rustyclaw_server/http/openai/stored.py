"""Which session a response belongs to, so that the next request may go on there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rustyclaw_server.http.answers import Refused

if TYPE_CHECKING:
    import sqlite3

    from rustyclaw import Gateway

_SCHEMA = """
CREATE TABLE IF NOT EXISTS http_responses (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, session TEXT NOT NULL,
    at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS http_responses_session ON http_responses (session);
"""
_FIND = "SELECT number, session FROM http_responses WHERE id = ? AND at > ?"
_LATER = "SELECT 1 FROM http_responses WHERE session = ? AND number > ?"
_KEPT_SECONDS = 30 * 86_400.0


class Stored:
    """The responses of the last 30 days."""

    def __init__(self, gateway: Gateway) -> None:
        self._database = gateway.state.database
        self._database.ensure(_SCHEMA)

    async def keep(self, response_id: str, session: str) -> None:
        """Remember where a response was given."""
        row = (response_id, session, time.time())

        def work(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT INTO http_responses (id, session, at) VALUES (?, ?, ?)", row
            )
            oldest = (time.time() - _KEPT_SECONDS,)
            db.execute("DELETE FROM http_responses WHERE at < ?", oldest)

        await self._database.run(work, durable=False)

    async def session_of(self, response_id: str) -> str:
        """Return the session in which a response was the last one.

        :raises Refused: It is not known, or the session has gone on since.
        """
        since = time.time() - _KEPT_SECONDS

        def work(db: sqlite3.Connection) -> tuple[str, bool]:
            found = db.execute(_FIND, (response_id, since)).fetchone()
            if found is None:
                return "", False
            number, session = found
            later = db.execute(_LATER, (session, number)).fetchone()
            return session, later is not None

        session, has_gone_on = await self._database.read(work)
        param = "previous_response_id"
        if not session:
            problem = f"there is no response {response_id!r}"
            code = "previous_response_not_found"
            raise Refused(400, problem, param=param, code=code)
        if has_gone_on:
            problem = f"response {response_id!r} is not the last of its conversation"
            raise Refused(400, f"{problem}; name the last one", param=param)
        return session
