"""Telegram as a channel: one bot or several."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import anyio
from rustyclaw import (
    Capabilities,
    Channel,
    ChannelError,
    Inbox,
    Outbound,
    Route,
    Sent,
    Target,
)

from rustyclaw_telegram.api import BotApi, TelegramError, Transport
from rustyclaw_telegram.config import TelegramConfig
from rustyclaw_telegram.probing import probe
from rustyclaw_telegram.receiving import Receiver
from rustyclaw_telegram.sending import Dispatcher
from rustyclaw_telegram.store import Store

logger = logging.getLogger(__name__)

#: An update with a message of 4096 escaped characters, and the one it replies to.
_MAX_BODY = 262_144


class TelegramChannel(Channel):
    """Private chats, groups and topics of one bot or several.

    ``text_limit`` is more than a message holds: it is split here, where the marks of
    Markdown are known. ``idempotent_send`` is no gift of Telegram's: `sending` says
    how a repeated send is made harmless.
    """

    Config = TelegramConfig
    capabilities = Capabilities(
        text_limit=40_000, media=True, idempotent_send=True, draft_seconds=1.0
    )

    def __init__(self, config: TelegramConfig | None = None) -> None:
        super().__init__(config)
        settings: TelegramConfig = self.config
        proxy = settings.proxy.get_secret_value() if settings.proxy else None
        self._store, self._transport = Store(), Transport(proxy=proxy)
        self._stack = AsyncExitStack()
        self._receivers: dict[str, Receiver] = {}
        self._dispatchers: dict[str, Dispatcher] = {}
        for name, token in settings.tokens.items():
            api = BotApi(self._transport, settings.base_url, token)
            self._receivers[name] = Receiver(name, api, self._store, settings)
            self._dispatchers[name] = Dispatcher(api, self._store, settings)

    async def __aenter__(self) -> Self:
        """Open the file; Telegram is not called yet.

        :raises StorageError: The file cannot be used.
        """
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._store.close)
            await self._store.open(self.folder / "telegram.db")
            await stack.enter_async_context(self._transport)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connections and the file."""
        await self._stack.aclose()

    async def probe(self) -> str:
        """Ask Telegram who each bot is, without a poll.

        :raises ChannelError: A token is not valid, or Telegram cannot be reached.
        """
        return await probe(self.config)

    async def run(self, inbox: Inbox) -> None:
        """Receive for all bots until cancelled.

        :raises ChannelError: No token is valid.
        """
        self._warn_of_names()
        async with anyio.create_task_group() as group:
            for receiver in self._receivers.values():
                group.start_soon(self._receive, receiver, inbox)
        problems = (f"account {r.name!r}: {r.error}" for r in self._receivers.values())
        raise ChannelError("; ".join(problems))

    def _warn_of_names(self) -> None:
        settings: TelegramConfig = self.config
        for key in ("allow_from", "group_allow_from"):
            for entry in getattr(settings, key):
                if entry != "*" and not entry.removeprefix("-").isdecimal():
                    text = "%s: %r allows nobody; write the number that is the id"
                    logger.warning(text, key, entry)

    async def _receive(self, receiver: Receiver, inbox: Inbox) -> None:
        """Receive for one bot; one whose token is not valid does not stop the others.

        Returns only then.
        """
        try:
            await receiver.run(inbox)
        except TelegramError as exc:
            logger.error("account %r is stopped: %s", receiver.name, exc)

    # --- To the chats -----------------------------------------------------------------

    async def send(self, target: Target, message: Outbound) -> Sent:
        """Send a message, in as many parts as it takes."""
        return await self._dispatcher(target).send(target, message)

    async def draft(
        self, target: Target, text: str, draft: str | None, reply_to: str | None
    ) -> str | None:
        """Show an answer while it is written.

        The run that a crash interrupted goes on before we are open again: it has no
        draft then, or keeps the one it had.
        """
        if not self._transport.is_open:
            return draft
        return await self._dispatcher(target).draft(target, text, draft, reply_to)

    def _dispatcher(self, target: Target) -> Dispatcher:
        dispatcher = self._dispatchers.get(target.account_id)
        if dispatcher is None:
            problem = f"there is no account {target.account_id!r}; see `accounts`"
            raise ChannelError(f"telegram: {problem}", permanent=True)
        return dispatcher

    # --- From the chats ---------------------------------------------------------------

    def routes(self) -> Sequence[Route]:
        """Return a webhook for each bot, if Telegram shall call."""
        if self.config.webhook_url is None:
            return ()
        return [
            Route(
                method="POST",
                path=receiver.path,
                handler=receiver.hook,
                max_body_bytes=_MAX_BODY,
            )
            for receiver in self._receivers.values()
        ]

    def status(self) -> Mapping[str, Any]:
        """Return how each bot is; ``last_poll`` is when Telegram last answered."""
        return {name: receiver.status() for name, receiver in self._receivers.items()}
