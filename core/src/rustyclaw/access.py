"""Who may talk to the assistant: policies of a channel, and pairing codes.

An unknown sender of a private message gets a code; the owner types
``rustyclaw pairing approve CHANNEL CODE``. Approvals are kept in ``state.db``.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

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
    created REAL NOT NULL, PRIMARY KEY (channel, sender));
CREATE TABLE IF NOT EXISTS allowed (
    channel TEXT NOT NULL, sender TEXT NOT NULL, since REAL NOT NULL,
    PRIMARY KEY (channel, sender));
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do with a message; ``reply`` is for its sender, if not empty."""

    verdict: Literal["serve", "ignore", "refuse"]
    reply: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairingRequest:
    """A sender who waits to be let in; ``created`` in seconds since the epoch."""

    channel: str
    sender: str
    name: str | None
    code: str
    created: float


class Access:
    """Decides about senders, and keeps who was let in."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.ensure(_SCHEMA)

    async def decide(self, message: Inbound, policy: ChannelConfig) -> Decision:
        """Decide about one message by the settings of its channel."""
        if message.target.chat_type == "dm":
            return await self._decide_dm(message, policy)
        groups = policy.group_allow_from
        listed = "*" in groups or message.target.chat_id in groups
        if policy.group_policy == "disabled" or (
            policy.group_policy == "allowlist" and not listed
        ):
            return Decision(verdict="refuse")
        if policy.require_mention and not message.mentioned:
            return Decision(verdict="ignore")
        return Decision(verdict="serve")

    async def _decide_dm(self, message: Inbound, policy: ChannelConfig) -> Decision:
        channel, sender = message.target.channel, message.sender.id
        if policy.dm_policy == "disabled":
            return Decision(verdict="refuse")
        if sender in policy.allow_from or (
            "*" in policy.allow_from and policy.dm_policy != "allowlist"
        ):
            return Decision(verdict="serve")
        if policy.dm_policy == "open":  # open needs "*" to be said, too
            return Decision(verdict="refuse")
        if await self._database.read(lambda db: _is_allowed(db, channel, sender)):
            return Decision(verdict="serve")
        if policy.dm_policy == "allowlist":
            return Decision(verdict="refuse")
        code = await self._database.run(
            lambda db: _new_code(db, channel, sender, message.sender.name)
        )
        if code is None:
            return Decision(verdict="refuse")
        return Decision(
            verdict="refuse",
            reply=f"This assistant does not know you yet (your id: {sender}). Ask its "
            f"owner to run: rustyclaw pairing approve {channel} {code}",
        )

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


def _is_allowed(db: sqlite3.Connection, channel: str, sender: str) -> bool:
    query = "SELECT 1 FROM allowed WHERE channel = ? AND sender = ?"
    return db.execute(query, (channel, sender)).fetchone() is not None


def _pending(db: sqlite3.Connection) -> list[PairingRequest]:
    db.execute(
        "DELETE FROM pairing WHERE created < ?", (time.time() - _LIFETIME_SECONDS,)
    )
    return [
        PairingRequest(channel=c, sender=s, name=n, code=code, created=t)
        for c, s, n, code, t in db.execute(
            "SELECT channel, sender, name, code, created FROM pairing ORDER BY created"
        )
    ]


def _new_code(
    db: sqlite3.Connection, channel: str, sender: str, name: str | None
) -> str | None:
    """Return a code for a new request; ``None`` if it is known or too many wait."""
    waiting = [p for p in _pending(db) if p.channel == channel]
    if len(waiting) >= _MAX_PENDING or any(p.sender == sender for p in waiting):
        return None
    code = "".join(secrets.choice(_ALPHABET) for _ in range(_CODE_LENGTH))
    row = (channel, sender, name, code, time.time())
    db.execute("INSERT INTO pairing VALUES (?, ?, ?, ?, ?)", row)
    return code


def _resolve(
    db: sqlite3.Connection, channel: str, code: str, allow: bool
) -> PairingRequest:
    for request in _pending(db):
        if request.channel == channel and secrets.compare_digest(
            request.code.encode(), code.strip().upper().encode()
        ):
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
