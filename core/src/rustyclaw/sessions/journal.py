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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from rustyclaw.errors import Busy
from rustyclaw.messages import Inbound, Media, Outbound, Sender, Target
from rustyclaw.sessions.entries import decode_block, encode_block

if TYPE_CHECKING:
    from rustyclaw.sessions.database import Database

T = TypeVar("T")

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
CREATE TABLE IF NOT EXISTS drafts (source TEXT PRIMARY KEY, reference TEXT NOT NULL);
"""


OutboxState = Literal["pending", "sending", "sent", "failed", "vetoed", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A message on its way out.

    :param message: As the guards left it, from the first attempt on.
    :param parts: How many pieces of a long message the platform already has.
    :param attempts: How often the next piece was tried.
    """

    session: str
    target: Target
    message: Outbound
    state: OutboxState = "pending"
    parts: int = 0
    attempts: int = 0

    @classmethod
    def to(
        cls,
        message: Inbound,
        session: str,
        text: str,
        reply_id: str = "",
        draft: str | None = None,
    ) -> Reply:
        """Return the reply to an inbound message."""
        reply_id = reply_id or f"{message.source}:reply"
        outbound = Outbound(
            id=reply_id, text=text, reply_to=message.message_id, draft=draft
        )
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
        state = "accepted" if reply is None else "done"
        row = (message.source, session, _encode(message), state, time.time())

        def insert(db: sqlite3.Connection) -> bool:
            query = "SELECT count(*) FROM inbox WHERE state = 'accepted'"
            if db.execute(query).fetchone()[0] >= _INBOX_LIMIT:
                raise Busy(f"{_INBOX_LIMIT} messages wait already; try again later")
            query = (
                "INSERT OR IGNORE INTO inbox (source, session, message, state, "
                "received) VALUES (?, ?, ?, ?, ?)"
            )
            is_new = db.execute(query, row).rowcount == 1
            if is_new:
                put_reply(db, reply)
            return is_new

        return await self._database.run(insert)

    async def knows(self, source: str) -> bool:
        """Return whether a message was accepted before."""
        query = "SELECT 1 FROM inbox WHERE source = ?"
        return bool(await self._rows(query, source))

    async def find(self, source: str) -> tuple[str, Inbound] | None:
        """Return the session and the text of a message that was accepted."""
        query = "SELECT session, message FROM inbox WHERE source = ?"
        rows = await self._rows(query, source)
        return (rows[0][0], _decode(Inbound, rows[0][1])) if rows else None

    async def last_private(
        self, channel: str, sender: str
    ) -> tuple[str, Target] | None:
        """Return session and chat of the last private message of a person."""
        query = (
            "SELECT session, message FROM inbox WHERE json_extract(message, "
            "'$.target.channel', '$.sender.id', '$.target.chat_type') = json_array("
            "?, ?, 'dm') ORDER BY id DESC LIMIT 1"
        )
        rows = await self._rows(query, channel, sender)
        return (rows[0][0], _decode(Inbound, rows[0][1]).target) if rows else None

    async def open_sessions(self) -> list[str]:
        """Return the sessions with accepted messages, oldest first."""
        query = (
            "SELECT session FROM inbox WHERE state = 'accepted' "
            "GROUP BY session ORDER BY min(id)"
        )
        return [row[0] for row in await self._rows(query)]

    async def waiting(self, session: str, limit: int) -> list[Inbound]:
        """Return the accepted messages of a session, in the order they came."""
        query = (
            "SELECT message FROM inbox WHERE session = ? AND state = 'accepted' "
            "ORDER BY id LIMIT ?"
        )
        rows = await self._rows(query, session, limit)
        return [_decode(Inbound, row[0]) for row in rows]

    async def finish(self, sources: Sequence[str], reply: Reply | None) -> None:
        """Close messages and put their one reply into the outbox, as one step."""

        def write(db: sqlite3.Connection) -> None:
            rows = [(source,) for source in sources]
            db.executemany("UPDATE inbox SET state = 'done' WHERE source = ?", rows)
            db.executemany("DELETE FROM drafts WHERE source = ?", rows)
            put_reply(db, reply)

        await self._database.run(write)

    async def draft(self, source: str) -> str | None:
        """Return the draft that a chat was shown as the answer to a message."""
        query = "SELECT reference FROM drafts WHERE source = ?"
        rows = await self._rows(query, source)
        return str(rows[0][0]) if rows else None

    async def keep_draft(self, source: str, reference: str) -> None:
        """Remember a draft, so that a run that begins again goes on with it."""
        row, query = (source, reference), "INSERT OR REPLACE INTO drafts VALUES (?, ?)"
        await self._database.run(lambda db: db.execute(query, row))

    async def prune(self) -> None:
        """Forget what is finished and older than the de-duplication window."""
        oldest = (time.time() - _DEDUPE_SECONDS,)

        def delete(db: sqlite3.Connection) -> None:
            inbox = "DELETE FROM inbox WHERE state = 'done' AND received < ?"
            outbox = "DELETE FROM outbox WHERE created < ? AND state NOT IN "
            db.execute(inbox, oldest)
            db.execute(f"{outbox} ('pending', 'sending')", oldest)

        await self._database.run(delete)

    # --- Outbox -----------------------------------------------------------------

    async def post(self, reply: Reply) -> None:
        """Put a message into the outbox, once for each of its ids."""
        await self._database.run(lambda db: put_reply(db, reply))

    async def next_reply(self, channel: str) -> Reply | None:
        """Return the oldest reply of a channel that is not finished."""
        query = (
            "SELECT session, target, message, state, parts, attempts FROM outbox "
            "WHERE channel = ? AND state IN ('pending', 'sending') "
            "ORDER BY seq LIMIT 1"
        )
        for session, target, message, state, parts, attempts in await self._rows(
            query, channel
        ):
            return Reply(
                session=session,
                target=_decode(Target, target),
                message=_decode(Outbound, message),
                state=state,
                parts=parts,
                attempts=attempts,
            )
        return None

    async def save(self, reply: Reply, error: str | None = None) -> None:
        """Record how far a reply has come."""
        facts = (reply.state, reply.parts, reply.attempts, error)
        row = (_encode(reply.message), *facts, reply.message.id)
        query = (
            "UPDATE outbox SET message = ?, state = ?, parts = ?, attempts = ?, "
            "error = ? WHERE id = ?"
        )
        await self._database.run(lambda db: db.execute(query, row))

    async def troubles(self) -> list[tuple[str, str, str]]:
        """Return (channel, state, error) of replies that were not delivered."""
        return await self._rows(
            "SELECT channel, state, coalesce(error, '') FROM outbox "
            "WHERE state IN ('failed', 'unknown') ORDER BY seq DESC LIMIT 100"
        )

    async def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return await self._database.read(
            lambda db: db.execute(query, values).fetchall()
        )


def put_reply(db: sqlite3.Connection, reply: Reply | None) -> None:
    """Put a reply into the outbox, unless it stands there already."""
    if reply is not None:
        out, target = reply.message, reply.target
        row = (out.id, reply.session, target.channel, _encode(target), _encode(out))
        query = (
            "INSERT OR IGNORE INTO outbox (id, session, channel, target, message, "
            "state, created) VALUES (?, ?, ?, ?, ?, 'pending', ?)"
        )
        db.execute(query, (*row, time.time()))


# --- Messages as JSON -------------------------------------------------------------


def _encode(value: Inbound | Outbound | Target) -> str:
    return json.dumps(value, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, Media):
        return encode_block(value)
    if isinstance(value, Mapping):
        return dict(value)
    return {name: getattr(value, name) for name in value.__slots__}


def _decode(cls: type[T], text: str) -> T:
    fields = json.loads(text)
    for name in _PARTS.keys() & fields.keys():
        fields[name] = _PARTS[name](fields[name])
    return cls(**fields)


_PARTS: dict[str, Any] = {
    "media": lambda raw: tuple(map(decode_block, raw)),
    "sender": lambda raw: Sender(**raw),
    "target": lambda raw: Target(**raw),
}
