"""Who may talk to the assistant: policies of a channel, and pairing codes.

An unknown sender of a private message gets a code; the owner types
``rustyclaw pairing approve CHANNEL CODE``. Approvals are kept in ``state.db``.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from rustyclaw.errors import RustyclawError

if TYPE_CHECKING:
    from rustyclaw.interfaces.channel import ChannelConfig
    from rustyclaw.messages import Inbound
    from rustyclaw.sessions.database import Database

#: No 0, O, 1 or I: codes are read aloud and typed on phones.
_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_CODE_LENGTH = 8
_LIFETIME_SECONDS = 3600
_MAX_PENDING = 3

_SCHEMA = """
CREATE TABLE IF NOT EXISTS pairing (
    channel TEXT NOT NULL, sender TEXT NOT NULL, name TEXT, code TEXT NOT NULL,
    created REAL NOT NULL, source TEXT NOT NULL, PRIMARY KEY (channel, sender));
CREATE TABLE IF NOT EXISTS allowed (
    channel TEXT NOT NULL, sender TEXT NOT NULL, since REAL NOT NULL,
    PRIMARY KEY (channel, sender));
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether to serve a message; ``reply`` is for a sender who is not served."""

    serve: bool
    reply: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairingRequest:
    """A sender who waits to be let in; ``created`` in seconds since the epoch.

    :param source: The message that asked; delivered again, it gets the code again.
    """

    channel: str
    sender: str
    name: str | None
    code: str
    created: float
    source: str


class Access:
    """Decides about senders, and keeps who was let in."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.ensure(_SCHEMA)

    async def decide(self, message: Inbound, policy: ChannelConfig) -> Decision:
        """Decide about one message by the settings of its channel."""
        if message.target.chat_type == "dm":
            return await self._decide_dm(message, policy)
        listed = {"*", message.target.chat_id} & set(policy.group_allow_from)
        how = policy.group_policy
        served = how == "open" or (how == "allowlist" and bool(listed))
        named = message.mentioned or not policy.require_mention
        return Decision(serve=served and named)

    async def _decide_dm(self, message: Inbound, policy: ChannelConfig) -> Decision:
        how, sender = policy.dm_policy, message.sender.id
        everybody = "*" in policy.allow_from and how in ("open", "pairing")
        if how != "disabled" and (sender in policy.allow_from or everybody):
            return Decision(serve=True)
        if how in ("disabled", "open"):  # open needs "*" to be said, too
            return Decision(serve=False)
        channel = message.target.channel
        query = "SELECT 1 FROM allowed WHERE channel = ? AND sender = ?"
        if await self._database.read(
            lambda db: db.execute(query, (channel, sender)).fetchone()
        ):
            return Decision(serve=True)
        if how == "allowlist":
            return Decision(serve=False)
        code = await self._database.run(lambda db: _request(db, message))
        reply = (
            f"This assistant does not know you yet (your id: {sender}). Ask its owner "
            f"to run: rustyclaw pairing approve {channel} {code}"
        )
        return Decision(serve=False, reply=reply if code else "")

    async def pending(self) -> list[PairingRequest]:
        """Return the requests that wait, oldest first."""
        return await self._database.run(_pending)

    async def approve(self, channel: str, code: str) -> PairingRequest:
        """Let a sender in.

        :raises RustyclawError: No request of that channel has this code.
        """
        return await self._database.run(lambda db: _resolve(db, channel, code, True))

    async def reject(self, channel: str, code: str) -> PairingRequest:
        """Drop a request; the sender may ask again.

        :raises RustyclawError: No request of that channel has this code.
        """
        return await self._database.run(lambda db: _resolve(db, channel, code, False))


def _pending(db: sqlite3.Connection) -> list[PairingRequest]:
    oldest = time.time() - _LIFETIME_SECONDS
    db.execute("DELETE FROM pairing WHERE created < ?", (oldest,))
    columns = tuple(PairingRequest.__slots__)
    query = f"SELECT {', '.join(columns)} FROM pairing ORDER BY created"  # noqa: S608 - our own names
    rows = db.execute(query).fetchall()
    return [PairingRequest(**dict(zip(columns, row, strict=True))) for row in rows]


def _request(db: sqlite3.Connection, message: Inbound) -> str | None:
    """Return the code to tell; ``None`` if it was told, or too many wait."""
    channel, sender = message.target.channel, message.sender
    waiting = [p for p in _pending(db) if p.channel == channel]
    for known in waiting:
        if known.sender == sender.id:
            return known.code if known.source == message.source else None
    if len(waiting) >= _MAX_PENDING:
        return None
    new = PairingRequest(
        channel=channel,
        sender=sender.id,
        name=sender.name or sender.username,
        code="".join(secrets.choice(_ALPHABET) for _ in range(_CODE_LENGTH)),
        created=time.time(),
        source=message.source,
    )
    db.execute("INSERT INTO pairing VALUES (?, ?, ?, ?, ?, ?)", astuple(new))
    return new.code


def _resolve(
    db: sqlite3.Connection, channel: str, code: str, allow: bool
) -> PairingRequest:
    for request in _pending(db):
        if (request.channel, request.code) == (channel, code.strip().upper()):
            key = (channel, request.sender)
            db.execute("DELETE FROM pairing WHERE channel = ? AND sender = ?", key)
            if allow:
                row = (*key, time.time())
                db.execute("INSERT OR REPLACE INTO allowed VALUES (?, ?, ?)", row)
            return request
    raise RustyclawError(
        f"no pending request of channel {channel!r} has the code {code!r}; "
        "see `rustyclaw pairing list`"
    )
