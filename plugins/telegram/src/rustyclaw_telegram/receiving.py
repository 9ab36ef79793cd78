"""One bot's way in: long polling, or the webhook.

An update is confirmed to Telegram by asking for those after it (or by status 200),
and that happens only when `Inbox.accept` has returned.
"""

from __future__ import annotations

import hmac
import json
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
from rustyclaw import (
    Audio,
    Busy,
    File,
    Image,
    Inbound,
    Inbox,
    StorageError,
    WebRequest,
    WebResponse,
)

from rustyclaw_telegram.api import BotApi, TelegramError
from rustyclaw_telegram.config import TelegramConfig
from rustyclaw_telegram.probing import who_is
from rustyclaw_telegram.store import Store
from rustyclaw_telegram.updates import (
    ALLOWED,
    Arrival,
    Attached,
    Me,
    Moved,
    album,
    read,
    update_id,
)

logger = logging.getLogger(__name__)

#: A poll that is this much over its time is given up; with the longest
#: ``poll_seconds`` that is 105 s, so a stalled poll never lasts 120 s.
GRACE_SECONDS = 15.0
_CHECK_SECONDS = 60.0
_ALBUM_SECONDS = 0.5
_HOOK_CONNECTIONS = 8
_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")


class Backoff:
    """Growing pauses with jitter, in seconds."""

    def __init__(self, first: float = 1.0, longest: float = 30.0) -> None:
        self._first, self._longest = first, longest
        self._next = first

    def pause(self) -> float:
        """Return how long to wait this time."""
        pause, self._next = self._next, min(self._next * 2, self._longest)
        return pause * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Begin with the shortest pause again."""
        self._next = self._first


class Receiver:
    """Takes in what one bot is sent.

    :ivar state: ``starting``, ``polling``, ``webhook``, ``waiting`` (for Telegram),
        ``conflict`` (somebody else polls) or ``stopped`` (the token is not valid).
    :ivar last_poll: When Telegram last answered, in seconds since the epoch.
    """

    def __init__(
        self, name: str, api: BotApi, store: Store, config: TelegramConfig
    ) -> None:
        self.name = name
        self._api, self._store, self._config = api, store, config
        self._me: Me | None = None
        self._inbox: Inbox | None = None
        self.state, self.error = "starting", ""
        self.last_poll: float | None = None
        self._pending: int | None = None

    @property
    def path(self) -> str:
        """Where the webhook is mounted."""
        return f"/telegram/{self.name}"

    def status(self) -> Mapping[str, Any]:
        """Return facts for people."""
        facts = {
            "state": self.state,
            "bot": self._me and f"@{self._me.username}",
            "last_poll": self.last_poll,
            "pending": self._pending,
            "error": self.error,
        }
        return {name: value for name, value in facts.items() if value not in (None, "")}

    async def run(self, inbox: Inbox) -> None:
        """Take messages in until cancelled.

        :raises ChannelError: The token is not valid.
        """
        self.state, self.error = "starting", ""
        try:
            self._me = await self._until_it_works(partial(who_is, self._api))
            self._inbox = inbox
            if self._config.webhook_url is None:
                await self._poll(inbox, self._me)
            else:
                await self._keep_webhook(f"{self._config.webhook_url}{self.path}")
        finally:
            self._inbox = None

    async def _until_it_works(self, call: Callable[[], Awaitable[Me]]) -> Me:
        backoff = Backoff()
        while True:
            try:
                return await call()
            except TelegramError as exc:
                await self._wait(exc, backoff)

    async def _wait(self, exc: TelegramError, backoff: Backoff) -> None:
        """Wait after a failed call.

        :raises TelegramError: The token is not valid: waiting does not help.
        """
        self.error = str(exc)
        if exc.status in (401, 404):
            self.state = "stopped"
            raise exc
        state = "conflict" if exc.status == 409 else "waiting"
        if state != self.state:
            logger.warning("account %r waits: %s", self.name, exc)
        self.state = state
        await anyio.sleep(exc.retry_after or backoff.pause())

    def _is_well(self, state: str) -> None:
        self.state, self.error, self.last_poll = state, "", time.time()

    # --- Polling ----------------------------------------------------------------------

    async def _poll(self, inbox: Inbox, me: Me) -> None:
        backoff, conflict, refused = Backoff(), Backoff(5.0, 60.0), Backoff()
        while True:
            try:
                updates = await self._updates()
                backoff.reset()
                conflict.reset()
                self._is_well("polling")
                await self._take_all(updates, inbox, me)
                refused.reset()
            except TelegramError as exc:
                if exc.status == 409 and "webhook" in exc.description:
                    logger.warning("account %r had a webhook; removed", self.name)
                    await self._remove_webhook(backoff)
                else:
                    await self._wait(exc, conflict if exc.status == 409 else backoff)
            except (StorageError, Busy) as exc:  # not confirmed, so it comes again
                self.error = str(exc)
                logger.error("account %r cannot take messages: %s", self.name, exc)
                await anyio.sleep(refused.pause())

    async def _updates(self) -> list[Any]:
        """Wait for updates, and confirm all before them."""
        seconds = self._config.poll_seconds
        params = {
            "offset": await self._store.offset(self._api.bot_id),
            "timeout": seconds,
            "allowed_updates": ALLOWED,
        }
        found = await self._ask(params, seconds)
        if found and album(found[-1]):  # the rest of it may be on its way
            await anyio.sleep(_ALBUM_SECONDS)
            found = await self._ask({**params, "timeout": 0}, 0)
        return found

    async def _ask(self, params: Mapping[str, Any], seconds: float) -> list[Any]:
        found = await self._api.call(
            "getUpdates", params, seconds=seconds + GRACE_SECONDS
        )
        if not isinstance(found, list):
            raise TelegramError("the answer is no list", method="getUpdates")
        return found

    async def _take_all(self, updates: list[Any], inbox: Inbox, me: Me) -> None:
        following: int | None = None
        try:
            for together in _together(updates):
                await self._take(together, inbox, me)
                for raw in together:
                    if (identifier := update_id(raw)) is not None:
                        following = identifier + 1
        finally:
            if following is not None:
                await self._store.keep_offset(self._api.bot_id, following)
        if updates and following is None:  # they could be asked for without end
            raise TelegramError("no update has an id", method="getUpdates")

    async def _remove_webhook(self, backoff: Backoff) -> None:
        try:
            await self._api.call("deleteWebhook", {"drop_pending_updates": False})
        except TelegramError as exc:
            await self._wait(exc, backoff)

    # --- Webhook ----------------------------------------------------------------------

    async def _keep_webhook(self, url: str) -> None:
        """Have Telegram call us, and look now and then whether it can."""
        backoff = Backoff()
        secret = self._config.webhook_secret
        params = {
            "url": url,
            "secret_token": secret.get_secret_value() if secret else None,
            "allowed_updates": ALLOWED,
            "max_connections": _HOOK_CONNECTIONS,
        }
        is_set = False
        while True:
            try:
                if not is_set:
                    await self._api.call("setWebhook", params)
                    is_set = True
                info = await self._api.call("getWebhookInfo")
                info = info if isinstance(info, dict) else {}
            except TelegramError as exc:
                await self._wait(exc, backoff)
                continue
            backoff.reset()
            self._is_well("webhook")
            self._pending = info.get("pending_update_count")
            self.error = str(info.get("last_error_message") or "")
            if info.get("url") != url:
                logger.warning("somebody moved the webhook of %r; again", self.name)
                is_set = False
                await anyio.sleep(backoff.pause())
            else:
                await anyio.sleep(_CHECK_SECONDS)

    async def hook(self, request: WebRequest) -> WebResponse:
        """Take one update from the webhook; what is not answered 200 comes again."""
        secret = self._config.webhook_secret
        given = request.headers.get("x-telegram-bot-api-secret-token", "")
        expected = secret.get_secret_value() if secret else ""
        genuine = hmac.compare_digest(
            given.encode(errors="surrogateescape"), expected.encode()
        )
        if not genuine or not expected:
            return WebResponse(status=401)
        if self._inbox is None or self._me is None:
            return WebResponse(status=503)
        try:
            raw = json.loads(request.body)
        except (ValueError, RecursionError):
            return WebResponse(status=400)
        try:
            await self._take([raw], self._inbox, self._me)
        except (StorageError, Busy) as exc:
            logger.error("account %r cannot take messages: %s", self.name, exc)
            return WebResponse(status=503)
        return WebResponse(status=200)

    # --- One update, or those of one album --------------------------------------------

    async def _take(self, updates: Sequence[Any], inbox: Inbox, me: Me) -> None:
        """Hand over what there is for us in one update, or in those of an album."""
        bot = self._api.bot_id
        arrivals: list[Arrival] = []
        for raw in updates:
            found = read(raw, me, self.name)
            if isinstance(found, Moved):
                await self._store.keep_moved(bot, found.old, found.new)
                text = "group %s is now %s; change `group_allow_from` if it names it"
                logger.warning(text, found.old, found.new)
            elif isinstance(found, Arrival):
                arrivals.append(found)
        ids = [arrival.inbound.message_id for arrival in arrivals]
        if any(arrival.album for arrival in arrivals):
            ids = await self._store.firsts(bot, ids)
        messages: dict[str, Inbound] = {}
        for first, arrival in zip(ids, arrivals, strict=True):
            inbound = await self._complete(arrival)
            known = messages.get(first)
            messages[first] = _joined(known, inbound) if known else inbound
        for message in messages.values():
            await inbox.accept(message)

    async def _complete(self, arrival: Arrival) -> Inbound:
        """Return the message with its file, or with a word on why it is missing."""
        inbound, attached = arrival.inbound, arrival.attached
        if attached is None or not self._may_be_served(inbound):
            return inbound
        missing = ""
        limit = self._config.max_media_bytes
        if attached.size > limit:
            missing = f"over {limit} bytes"
        else:
            try:
                data = await self._api.download(attached.file_id, limit)
                return replace(inbound, media=(_media(attached, data),))
            except TelegramError as exc:
                logger.warning("account %r: %s", self.name, exc)
                missing = "it could not be fetched"
        note = f"(a {attached.kind} is missing here: {missing})"
        return replace(inbound, text=f"{inbound.text}\n{note}".strip())

    def _may_be_served(self, inbound: Inbound) -> bool:
        """Return whether it can be worth to fetch a file; the core decides for good."""
        config, sender = self._config, inbound.sender.id
        if inbound.target.chat_type != "dm":
            listed = {"*", inbound.target.chat_id} & set(config.group_allow_from)
            served = config.group_policy == "open" or bool(listed)
            return served and (inbound.mentioned or not config.require_mention)
        if config.dm_policy == "disabled":
            return False
        # Who was paired is the core's knowledge, also with `allowlist`.
        return config.dm_policy != "open" or bool(
            {"*", sender} & set(config.allow_from)
        )


def _together(updates: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield the updates of each album together, and all others one by one."""
    batch: list[Any] = []
    for raw in updates:
        if batch and (album(raw) is None or album(raw) != album(batch[-1])):
            yield batch
            batch = []
        batch.append(raw)
    if batch:
        yield batch


def _joined(first: Inbound, other: Inbound) -> Inbound:
    return replace(
        first,
        text="\n".join(filter(None, (first.text, other.text))),
        media=(*first.media, *other.media),
        mentioned=first.mentioned or other.mentioned,
    )


def _media(attached: Attached, data: bytes) -> Image | Audio | File:
    media_type = attached.media_type
    if media_type in _IMAGES:
        return Image(data=data, media_type=media_type)
    if attached.kind in ("voice", "audio"):
        return Audio(data=data, media_type=media_type)
    return File(data=data, media_type=media_type, name=attached.name)
