"""Keeps a channel running, and sends its replies: in order, each exactly once."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from time import time
from typing import TYPE_CHECKING

import anyio

from rustyclaw import hookspecs
from rustyclaw.agent.models import entered
from rustyclaw.approvals import Approval
from rustyclaw.errors import Ask, ChannelError, StorageError, Veto
from rustyclaw.messages import HookContext, Outbound, Sent

if TYPE_CHECKING:
    from rustyclaw.gateway import Gateway
    from rustyclaw.interfaces.channel import Channel
    from rustyclaw.messages import Target
    from rustyclaw.sessions.journal import OutboxState, Reply

logger = logging.getLogger(__name__)

_SEND_SECONDS = 60.0
_HEALTHY_SECONDS = 60.0
_MAX_ATTEMPTS = 5
_LONGEST_PAUSE = 30.0


@dataclass(slots=True, kw_only=True)
class ChannelStatus:
    """How a channel is doing; times in seconds since the epoch.

    :param state: ``starting``, ``connected``, ``ended``, ``failed`` or ``stopped``.
    :param since: When it was connected last.
    """

    state: str = "starting"
    error: str = ""
    since: float | None = None
    last_message: float | None = None
    last_sent: float | None = None


class Delivery:
    """One channel, and the sender of its replies.

    :ivar closing: The gateway drains: the channel is not started again.
    :ivar is_up: The channel is entered, so that it may send.
    """

    def __init__(self, name: str, channel: Channel, gateway: Gateway) -> None:
        self._name, self.channel, self._gateway = name, channel, gateway
        self.status = gateway.channels[name]
        self.closing = False
        self._journal, self._hooks = gateway.state.journal, gateway.hooks
        self._scrub = gateway.config.redactor.scrub
        self._more = anyio.Event()
        self._sending = anyio.Lock()
        self.is_up = False
        self._running: tuple[anyio.CancelScope, anyio.Event] | None = None
        self._pause = anyio.CancelScope()

    def start(self) -> None:
        """Run the channel; one that has failed does not wait for its next attempt."""
        self._pause.cancel()
        if self._running is None:
            self._running = anyio.CancelScope(), anyio.Event()
            self.status.state, self.status.error = "starting", ""
            self._gateway.spawn(self._keep, *self._running)

    async def stop(self) -> None:
        """Stop the channel until it is started again; what is to be sent waits.

        Returns when the channel has left; a send in progress comes to its end.
        """
        if self._running is not None:
            scope, gone = self._running
            async with self._sending:
                scope.cancel()
            await gone.wait()

    async def _keep(self, scope: anyio.CancelScope, gone: anyio.Event) -> None:
        try:
            with scope:
                await self._run()
        finally:
            self._running = None
            self.status.state, self.status.error = "stopped", ""
            gone.set()

    async def _run(self) -> None:
        """Run the channel; when it breaks, again after a growing pause."""
        pause = 1.0
        while not self.closing:
            started = anyio.current_time()
            try:
                async with entered(self.channel), anyio.create_task_group() as group:
                    group.start_soon(self._send_all)
                    await self._receive()
            except Exception as exc:
                problem = self._scrub(str(innermost(exc)) or repr(innermost(exc)))
                self.status.state, self.status.error = "failed", problem
                if anyio.current_time() - started > _HEALTHY_SECONDS:
                    pause = 1.0
                text = "channel %r failed: %s; again in %g s"
                logger.error(text, self._name, problem, pause)
            with anyio.CancelScope() as self._pause:
                await anyio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _receive(self) -> None:
        self.status.state, self.status.error = "connected", ""
        self.status.since = time()
        try:
            await self.channel.run(self._gateway)
            self.status.state = "ended"
        except Exception:
            if not self.closing:
                async with self._sending:  # a send in progress ends before we leave
                    raise
        await anyio.sleep_forever()  # it may still send

    @property
    def shows_drafts(self) -> bool:
        """Whether `Channel.draft` may be called now."""
        return self.is_up and self.channel.capabilities.draft_seconds is not None

    async def take_back(self, target: Target, draft: str | None) -> None:
        """Have a draft vanish, since no message takes its place."""
        if draft is None or not self.shows_drafts:
            return
        try:
            with anyio.fail_after(_SEND_SECONDS):
                await self.channel.draft(target, "", draft, None)
        except Exception as exc:  # a channel is a plugin
            problem = self._scrub(str(exc) or repr(exc))
            logger.warning("channel %r, draft %r stays: %s", self._name, draft, problem)

    def wake(self) -> None:
        """Have the sender look into the outbox."""
        self._more.set()

    async def drained(self) -> None:
        """Return when there is nothing left that could be sent now."""
        while self.is_up and await self._journal.next_reply(self._name):  # noqa: ASYNC110 - what is left stands in the database
            await anyio.sleep(0.05)
        async with self._sending:
            pass

    async def _send_all(self) -> None:
        """Send until cancelled."""
        self.is_up, pause = True, 1.0
        try:
            while True:
                self._more = anyio.Event()
                try:
                    reply = await self._journal.next_reply(self._name)
                    done = reply is None or await self._deliver(reply)
                except StorageError as exc:
                    logger.error("channel %r cannot send: %s", self._name, exc)
                    reply, done = None, False
                if not done:
                    await anyio.sleep(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)
                elif reply is None:
                    await self._more.wait()
                else:
                    pause = 1.0
        finally:
            self.is_up = False

    async def _deliver(self, reply: Reply) -> bool:
        """Try to send one reply; return ``False`` to try again after a pause."""
        context = HookContext(
            agent_id=reply.session.split(":")[1],
            session_key=reply.session,
            channel=self._name,
        )
        repeatable = self.channel.capabilities.idempotent_send
        if reply.state == "sending" and not repeatable:
            problem = "the gateway stopped while it was sent"
            await self._end(context, replace(reply, state="unknown"), error=problem)
            return True
        if not (reply.attempts or reply.parts):  # else the guards have judged it
            try:
                message = await self._judged(context, reply)
            except Veto as veto:
                vetoed = replace(reply, state="vetoed")
                await self._end(context, vetoed, error=veto.reason)
                await self.take_back(reply.target, reply.message.draft)
                return True
            reply = replace(reply, message=message)
        parts = split_text(reply.message.text, self.channel.capabilities.text_limit)
        async with self._sending:
            return await self._send(context, reply, parts)

    async def _send(self, context: HookContext, reply: Reply, parts: list[str]) -> bool:
        """Send the parts that are left."""
        while True:
            reply = replace(reply, state="sending", attempts=reply.attempts + 1)
            await self._journal.save(reply)
            try:
                with anyio.fail_after(_SEND_SECONDS):
                    piece = _part(reply.message, parts, reply.parts)
                    sent = await self.channel.send(reply.target, piece)
            except Exception as exc:
                is_refused = isinstance(exc, ChannelError)
                state: OutboxState
                again = self.channel.capabilities.idempotent_send
                problem = f"{type(exc).__name__}: {exc}"
                if isinstance(exc, ChannelError):  # surely not sent
                    again, problem = not exc.permanent, str(exc)
                problem = self._scrub(problem)
                if again and reply.attempts < _MAX_ATTEMPTS:
                    logger.warning("channel %r, send: %s", self._name, problem)
                    state = "pending" if is_refused else "sending"
                    await self._journal.save(replace(reply, state=state), problem)
                    return False
                state = "failed" if is_refused else "unknown"
                await self._end(context, replace(reply, state=state), error=problem)
                return True
            reply = replace(reply, state="pending", parts=reply.parts + 1, attempts=0)
            if reply.parts >= len(parts):
                self.status.last_sent = time()
                await self._end(context, replace(reply, state="sent"), sent=sent)
                return True
            await self._journal.save(reply)

    async def _judged(self, context: HookContext, reply: Reply) -> Outbound:
        try:
            message = await self._hooks.apply(
                hookspecs.message_sending,
                context=context,
                target=reply.target,
                message=reply.message,
            )
        except Ask as asked:
            value = asked.value
            message = value if isinstance(value, Outbound) else reply.message
            await self._gateway.approvals.require(
                Approval(
                    context=context, subject=message, reason=asked.reason, key=asked.key
                )
            )
        return replace(message, id=reply.message.id, draft=reply.message.draft)

    async def _end(
        self,
        context: HookContext,
        reply: Reply,
        *,
        sent: Sent | None = None,
        error: str | None = None,
    ) -> None:
        """Keep how a reply ended, and tell the hooks."""
        if error is not None:
            text = "reply %s to %r: %s: %s"
            logger.warning(text, reply.message.id, self._name, reply.state, error)
        await self._journal.save(reply, error)
        await self._hooks.notify(
            hookspecs.message_sent,
            context=context,
            target=reply.target,
            message=reply.message,
            sent=sent,
            error=error,
        )


def innermost(error: BaseException) -> BaseException:
    """Return what went wrong, out of the groups that task groups wrap it in."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _part(message: Outbound, parts: list[str], index: int) -> Outbound:
    """Return one piece of a message; media goes with the last, the rest first."""
    return replace(
        message,
        text=parts[index],
        media=message.media if index + 1 == len(parts) else (),
        reply_to=message.reply_to if index == 0 else None,
        draft=message.draft if index == 0 else None,
        id=message.id if len(parts) == 1 else f"{message.id}.{index}",
    )


def split_text(text: str, limit: int) -> list[str]:
    """Split a text into pieces of at most ``limit`` characters.

    It is cut at the last paragraph, line or space in the second half of a piece.
    """
    pieces = []
    while len(text) > limit:
        window = text[: limit + 1]  # the space after a full piece counts
        cuts = (window.rfind(mark) for mark in ("\n\n", "\n", " "))
        cut = next((at for at in cuts if at >= limit / 2), limit)
        pieces.append(text[:cut].rstrip())
        text = text[cut:].lstrip()
    return [piece for piece in (*pieces, text) if piece] or [""]
