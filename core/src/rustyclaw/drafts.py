"""Shows an answer in a chat while it is still being written."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from rustyclaw import hookspecs
from rustyclaw.errors import Ask, Veto
from rustyclaw.messages import HookContext, Outbound, TextDelta
from rustyclaw.runs import RunEvent, ToolStarted

if TYPE_CHECKING:
    from rustyclaw.gateway import Gateway
    from rustyclaw.interfaces.channel import Channel
    from rustyclaw.messages import Inbound

logger = logging.getLogger(__name__)

_CALL_SECONDS = 15.0


class Draft:
    """What a chat is shown of one answer.

    :ivar reference: The platform's id of the draft, once there is one.
    """

    def __init__(
        self, gateway: Gateway, channel: Channel, context: HookContext, asked: Inbound
    ) -> None:
        self._gateway, self._channel = gateway, channel
        self._context, self._asked = context, asked
        self._pieces: list[str] = []
        self._begins_anew = False
        self._more = anyio.Event()
        self._ended = False
        self.reference: str | None = None

    def hear(self, event: RunEvent) -> None:
        """Take an event of the run; what is said after a tool begins a new text."""
        if isinstance(event, ToolStarted):
            self._begins_anew = True
        elif isinstance(event, TextDelta):
            if self._begins_anew:
                self._begins_anew, self._pieces = False, []
            self._pieces.append(event.text)
            self._more.set()

    def end(self) -> None:
        """Show nothing more; a call in progress comes to its end."""
        self._ended = True
        self._more.set()

    async def show(self) -> None:
        """Show the text as it grows, until it has ended or cannot be shown."""
        journal, source = self._gateway.state.journal, self._asked.source
        try:
            known = self.reference = await journal.draft(source)
            while not self._ended:
                self._more = anyio.Event()
                with anyio.fail_after(_CALL_SECONDS):
                    self.reference = await self._call()
                if self.reference and self.reference != known:
                    known = self.reference
                    await journal.keep_draft(source, known)
                await self._more.wait()
                await anyio.sleep(self._channel.capabilities.draft_seconds or 0)
        except (Veto, Ask):  # the whole answer is judged again when it is sent
            pass
        except Exception as exc:  # a channel is a plugin; the answer comes all the same
            scrub = self._gateway.config.redactor.scrub
            logger.warning("no draft of an answer to %s: %s", source, scrub(str(exc)))

    async def _call(self) -> str | None:
        """Show what there is, as the guards leave it."""
        target, text = self._asked.target, "".join(self._pieces)
        if text:
            message = await self._gateway.hooks.apply(
                hookspecs.message_sending,
                context=self._context,
                target=target,
                message=Outbound(text=text, draft=self.reference),
            )
            text = message.text[: self._channel.capabilities.text_limit]
        return await self._channel.draft(
            target, text, self.reference, self._asked.message_id
        )


@asynccontextmanager
async def drafting(
    gateway: Gateway, context: HookContext, asked: Inbound
) -> AsyncIterator[Draft | None]:
    """Show drafts of the answer to a message, if its channel can."""
    delivery = gateway.deliveries.get(asked.target.channel)
    if delivery is None or delivery.channel.capabilities.draft_seconds is None:
        yield None
        return
    draft = Draft(gateway, delivery.channel, context, asked)
    async with anyio.create_task_group() as group:
        group.start_soon(draft.show)
        yield draft
        draft.end()
