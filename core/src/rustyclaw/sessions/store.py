"""The index of all sessions, in ``state.db``; it can be rebuilt from their files."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from rustyclaw.errors import SessionError
from rustyclaw.messages import Target, Usage
from rustyclaw.sessions.database import Database, Work, transaction
from rustyclaw.sessions.key import SessionKey, resolve
from rustyclaw.sessions.transcript import Fsync, Transcript, read_header

_SESSION_ID = re.compile(r"[0-9a-f]{16}")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
    key TEXT PRIMARY KEY, agent_id TEXT NOT NULL, label TEXT UNIQUE,
    updated_at REAL NOT NULL, info TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS sessions_recent ON sessions (updated_at);
"""
_WRITE = """
INSERT INTO sessions VALUES (:key, :agent_id, :label, :updated_at, :info)
ON CONFLICT (key) DO UPDATE SET label = :label, updated_at = :updated_at, info = :info
"""
_LIST = """
SELECT info FROM sessions WHERE (:agent IS NULL OR agent_id = :agent)
AND instr(key || ' ' || lower(coalesce(label, '')), lower(:search))
ORDER BY updated_at DESC LIMIT :limit
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """What the index knows of a session; times in seconds since the epoch.

    :param session_id: Names the transcript's file; a reset gives a new one.
    :param usage: What all runs since the last reset have cost.
    :param context_tokens: Size of the last prompt.
    """

    key: str
    agent_id: str
    session_id: str
    created_at: float
    updated_at: float
    label: str | None = None
    model: str | None = None
    thinking: str | None = None
    system_prompt: str | None = None
    last_target: Target | None = None
    usage: Usage = field(default_factory=Usage)
    context_tokens: int = 0
    compactions: int = 0


class SessionStore:
    """All sessions of a gateway. A key may be given in its short form.

    :param home: The state directory.
    :param fsync: For transcripts; see `Transcript`.
    :param default_agent: Whose sessions short keys mean.
    """

    def __init__(
        self,
        home: Path,
        database: Database,
        *,
        fsync: Fsync = "turn",
        default_agent: str = "main",
    ) -> None:
        self._home = home
        self._database = database
        self._fsync: Fsync = fsync
        self._default_agent = default_agent
        database.ensure(_SCHEMA, self._fill)

    async def get(self, key: str) -> SessionInfo | None:
        """Return a session, or nothing if there is none of that key."""
        name = self._key(key)
        return await self._database.read(lambda db: _find(db, name))

    async def get_or_create(self, key: str) -> SessionInfo:
        """Return a session; make it if it is new."""
        name = self._key(key)
        if (known := await self.get(key)) is not None:
            return known
        return await self._database.run(
            lambda db: _find(db, name) or _write(db, _new(name))
        )

    def look(self, key: str) -> SessionInfo | None:
        """Return a session as `get` does, in this thread."""
        return self._database.visit(partial(_find, key=self._key(key)))

    async def list(
        self, agent: str | None = None, limit: int | None = None, search: str = ""
    ) -> tuple[SessionInfo, ...]:
        """Return sessions, the last used first.

        :param search: Part of the key or the label.
        """
        values = {"agent": agent, "search": search, "limit": limit or -1}
        rows = await self._database.read(
            lambda db: db.execute(_LIST, values).fetchall()
        )
        return tuple(_info(row[0]) for row in rows)

    async def patch(self, key: str, **changes: str | None) -> SessionInfo:
        """Set ``label``, ``model``, ``thinking`` or ``system_prompt``; None clears.

        :raises SessionError: No such session, or the label is too long or taken.
        """
        if len(label := changes.get("label") or "") > 64:
            raise SessionError(
                "a label has at most 64 characters; choose a shorter one"
            )
        chosen: dict[str, Any] = {
            name: value or None for name, value in changes.items()
        }
        try:
            change = self._change(key, lambda info: chosen)
            return await self._database.run(change)
        except sqlite3.IntegrityError:
            raise SessionError(
                f"label {label!r} belongs to another session; choose another one"
            ) from None

    def touch(
        self,
        key: str,
        *,
        usage: Usage | None = None,
        compactions: int = 0,
        context_tokens: int = 0,
        last_target: Target | None = None,
    ) -> SessionInfo:
        """Add to usage and compactions; set the other two if they are given; it blocks.

        :raises SessionError: No such session.
        """
        change = self._change(
            key,
            lambda info: {
                "usage": info.usage + (usage or Usage()),
                "compactions": info.compactions + compactions,
                "context_tokens": context_tokens or info.context_tokens,
                "last_target": last_target or info.last_target,
            },
        )
        # it is statistics, and every turn pays for it
        return self._database.visit(partial(transaction, change, durable=False))

    async def reset(self, key: str) -> SessionInfo:
        """Begin a session anew, in a new file; settings and the old file stay.

        :raises SessionError: No such session.
        """
        new = _plain(_new(self._key(key)))
        for kept in ("label", "model", "thinking", "system_prompt", "last_target"):
            del new[kept]
        return await self._database.run(self._change(key, lambda old: new))

    async def delete(self, key: str) -> bool:
        """Forget a session and put its files aside; return whether it existed."""
        name = self._key(key)

        def work(db: sqlite3.Connection) -> bool:
            info = _find(db, name)
            db.execute("DELETE FROM sessions WHERE key = ?", (str(name),))
            for path in self._folder(name.agent_id).glob("*.jsonl"):
                is_current = info is not None and info.session_id == path.stem
                if is_current or read_header(path).get("key") == str(name):
                    path.rename(f"{path}.deleted-{int(time.time())}")
            return info is not None

        return await self._database.run(work)

    async def rebuild(self) -> None:
        """Add the sessions whose transcripts are there but not their index rows."""
        await self._database.run(self._add_files)

    def path_of(self, info: SessionInfo) -> Path:
        """Return the transcript's file; nothing of the key is in its name.

        :raises SessionError: The index is damaged.
        """
        if not _SESSION_ID.fullmatch(info.session_id):
            raise SessionError(
                f"{info.session_id!r} is no session id; reset the session"
            )
        folder = self._folder(SessionKey.parse(info.key).agent_id)
        return folder / f"{info.session_id}.jsonl"

    async def transcript(self, info: SessionInfo) -> Transcript:
        """Load the transcript of a session."""
        return await Transcript.load(self.path_of(info), info.key, fsync=self._fsync)

    def _change(
        self, key: str, change: Callable[[SessionInfo], dict[str, Any]]
    ) -> Work[SessionInfo]:
        name = self._key(key)

        def work(db: sqlite3.Connection) -> SessionInfo:
            if (info := _find(db, name)) is None:
                raise SessionError(
                    f"there is no session {str(name)!r}; see `rustyclaw sessions list`"
                )
            changed = change(info) | {"updated_at": time.time()}
            return _write(db, replace(info, **changed))

        return work

    def _key(self, key: str) -> SessionKey:
        return resolve(key, self._default_agent)

    def _folder(self, agent_id: str) -> Path:
        return self._home / "agents" / agent_id / "sessions"

    def _fill(self, db: sqlite3.Connection) -> None:
        """Rebuild an index that is empty, as after the database was lost."""
        if db.execute("SELECT 1 FROM sessions").fetchone() is None:
            self._add_files(db)

    def _add_files(self, db: sqlite3.Connection) -> None:
        newest: dict[SessionKey, tuple[float, float, str]] = {}
        for path in self._home.glob("agents/*/sessions/*.jsonl"):
            header = read_header(path)
            try:
                key = SessionKey.parse(str(header.get("key")))
                found = (float(header["time"]), path.stat().st_mtime, path.stem)
            except (SessionError, KeyError, TypeError, ValueError):
                continue  # whatever it is, its header names no session
            if path.parent == self._folder(key.agent_id) and _SESSION_ID.fullmatch(
                path.stem
            ):
                newest[key] = max(found, newest.get(key, found))
        for key, (created, updated, session_id) in newest.items():
            if _find(db, key) is None:
                info = replace(_new(key), session_id=session_id, created_at=created)
                _write(db, replace(info, updated_at=updated))


def _new(key: SessionKey) -> SessionInfo:
    now = time.time()
    return SessionInfo(
        key=str(key),
        agent_id=key.agent_id,
        session_id=sha256(f"{key} {time.time_ns()}".encode()).hexdigest()[:16],
        created_at=now,
        updated_at=now,
    )


def _find(db: sqlite3.Connection, key: SessionKey) -> SessionInfo | None:
    query = "SELECT info FROM sessions WHERE key = ?"
    row = db.execute(query, (str(key),)).fetchone()
    return _info(row[0]) if row else None


@lru_cache(maxsize=256)  # a turn reads its row twice
def _info(text: str) -> SessionInfo:
    values = json.loads(text)
    target = values.pop("last_target")
    values["last_target"] = Target(**target) if target else None
    values["usage"] = Usage(**values["usage"])
    return SessionInfo(**values)


def _write(db: sqlite3.Connection, info: SessionInfo) -> SessionInfo:
    values = _plain(info)
    db.execute(_WRITE, values | {"info": _JSON.encode(values)})
    return info


def _plain(value: SessionInfo | Usage | Target) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


_JSON = json.JSONEncoder(default=_plain)
