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
    from rustyclaw.messages import Inbound

logger = logging.getLogger(__name__)

_CALL_SECONDS = 15.0


class Draft:
    """What a chat is shown of one answer.

    :ivar reference: The platform's id of the draft, once there is one.
    """

    def __init__(self, gateway: Gateway, context: HookContext, asked: Inbound) -> None:
        self._gateway, self._context, self._asked = gateway, context, asked
        self._source = asked.source
        self._delivery = gateway.deliveries[asked.target.channel]
        self._pieces: list[str] = []
        self._begins_anew = False
        self._more, self._ended, self._gone = (anyio.Event() for _ in range(3))
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

    async def end(self) -> None:
        """Show nothing more; a call in progress comes to its end."""
        self._ended.set()
        self._more.set()
        await self._gone.wait()

    async def show(self) -> None:
        """Show the text as it grows, until it has ended or cannot be shown."""
        try:
            await self._show()
        except (Veto, Ask):  # the whole answer is judged again when it is sent
            pass
        except Exception as exc:  # a channel is a plugin; the answer comes all the same
            problem = self._gateway.config.redactor.scrub(str(exc) or repr(exc))
            logger.warning("no draft of the answer to %s: %s", self._source, problem)
        finally:
            self._gone.set()

    async def _show(self) -> None:
        journal, channel = self._gateway.state.journal, self._delivery.channel
        self.reference = await journal.draft(self._source)
        shown = "" if self.reference else None
        while not self._ended.is_set():
            self._more = anyio.Event()
            # the draft is on the disk before it holds a word
            text = "" if shown is None else "".join(self._pieces).strip()
            is_new = shown is None or text not in ("", shown)
            if not (is_new and self._delivery.shows_drafts):
                await self._more.wait()
                continue
            with anyio.fail_after(_CALL_SECONDS):
                reference = await self._call(text)
            shown = text
            if reference and reference != self.reference:
                self.reference = reference
                await journal.keep_draft(self._source, reference)
            with anyio.move_on_after(channel.capabilities.draft_seconds):
                await self._ended.wait()

    async def _call(self, text: str) -> str | None:
        """Show a text as the guards leave it."""
        target, channel = self._asked.target, self._delivery.channel
        if text:
            message = await self._gateway.hooks.apply(
                hookspecs.message_sending,
                context=self._context,
                target=target,
                message=Outbound(text=text, draft=self.reference),
            )
            text = message.text[: channel.capabilities.text_limit]
            if not text:
                return None
        return await channel.draft(target, text, self.reference, self._asked.message_id)


@asynccontextmanager
async def drafting(
    gateway: Gateway, context: HookContext, asked: Inbound
) -> AsyncIterator[Draft | None]:
    """Show drafts of the answer to a message, if its channel can."""
    delivery = gateway.deliveries.get(asked.target.channel)
    if delivery is None or delivery.channel.capabilities.draft_seconds is None:
        yield None
        return
    draft = Draft(gateway, context, asked)
    gateway.spawn(draft.show)
    try:
        yield draft
    finally:
        await draft.end()
