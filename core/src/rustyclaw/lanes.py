"""One lane a session: its messages are answered one run after the other.

A lane is a task that lives while there is work: jobs, which somebody in this process
waits for or the run journal keeps, and the accepted messages of the inbox.
"""

from __future__ import annotations

import logging
import secrets
from collections import deque
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING

import anyio

from rustyclaw import hookspecs
from rustyclaw.agent.recovery import run_error
from rustyclaw.agent.turn import Incoming, Mind, Run, Turn
from rustyclaw.drafts import Draft, drafting
from rustyclaw.errors import Busy, RustyclawError, StorageError
from rustyclaw.live_sessions import context_of
from rustyclaw.messages import Inbound, Message, Outbound, Text, Usage
from rustyclaw.runs import (
    ActiveRun,
    Reports,
    RunEnded,
    RunError,
    RunEvent,
    RunRequest,
    RunResult,
    RunStarted,
)
from rustyclaw.sessions.entries import Entry
from rustyclaw.sessions.journal import Reply

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectSendStream

    from rustyclaw.agent.live import LiveSession
    from rustyclaw.gateway import Gateway
    from rustyclaw.live_sessions import LiveSessions

logger = logging.getLogger(__name__)

_LONGEST_PAUSE = 30.0
#: A run that was cut off so often is to blame for it.
_MOST_RESTARTS = 20
_GIVEN_UP = "[given up: the gateway stopped again and again while it worked on this]"


@dataclass(slots=True, kw_only=True)
class Job:
    """A run that was asked for by code, not by a message in the inbox.

    :param events: For one in this process who waits; without it, the run is one of
        the run journal.
    :param resumes: An earlier process had it, and may have begun.
    """

    request: RunRequest
    events: MemoryObjectSendStream[RunEvent] | None = None
    resumes: bool = False
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self.request.run_id


@dataclass(slots=True)
class _Lane:
    key: str
    jobs: deque[Job] = field(default_factory=deque)
    woken: bool = False
    job: Job | None = None
    run: Run | None = None


class Lanes:
    """All lanes of a gateway."""

    def __init__(self, gateway: Gateway, mind: Mind, live: LiveSessions) -> None:
        self._gateway, self._mind, self._live = gateway, mind, live
        self._config = mind.config.session
        self._journal, self._runs = gateway.state.journal, gateway.state.runs
        self._lanes: dict[str, _Lane] = {}
        self._running = anyio.Semaphore(
            mind.config.agents.defaults.max_concurrent, fast_acquire=True
        )
        self._empty = anyio.Event()

    def check_room(self, key: str) -> None:
        """Check that a session's queue has room for a job.

        :raises Busy: It is full.
        """
        limit = self._config.queue_limit
        if key in self._lanes and len(self._lanes[key].jobs) >= limit:
            raise Busy(f"{limit} messages wait in session {key!r} already; try later")

    def submit(self, job: Job) -> None:
        """Queue a job."""
        self._lane(job.request.session).jobs.append(job)

    def wake(self, key: str) -> None:
        """Have a session look into the inbox."""
        self._lane(key).woken = True

    def _lane(self, key: str) -> _Lane:
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(key)
            self._gateway.spawn(self._work, lane)
        return lane

    def abort(self, key: str, run_id: str = "") -> bool:
        """Abort the run of a session; return whether there was one.

        :param run_id: Only this one, which may also wait for its turn.
        """
        lane = self._lanes.get(key)
        if lane is None:
            return False
        waiting = [job for job in lane.jobs if job.run_id == run_id]
        for job in waiting:
            lane.jobs.remove(job)
            result = RunResult(run_id=run_id, session_key=key, aborted=True)
            self._gateway.feed.publish(key, run_id, ended := RunEnded(result=result))
            if job.events is None:
                self._gateway.spawn(self._runs.finish, run_id)
                continue
            with job.events, suppress(anyio.BrokenResourceError):
                job.events.send_nowait(ended)
        if lane.job is not None and run_id in ("", lane.job.run_id):
            lane.job.scope.cancel()  # it may still wait for another process
        elif lane.run is not None and run_id in ("", lane.run.id):
            lane.run.scope.cancel()
        else:
            return bool(waiting)
        return True

    def active(self) -> list[ActiveRun]:
        """Return the runs in progress."""
        return [
            ActiveRun(
                run_id=lane.run.id,
                session_key=lane.key,
                channel=lane.run.context.channel,
                started_at=lane.run.started_at,
            )
            for lane in self._lanes.values()
            if lane.run is not None
        ]

    async def drained(self) -> None:
        """Return when no lane has work."""
        while self._lanes:
            await self._empty.wait()

    # --- One lane -----------------------------------------------------------------

    async def _work(self, lane: _Lane) -> None:
        pause = 1.0
        try:
            while lane.jobs or lane.woken:
                try:
                    async with self._running:
                        await self._next(lane)
                    pause = 1.0
                except Exception as exc:  # the message stays accepted
                    lane.woken = True
                    trace = None if isinstance(exc, RustyclawError) else exc
                    problem = "session %s has to wait: %s"
                    logger.error(problem, lane.key, exc, exc_info=trace)
                    await anyio.sleep(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)
        finally:
            del self._lanes[lane.key]
            for job in lane.jobs:
                if job.events is not None:
                    job.events.close()
            self._empty.set()
            self._empty = anyio.Event()

    async def _next(self, lane: _Lane) -> None:
        """Do the next piece of work; ``woken`` stays while the inbox has more."""
        if lane.jobs:
            lane.job = lane.jobs.popleft()
            try:
                await self._run_job(lane, lane.job)
            finally:
                lane.job = None
            return
        lane.woken = False
        if waiting := await self._waiting(lane.key):
            await self._answer(lane, waiting)
            lane.woken = True

    async def _waiting(self, key: str) -> list[Inbound]:
        return await self._journal.waiting(key, self._config.queue_limit)

    async def _run_job(self, lane: _Lane, job: Job) -> None:
        reports = self._reports(lane.key, job.run_id, job.events)
        result = RunResult(run_id=job.run_id, session_key=lane.key, aborted=True)
        with job.events or nullcontext():
            try:
                async with self._live.locked(lane.key) as session:
                    result = await self._do(lane, job, session, reports) or result
            except Exception as exc:
                logger.debug("run %s failed", job.run_id, exc_info=True)
                error = run_error(exc, self._mind.config.redactor.scrub)
                result = replace(result, aborted=False, error=error)
            await reports.emit(RunEnded(result=result))
        if job.events is None:
            await self._close_request(job.request, result)

    async def _do(
        self, lane: _Lane, job: Job, session: LiveSession, reports: Reports
    ) -> RunResult | None:
        """Run a job, unless it was run before or was aborted meanwhile."""
        request, source = job.request, job.request.source
        if job.resumes and source in session.sources:
            if answer := session.answers.get(source):
                return result_of(answer, request)
            if await self._runs.count_restart(job.run_id) > _MOST_RESTARTS:
                note = Message.assistant(_GIVEN_UP)
                answer = Entry.of(note, answers=(source,), synthetic=True)
                await session.append(answer, sync=True)
                return result_of(answer, request)
        if job.scope.cancel_called:
            return None
        incoming = Incoming(
            message=request.message, source=source if job.events is None else None
        )
        run = Run(
            id=job.run_id,
            session=session,
            incoming=[incoming],
            reports=reports,
            options=request.options,
            scope=job.scope,
        )
        return await self._execute(lane, run)

    async def _close_request(self, request: RunRequest, result: RunResult) -> None:
        """Have a run that was journalled not begin again; send its answer, if asked."""
        reply = None
        if request.target is not None and result.text:
            message = Outbound(id=request.source, text=result.text)
            reply = Reply(
                session=request.session, target=request.target, message=message
            )
        try:
            await self._runs.finish(request.run_id, reply)
        except StorageError as exc:  # the transcript knows that it has ended
            logger.error("run %s ended, but stays open: %s", request.run_id, exc)
            return
        if reply and (delivery := self._gateway.deliveries.get(reply.target.channel)):
            delivery.wake()

    async def _answer(self, lane: _Lane, waiting: list[Inbound]) -> None:
        """Answer the oldest accepted messages with one run and one reply."""
        first, batch, reply = waiting[0], waiting[:1], None
        delivery = self._gateway.deliveries.get(first.target.channel)
        draft: str | None = None
        await self._received(lane.key, batch)
        text = await self._gateway.command(first.text, lane.key)
        if text is not None:
            reply = Reply.to(first, lane.key, text)
        else:
            async with self._live.locked(lane.key) as session:
                answered = session.answers.get(first.source)
                batch += takewhile(
                    lambda m: (
                        _goes_with(first, m)
                        and session.answers.get(m.source) is answered
                    ),
                    waiting[1:],
                )
                if answered is None:
                    draft = await self._run_batch(lane, session, batch)
                    answered = session.answers.get(first.source)
                else:  # from before a crash
                    draft = await self._journal.draft(first.source)
            if answered is not None and answered.message and answered.message.text:
                text = answered.message.text
                reply = Reply.to(batch[-1], lane.key, text, answered.id, draft)
        await self._journal.finish([m.source for m in batch], reply)
        if delivery is not None and reply is None:
            await delivery.take_back(first.target, draft)
        elif delivery is not None:
            delivery.wake()

    async def _run_batch(
        self, lane: _Lane, session: LiveSession, batch: list[Inbound]
    ) -> str | None:
        """Answer a batch; return the draft that the chat was shown meanwhile."""
        await self._received(lane.key, batch[1:])

        async def steer() -> list[Incoming]:
            known = {message.source for message in batch}
            new = (m for m in await self._waiting(lane.key) if m.source not in known)
            more = list(takewhile(lambda m: _goes_with(batch[0], m), new))
            await self._received(lane.key, more)
            batch.extend(more)
            return [_incoming(m) for m in more]

        run_id = secrets.token_hex(8)
        target = batch[0].target
        context = context_of(lane.key, target.channel)
        async with drafting(self._gateway, context, batch[0]) as draft:
            run = Run(
                id=run_id,
                session=session,
                incoming=[_incoming(message) for message in batch],
                reports=self._reports(lane.key, run_id, draft=draft),
                target=target,
                steer=steer if self._config.queue_mode == "steer" else None,
            )
            result = await self._execute(lane, run)
            await run.reports.emit(RunEnded(result=result))
        return draft.reference if draft else None

    async def _received(self, key: str, messages: list[Inbound]) -> None:
        for message in messages:
            await self._mind.hooks.notify(
                hookspecs.message_received,
                context=context_of(key, message.target.channel),
                message=message,
            )

    async def _execute(self, lane: _Lane, run: Run) -> RunResult:
        lane.run = run
        try:
            await run.reports.emit(RunStarted(run_id=run.id, session_key=lane.key))
            return await Turn(self._mind, run).execute()
        finally:
            lane.run = None

    def _reports(
        self,
        key: str,
        run_id: str,
        events: MemoryObjectSendStream[RunEvent] | None = None,
        draft: Draft | None = None,
    ) -> Reports:
        watchers = [partial(self._gateway.feed.publish, key, run_id)]
        return Reports([*watchers, draft.hear] if draft else watchers, events)


def result_of(answer: Entry | None, request: RunRequest) -> RunResult:
    """Return what the transcript knows of a run that has ended."""
    if answer is None:  # it never began, or its session was reset
        return RunResult(
            run_id=request.run_id, session_key=request.session, aborted=True
        )
    text = answer.message.text if answer.message else ""
    failed = RunError(kind="internal", message=text)
    return RunResult(
        run_id=request.run_id,
        session_key=request.session,
        text="" if answer.synthetic else text,
        stop_reason=answer.stop_reason or "stop",
        usage=answer.usage or Usage(),
        model=answer.model or "",
        error=failed if answer.synthetic else None,
    )


def _goes_with(first: Inbound, other: Inbound) -> bool:
    """Return whether a later message may be answered together with the first."""
    return other.target == first.target and not other.text.startswith("/")


def _incoming(message: Inbound) -> Incoming:
    """Return an inbound message as a user's; a group's names who speaks."""
    text, sender = message.text, message.sender
    if message.target.chat_type != "dm":
        text = f"[{sender.name or sender.username or sender.id}] {text}"
    blocks = (Text(text=text), *message.media) if text else message.media
    return Incoming(message=Message(role="user", content=blocks), source=message.source)
