"""The sessions that are in use: in memory, and each written by one at a time."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from rustyclaw import hookspecs
from rustyclaw.agent.live import LiveSession
from rustyclaw.agent.turn import Run, Turn
from rustyclaw.messages import CompactionResult, HookContext, Message
from rustyclaw.runs import Reports
from rustyclaw.sessions.entries import Entry
from rustyclaw.sessions.locks import SessionLock

if TYPE_CHECKING:
    from rustyclaw.agent.turn import Mind
    from rustyclaw.sessions.store import SessionStore


class LiveSessions:
    """The sessions of a gateway that were used not long ago."""

    def __init__(self, sessions: SessionStore, mind: Mind) -> None:
        self._sessions, self._mind = sessions, mind
        self._config = mind.config.session
        self._open: OrderedDict[str, LiveSession] = OrderedDict()
        self._begun: set[str] = set()

    @asynccontextmanager
    async def locked(self, key: str) -> AsyncIterator[LiveSession]:
        """Open a session for writing; no other process writes it meanwhile."""
        session = self._open.get(key)
        if session is None:
            session = await LiveSession.open(self._sessions, key)
        path, timeout = session.transcript.path, self._config.lock_timeout_seconds
        async with SessionLock(path, timeout_seconds=timeout, then=session.look):
            await session.reload()
            self._open[key] = session
            self._open.move_to_end(key)
            if key not in self._begun:
                self._begun.add(key)
                resumed = bool(session.transcript.entries)
                await self._mind.hooks.notify(
                    hookspecs.session_start, context=context_of(key), resumed=resumed
                )
            yield session
        while len(self._open) > self._config.max_cached:
            self._open.popitem(last=False)

    async def inject(self, key: str, message: Message) -> str:
        """Append a message that no run has made; waits for the session's run to end."""
        entry = Entry.of(message, synthetic=True)
        async with self.locked(key) as session:
            await session.append(entry, sync=True)
        return entry.id

    async def compact(
        self, key: str, instructions: str, keep: int | None
    ) -> CompactionResult | None:
        """Shorten a session; waits for its run to end."""
        async with self.locked(key) as session:
            run_id = secrets.token_hex(8)
            run = Run(id=run_id, session=session, incoming=[], reports=Reports())
            return await Turn(self._mind, run).compact(instructions, keep)

    async def reset(self, key: str, reason: str) -> None:
        """Begin a session anew, or delete it; waits for its run to end."""
        async with self.locked(key):
            await self._mind.hooks.notify(
                hookspecs.before_reset, context=context_of(key), reason=reason
            )
            if reason == "delete":
                await self._sessions.delete(key)
            else:
                await self._sessions.reset(key)
        await self._end_session(key, reason)

    async def end_all(self) -> None:
        """Tell the hooks that all sessions in use end with the gateway."""
        for key in sorted(self._begun):
            await self._end_session(key, "shutdown")

    async def _end_session(self, key: str, reason: str) -> None:
        self._open.pop(key, None)
        self._begun.discard(key)
        await self._mind.hooks.notify(
            hookspecs.session_end, context=context_of(key), reason=reason
        )


def context_of(key: str, channel: str = "") -> HookContext:
    """Return where hooks fire that belong to no run."""
    return HookContext(agent_id=key.split(":")[1], session_key=key, channel=channel)
