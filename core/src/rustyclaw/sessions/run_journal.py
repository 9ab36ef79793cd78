"""The durable list of runs that somebody was promised.

A request is ``open`` from before it is acknowledged until its run has ended. What a
stop or a crash leaves open begins again with the next gateway, under the same run id.
Whether it was answered is for the transcript to say, as with the inbox.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rustyclaw.errors import Busy
from rustyclaw.messages import Message, Target
from rustyclaw.runs import RunOptions, RunRequest
from rustyclaw.sessions.entries import decode_block, encode_block
from rustyclaw.sessions.journal import put_reply

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from rustyclaw.sessions.database import Database
    from rustyclaw.sessions.journal import Reply

_KEPT_SECONDS = 86_400
_LIMIT = 10_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, session TEXT NOT NULL,
    request TEXT NOT NULL, is_open INTEGER NOT NULL DEFAULT 1,
    restarts INTEGER NOT NULL DEFAULT 0, accepted REAL NOT NULL);
CREATE INDEX IF NOT EXISTS runs_open ON runs (seq) WHERE is_open;
"""


class RunJournal:
    """Requested runs in ``state.db``; ended ones are known for a day."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.ensure(_SCHEMA)

    async def accept(self, request: RunRequest) -> bool:
        """Make a request durable; return ``False`` if its run id is known.

        :raises StorageError: The disk refused it.
        :raises Busy: Too many runs wait for their turn.
        """
        row = (request.run_id, request.session, _encode(request), time.time())

        def insert(db: sqlite3.Connection) -> bool:
            query = "SELECT count(*) FROM runs WHERE is_open"
            if db.execute(query).fetchone()[0] >= _LIMIT:
                raise Busy(f"{_LIMIT} runs wait already; try again later")
            query = (
                "INSERT OR IGNORE INTO runs (id, session, request, accepted) "
                "VALUES (?, ?, ?, ?)"
            )
            return db.execute(query, row).rowcount == 1

        return await self._database.run(insert)

    async def open(self) -> list[RunRequest]:
        """Return the requests whose runs have not ended, oldest first."""
        query = "SELECT session, request FROM runs WHERE is_open ORDER BY seq"
        return [_decode(*row) for row in await self._rows(query)]

    async def find(self, run_ids: Sequence[str]) -> tuple[RunRequest, bool] | None:
        """Return the oldest request that has one of the ids, and whether it is open."""
        query = (
            "SELECT session, request, is_open FROM runs WHERE id IN "
            "(SELECT value FROM json_each(?)) ORDER BY seq LIMIT 1"
        )
        for session, request, is_open in await self._rows(query, json.dumps(run_ids)):
            return _decode(session, request), bool(is_open)
        return None

    async def count_restart(self, run_id: str) -> int:
        """Count that a run begins again; return how often it has by now."""
        query = "UPDATE runs SET restarts = restarts + 1 WHERE id = ?"
        query += " RETURNING restarts"
        return await self._database.run(
            lambda db: int(db.execute(query, (run_id,)).fetchone()[0])
        )

    async def finish(self, run_id: str, reply: Reply | None = None) -> None:
        """Close a request and put its reply into the outbox, as one step."""

        def write(db: sqlite3.Connection) -> None:
            db.execute("UPDATE runs SET is_open = 0 WHERE id = ?", (run_id,))
            put_reply(db, reply)

        await self._database.run(write)

    async def prune(self) -> None:
        """Forget the runs that ended long ago."""
        query = "DELETE FROM runs WHERE NOT is_open AND accepted < ?"
        oldest = (time.time() - _KEPT_SECONDS,)
        await self._database.run(lambda db: db.execute(query, oldest))

    async def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return await self._database.read(
            lambda db: db.execute(query, values).fetchall()
        )


def _encode(request: RunRequest) -> str:
    target = request.target
    return json.dumps(
        {
            "message": [encode_block(block) for block in request.message.content],
            "options": asdict(request.options),
            "target": target and {n: getattr(target, n) for n in target.__slots__},
        }
    )


def _decode(session: str, text: str) -> RunRequest:
    raw = json.loads(text)
    return RunRequest(
        session=session,
        message=Message(role="user", content=tuple(map(decode_block, raw["message"]))),
        options=RunOptions(**{**raw["options"], "history": (), "tools": ()}),
        target=raw["target"] and Target(**raw["target"]),
    )
