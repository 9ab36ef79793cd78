"""The durable inbox and outbox: nothing accepted is lost or answered twice.

An inbound message is ``accepted`` (and then acknowledged to the platform), its
run ends, and in one transaction it is ``done`` and its reply is ``pending``. A
reply is marked ``sending`` before the platform is called and ``sent`` after. What
a crash leaves ``sending`` has an outcome that nobody knows: it is sent again only
to platforms that drop a repeated ``Outbound.id``, else it becomes ``unknown``.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from rustyclaw.errors import Busy
from rustyclaw.messages import Inbound, Outbound, Sender, Target
from rustyclaw.sessions.entries import decode_block, encode_block

if TYPE_CHECKING:
    from rustyclaw.sessions.database import Database

#: Known message ids are kept at least this long, so that redeliveries are dropped.
_DEDUPE_SECONDS = 7 * 86_400
_INBOX_LIMIT = 10_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS inbox (
    id INTEGER PRIMARY KEY, source TEXT NOT NULL UNIQUE, session TEXT NOT NULL,
    message TEXT NOT NULL, state TEXT NOT NULL, received REAL NOT NULL);
CREATE INDEX IF NOT EXISTS inbox_open ON inbox (session, id) WHERE state = 'accepted';
CREATE TABLE IF NOT EXISTS outbox (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, session TEXT NOT NULL,
    channel TEXT NOT NULL, target TEXT NOT NULL, message TEXT NOT NULL,
    state TEXT NOT NULL, parts INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL
    DEFAULT 0, error TEXT, created REAL NOT NULL);
CREATE INDEX IF NOT EXISTS outbox_open ON outbox (channel, seq)
    WHERE state IN ('pending', 'sending');
"""

OutboxState = Literal["pending", "sending", "sent", "failed", "vetoed", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A message on its way out.

    :param parts: How many pieces of a long message the platform already has.
    """

    session: str
    target: Target
    message: Outbound
    state: OutboxState = "pending"
    parts: int = 0
    attempts: int = 0

    @classmethod
    def to(cls, message: Inbound, session: str, text: str, reply_id: str) -> Reply:
        """Return the reply to an inbound message."""
        outbound = Outbound(id=reply_id, text=text, reply_to=message.message_id)
        return cls(session=session, target=message.target, message=outbound)


class Journal:
    """Inbox and outbox in ``state.db``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.ensure(_SCHEMA)

    # --- Inbox ------------------------------------------------------------------

    async def accept(
        self, message: Inbound, session: str, reply: Reply | None = None
    ) -> bool:
        """Make a message durable; return ``False`` if its source is known.

        :param reply: Answers the message at once, so that no run is needed.
        :raises StorageError: The disk refused it.
        :raises Busy: Too many messages wait for their turn.
        """
        text = json.dumps(_encode_inbound(message))
        state = "accepted" if reply is None else "done"

        def insert(db: sqlite3.Connection) -> bool:
            query = "SELECT count(*) FROM inbox WHERE state = 'accepted'"
            if db.execute(query).fetchone()[0] >= _INBOX_LIMIT:
                raise Busy(f"{_INBOX_LIMIT} messages wait already; try again later")
            done = db.execute(
                "INSERT OR IGNORE INTO inbox (source, session, message, state, "
                "received) VALUES (?, ?, ?, ?, ?)",
                (message.source, session, text, state, time.time()),
            )
            if reply is not None and done.rowcount:
                _insert_reply(db, reply)
            return done.rowcount == 1

        return await self._database.run(insert)

    async def open_sessions(self) -> list[str]:
        """Return the sessions with accepted messages, oldest first."""
        query = (
            "SELECT session FROM inbox WHERE state = 'accepted' "
            "GROUP BY session ORDER BY min(id)"
        )
        rows = await self._database.read(lambda db: db.execute(query).fetchall())
        return [row[0] for row in rows]

    async def waiting(self, session: str, limit: int) -> list[Inbound]:
        """Return the accepted messages of a session, in the order they came."""
        query = (
            "SELECT message FROM inbox WHERE session = ? AND state = 'accepted' "
            "ORDER BY id LIMIT ?"
        )
        rows = await self._database.read(
            lambda db: db.execute(query, (session, limit)).fetchall()
        )
        return [_decode_inbound(json.loads(row[0])) for row in rows]

    async def finish(self, sources: Sequence[str], reply: Reply | None) -> None:
        """Close messages and put their one reply into the outbox, as one step."""

        def write(db: sqlite3.Connection) -> None:
            db.executemany(
                "UPDATE inbox SET state = 'done' WHERE source = ?",
                [(source,) for source in sources],
            )
            if reply is not None:
                _insert_reply(db, reply)

        await self._database.run(write)

    async def prune(self) -> None:
        """Forget what is finished and older than the de-duplication window."""
        oldest = (time.time() - _DEDUPE_SECONDS,)

        def delete(db: sqlite3.Connection) -> None:
            db.execute(
                "DELETE FROM inbox WHERE state = 'done' AND received < ?", oldest
            )
            db.execute(
                "DELETE FROM outbox WHERE state IN ('sent', 'vetoed') AND created < ?",
                oldest,
            )

        await self._database.run(delete)

    # --- Outbox -----------------------------------------------------------------

    async def next_reply(self, channel: str) -> Reply | None:
        """Return the oldest reply of a channel that is not finished."""
        query = (
            "SELECT session, target, message, state, parts, attempts FROM outbox "
            "WHERE channel = ? AND state IN ('pending', 'sending') "
            "ORDER BY seq LIMIT 1"
        )
        row = await self._database.read(
            lambda db: db.execute(query, (channel,)).fetchone()
        )
        if row is None:
            return None
        return Reply(
            session=row[0],
            target=Target(**json.loads(row[1])),
            message=_decode_outbound(json.loads(row[2])),
            state=row[3],
            parts=row[4],
            attempts=row[5],
        )

    async def mark(
        self,
        reply: Reply,
        state: OutboxState,
        *,
        error: str | None = None,
        parts: int | None = None,
    ) -> Reply:
        """Record how far a reply has come; each ``sending`` counts as an attempt."""
        changed = replace(
            reply,
            state=state,
            parts=reply.parts if parts is None else parts,
            attempts=reply.attempts + (state == "sending" and parts is None),
        )
        row = (state, changed.parts, changed.attempts, error, reply.message.id)
        query = (
            "UPDATE outbox SET state = ?, parts = ?, attempts = ?, error = ? "
            "WHERE id = ?"
        )
        await self._database.run(lambda db: db.execute(query, row))
        return changed

    async def troubles(self) -> list[tuple[str, str, str]]:
        """Return (channel, state, error) of replies that were not delivered."""
        query = (
            "SELECT channel, state, coalesce(error, '') FROM outbox "
            "WHERE state IN ('failed', 'unknown') ORDER BY seq DESC LIMIT 100"
        )
        return await self._database.read(lambda db: db.execute(query).fetchall())


def _insert_reply(db: sqlite3.Connection, reply: Reply) -> None:
    db.execute(
        "INSERT OR IGNORE INTO outbox (id, session, channel, target, message, state, "
        "created) VALUES (?, ?, ?, ?, ?, 'pending', ?)",
        (
            reply.message.id,
            reply.session,
            reply.target.channel,
            json.dumps(asdict(reply.target)),
            json.dumps(_encode_outbound(reply.message)),
            time.time(),
        ),
    )


def _encode_inbound(message: Inbound) -> dict[str, Any]:
    fields = {name: getattr(message, name) for name in message.__slots__}
    fields["media"] = [encode_block(block) for block in message.media]
    fields["sender"] = asdict(message.sender)
    fields["target"] = asdict(message.target)
    fields["facts"] = dict(message.facts)
    return fields


def _decode_inbound(fields: dict[str, Any]) -> Inbound:
    fields["media"] = tuple(map(decode_block, fields["media"]))
    fields["sender"] = Sender(**fields["sender"])
    fields["target"] = Target(**fields["target"])
    return Inbound(**fields)


def _encode_outbound(message: Outbound) -> dict[str, Any]:
    fields = {name: getattr(message, name) for name in message.__slots__}
    return fields | {"media": [encode_block(block) for block in message.media]}


def _decode_outbound(fields: dict[str, Any]) -> Outbound:
    fields["media"] = tuple(map(decode_block, fields["media"]))
    return Outbound(**fields)
