"""Sends the replies of the outbox: in order, each exactly once if it can be known."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio

from rustyclaw import hookspecs
from rustyclaw.approvals import Approval
from rustyclaw.errors import Ask, ChannelError, StorageError, Veto
from rustyclaw.messages import HookContext, Outbound, Sent

if TYPE_CHECKING:
    from rustyclaw.approvals import Approvals
    from rustyclaw.hooks import Hooks
    from rustyclaw.interfaces.channel import Channel
    from rustyclaw.sessions.journal import Journal, OutboxState, Reply

logger = logging.getLogger(__name__)

_SEND_SECONDS = 60.0
_MAX_ATTEMPTS = 5
_LONGEST_PAUSE = 30.0


class Delivery:
    """The sender of one channel."""

    def __init__(
        self,
        name: str,
        channel: Channel,
        journal: Journal,
        hooks: Hooks,
        asks: Approvals,
    ) -> None:
        self._name = name
        self.channel = channel
        self._journal = journal
        self._hooks = hooks
        self._approvals = asks
        self._more = anyio.Event()
        self._idle = anyio.Event()

    def wake(self) -> None:
        """Have the sender look into the outbox."""
        self._idle = anyio.Event()
        self._more.set()

    async def drained(self) -> None:
        """Return when there is nothing left to send."""
        await self._idle.wait()

    async def run(self) -> None:
        """Send until cancelled."""
        pause = 1.0
        while True:
            self._more = anyio.Event()
            try:
                reply = await self._journal.next_reply(self._name)
                if reply is None:
                    if not self._more.is_set():
                        self._idle.set()
                    await self._more.wait()
                    continue
                done = await self._deliver(reply)
            except StorageError as exc:
                logger.error("channel %r cannot send: %s", self._name, exc)
                done = False
            if done:
                pause = 1.0
            else:
                await anyio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _deliver(self, reply: Reply) -> bool:
        """Try to send one reply; return ``False`` to try again after a pause."""
        context = HookContext(
            agent_id=reply.session.split(":")[1],
            session_key=reply.session,
            channel=self._name,
        )
        repeatable = self.channel.capabilities.idempotent_send
        if reply.state == "sending" and not repeatable:
            await self._give_up(context, reply, "unknown", "a crash hid the outcome")
            return True
        try:
            message = await self._judged(context, reply)
        except Veto as veto:
            await self._give_up(context, reply, "vetoed", veto.reason)
            return True
        parts = split_text(message.text, self.channel.capabilities.text_limit)
        sent = Sent()
        while reply.parts < len(parts):
            reply = await self._journal.mark(reply, "sending")
            try:
                with anyio.fail_after(_SEND_SECONDS):
                    sent = await self.channel.send(
                        reply.target, _part(message, parts, reply.parts)
                    )
            except ChannelError as exc:
                if exc.permanent or reply.attempts >= _MAX_ATTEMPTS:
                    await self._give_up(context, reply, "failed", str(exc))
                    return True
                await self._journal.mark(reply, "pending", error=str(exc))
                return False
            except Exception as exc:
                problem = f"{type(exc).__name__}: {exc}"
                logger.exception("channel %r failed to send", self._name)
                if not repeatable or reply.attempts >= _MAX_ATTEMPTS:
                    await self._give_up(context, reply, "unknown", problem)
                    return True
                return False
            state: OutboxState = "sent" if reply.parts + 1 == len(parts) else "pending"
            reply = await self._journal.mark(reply, state, parts=reply.parts + 1)
        await self._hooks.notify(
            hookspecs.message_sent,
            context=context,
            target=reply.target,
            message=message,
            sent=sent,
            error=None,
        )
        return True

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
            await self._approvals.require(
                Approval(context=context, subject=message, reason=asked.reason)
            )
        return replace(message, id=reply.message.id)

    async def _give_up(
        self, context: HookContext, reply: Reply, state: OutboxState, why: str
    ) -> None:
        logger.warning(
            "reply %s to %r: %s: %s", reply.message.id, self._name, state, why
        )
        await self._journal.mark(reply, state, error=why)
        await self._hooks.notify(
            hookspecs.message_sent,
            context=context,
            target=reply.target,
            message=reply.message,
            sent=None,
            error=why,
        )


def _part(message: Outbound, parts: list[str], index: int) -> Outbound:
    """Return one piece of a message; media goes with the last, the quote first."""
    return replace(
        message,
        text=parts[index],
        media=message.media if index + 1 == len(parts) else (),
        reply_to=message.reply_to if index == 0 else None,
        id=message.id if len(parts) == 1 else f"{message.id}.{index}",
    )


def split_text(text: str, limit: int) -> list[str]:
    """Split a text into pieces of at most ``limit`` characters.

    It is cut at the last paragraph, line or space in the second half of a piece.
    """
    pieces = []
    while len(text) > limit:
        window = text[:limit]
        cut = next(
            (
                at
                for mark in ("\n\n", "\n", " ")
                if (at := window.rfind(mark)) > limit / 2
            ),
            limit,
        )
        pieces.append(text[:cut].rstrip())
        text = text[cut:].lstrip()
    return [*pieces, text]
