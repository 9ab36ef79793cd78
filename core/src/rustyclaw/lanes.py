"""One lane a session: its messages are answered one run after the other.

A lane is a task that lives while there is work: jobs of this process, and the
accepted messages that the journal keeps for the session.
"""

from __future__ import annotations

import logging
import secrets
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING

import anyio

from rustyclaw import hookspecs
from rustyclaw.agent.live import LiveSession
from rustyclaw.agent.turn import Incoming, Mind, Run, Turn
from rustyclaw.errors import Busy, RustyclawError, SessionError, StorageError
from rustyclaw.messages import (
    HookContext,
    Inbound,
    Message,
    RunEnded,
    RunError,
    RunEvent,
    RunResult,
    RunStarted,
    Text,
)
from rustyclaw.sessions.journal import Reply
from rustyclaw.sessions.locks import SessionLock

if TYPE_CHECKING:
    from rustyclaw.state import State

logger = logging.getLogger(__name__)

_LONGEST_PAUSE = 30.0
Publish = Callable[[str, str, RunEvent], None]
Command = Callable[[str, str], Awaitable[str | None]]


@dataclass(slots=True, kw_only=True)
class Job:
    """A run that somebody in this process waits for."""

    message: Message
    emit: Callable[[RunEvent], Awaitable[None]]
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)


@dataclass(slots=True)
class _Lane:
    key: str
    jobs: deque[Job] = field(default_factory=deque)
    woken: bool = False
    run: Run | None = None


class Lanes:
    """All lanes of a gateway.

    :param publish: Told of every event, as (session key, run id, event).
    :param wake_channel: Told that a channel has something to send.
    :param command: Answers a chat command of a session.
    """

    def __init__(
        self,
        mind: Mind,
        state: State,
        *,
        spawn: Callable[..., None],
        publish: Publish,
        wake_channel: Callable[[str], None],
        command: Command,
    ) -> None:
        self._mind = mind
        self._state = state
        self._spawn = spawn
        self._publish = publish
        self._wake_channel = wake_channel
        self._command = command
        self._lanes: dict[str, _Lane] = {}
        self._live: OrderedDict[str, LiveSession] = OrderedDict()
        self._limiter = anyio.CapacityLimiter(
            mind.config.agents.defaults.max_concurrent
        )
        self._empty = anyio.Event()

    @property
    def running(self) -> dict[str, str]:
        """Session key -> id of the run that goes on in it."""
        return {lane.key: lane.run.id for lane in self._lanes.values() if lane.run}

    def submit(self, key: str, job: Job) -> None:
        """Queue a job of this process.

        :raises Busy: The session's queue is full.
        """
        limit = self._mind.config.session.queue_limit
        if key in self._lanes and len(self._lanes[key].jobs) >= limit:
            raise Busy(f"{limit} messages wait in session {key!r} already; try later")
        self.wake(key).jobs.append(job)

    def wake(self, key: str) -> _Lane:
        """Have a session look into the inbox."""
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(key)
            self._spawn(self._work, lane)
        lane.woken = True
        return lane

    def abort(self, key: str) -> bool:
        """Abort the run of a session; return whether there was one."""
        lane = self._lanes.get(key)
        if lane is None or lane.run is None:
            return False
        lane.run.scope.cancel()
        return True

    async def drained(self) -> None:
        """Return when no lane has work."""
        while self._lanes:
            await self._empty.wait()

    # --- One lane -----------------------------------------------------------------

    async def _work(self, lane: _Lane) -> None:
        pause = 1.0
        try:
            while True:
                lane.woken = False
                try:
                    async with self._limiter:
                        busy = await self._next(lane)
                    pause = 1.0
                except (StorageError, SessionError) as exc:
                    logger.error("session %s has to wait: %s", lane.key, exc)
                    await anyio.sleep(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)
                    continue
                if not busy and not lane.woken:
                    break
        finally:
            del self._lanes[lane.key]
            self._empty.set()
            self._empty = anyio.Event()

    async def _next(self, lane: _Lane) -> bool:
        """Do the next piece of work; return whether there was one."""
        if lane.jobs:
            await self._run_job(lane, lane.jobs.popleft())
            return True
        limit = self._mind.config.session.queue_limit
        waiting = await self._state.journal.waiting(lane.key, limit)
        if waiting:
            await self._answer(lane, waiting)
        return bool(waiting)

    async def _run_job(self, lane: _Lane, job: Job) -> None:
        run_id = secrets.token_hex(8)
        try:
            async with self._locked(lane.key) as session:
                run = Run(
                    id=run_id,
                    session=session,
                    incoming=[Incoming(message=job.message)],
                    emit=self._emitter(lane.key, run_id, job.emit),
                    scope=job.scope,
                )
                await self._execute(lane, run)
        except RustyclawError as exc:
            kind = "storage" if isinstance(exc, StorageError) else "session"
            result = RunResult(
                run_id=run_id,
                session_key=lane.key,
                error=RunError(kind=kind, message=str(exc)),
            )
            await self._emitter(lane.key, run_id, job.emit)(RunEnded(result=result))

    async def _answer(self, lane: _Lane, waiting: list[Inbound]) -> None:
        """Answer the oldest accepted messages with one run and one reply."""
        first, reply = waiting[0], None
        text = await self._command(first.text, lane.key)
        if text is not None:
            batch = [first]
            reply = Reply.to(first, lane.key, text, f"{first.source}:reply")
        else:
            async with self._locked(lane.key) as session:
                answered = session.answers.get(first.source)
                batch = list(
                    takewhile(
                        lambda m: (
                            m.target == first.target
                            and not m.text.startswith("/")
                            and session.answers.get(m.source) is answered
                        ),
                        waiting,
                    )
                ) or [first]
                if answered is None:
                    await self._run_batch(lane, session, batch)
                    answered = session.answers.get(first.source)
            if answered is not None and answered.message and answered.message.text:
                reply = Reply.to(
                    batch[-1], lane.key, answered.message.text, answered.id
                )
        await self._state.journal.finish([m.source for m in batch], reply)
        self._wake_channel(first.target.channel)

    async def _run_batch(
        self, lane: _Lane, session: LiveSession, batch: list[Inbound]
    ) -> None:
        context = self._context(lane.key, batch[0].target.channel)
        for message in batch:
            await self._mind.hooks.notify(
                hookspecs.message_received, context=context, message=message
            )
        seen = {message.source for message in batch}

        async def steer() -> list[Incoming]:
            limit = self._mind.config.session.queue_limit
            waiting = await self._state.journal.waiting(lane.key, limit)
            more = [
                m
                for m in waiting
                if m.source not in seen and m.target == batch[0].target
            ]
            seen.update(m.source for m in more)
            batch.extend(more)
            return [_incoming(m) for m in more]

        run_id = secrets.token_hex(8)
        run = Run(
            id=run_id,
            session=session,
            incoming=[_incoming(message) for message in batch],
            emit=self._emitter(lane.key, run_id),
            channel=batch[0].target.channel,
            steer=steer if self._mind.config.session.queue_mode == "steer" else None,
        )
        await self._execute(lane, run)

    async def _execute(self, lane: _Lane, run: Run) -> None:
        lane.run = run
        try:
            await run.emit(RunStarted(run_id=run.id, session_key=lane.key))
            result = await Turn(self._mind, run).execute()
            await run.emit(RunEnded(result=result))
        finally:
            lane.run = None

    def _emitter(
        self,
        key: str,
        run_id: str,
        emit: Callable[[RunEvent], Awaitable[None]] | None = None,
    ) -> Callable[[RunEvent], Awaitable[None]]:
        async def both(event: RunEvent) -> None:
            self._publish(key, run_id, event)
            if emit is not None:
                await emit(event)

        return both

    def _context(self, key: str, channel: str = "") -> HookContext:
        return HookContext(agent_id=key.split(":")[1], session_key=key, channel=channel)

    # --- Sessions in memory -------------------------------------------------------

    @asynccontextmanager
    async def _locked(self, key: str) -> AsyncIterator[LiveSession]:
        """Open a session for writing; no other process writes it meanwhile."""
        session = self._live.get(key)
        is_new = session is None
        if session is None:
            session = await LiveSession.open(self._state.sessions, key)
        timeout = self._mind.config.session.lock_timeout_seconds
        async with SessionLock(session.transcript.path, timeout_seconds=timeout):
            await session.reload()
            self._live[key] = session
            self._live.move_to_end(key)
            if is_new:
                await self._mind.hooks.notify(
                    hookspecs.session_start,
                    context=self._context(key),
                    resumed=bool(session.transcript.entries),
                )
            yield session
        while len(self._live) > self._mind.config.session.max_cached:
            self._live.popitem(last=False)

    async def reset(self, key: str, reason: str) -> None:
        """Begin a session anew, or delete it; waits for its run to end."""
        context = self._context(key)
        async with self._locked(key):
            await self._mind.hooks.notify(
                hookspecs.before_reset, context=context, reason=reason
            )
            if reason == "delete":
                await self._state.sessions.delete(key)
            else:
                await self._state.sessions.reset(key)
        await self.end_session(key, reason)

    async def end_session(self, key: str, reason: str) -> None:
        """Forget a session, after it was reset or deleted, or at the end."""
        if self._live.pop(key, None) is not None:
            await self._mind.hooks.notify(
                hookspecs.session_end, context=self._context(key), reason=reason
            )

    async def end_all(self) -> None:
        """Tell the hooks that all sessions in use end with the gateway."""
        for key in list(self._live):
            await self.end_session(key, "shutdown")


def _incoming(message: Inbound) -> Incoming:
    """Return an inbound message as a user's; a group's names who speaks."""
    text, sender = message.text, message.sender
    if message.target.chat_type != "dm":
        text = f"[{sender.name or sender.username or sender.id}] {text}"
    blocks = (Text(text=text), *message.media) if text else message.media
    return Incoming(message=Message(role="user", content=blocks), source=message.source)
