"""One bot's way out: drafts that grow, and answers that arrive once.

Telegram drops no repeated message, but to edit a message twice is to edit it once.
So a message begins as a placeholder, its id is written down, and only then does an
edit put the text into it. Whatever a crash interrupts is done again: the worst that
is left behind is a placeholder. Files cannot be sent so; see `_attach`.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import anyio
from rustyclaw import Audio, ChannelError, File, Image, Outbound, Sent, Target

from rustyclaw_telegram.api import BotApi, Files, TelegramError
from rustyclaw_telegram.config import TelegramConfig
from rustyclaw_telegram.formatting import Piece, as_html, messages, plain
from rustyclaw_telegram.receiving import Backoff
from rustyclaw_telegram.store import Store

logger = logging.getLogger(__name__)

T = TypeVar("T")

_DRAFT_SECONDS = 10.0
#: Network and server trouble is waited out so long within one send; the core gives
#: a send a minute, and repeats it.
_PATIENCE_SECONDS = 40.0
_UNCHANGED = "message is not modified"
_GONE = ("message to edit not found", "message can't be edited", "message_id_invalid")
_UNPARSED = "can't parse entities"
_ALBUM = 10
_MAX_PHOTO_BYTES = 10_000_000

Media = Image | Audio | File


class Dispatcher:
    """Sends what one bot says."""

    def __init__(self, api: BotApi, store: Store, config: TelegramConfig) -> None:
        self._api, self._store, self._config = api, store, config
        self._quiet_until: dict[str, float] = {}

    # --- Drafts -----------------------------------------------------------------------

    async def draft(
        self, target: Target, text: str, draft: str | None, reply_to: str | None
    ) -> str | None:
        """Show what there is of an answer; see `Channel.draft`.

        The first call shows that somebody types. The first text only makes the
        placeholder: its id is on the disk when the next call brings the text, so that
        no part of an answer can stand there twice.
        """
        chat = await self._store.moved(self._api.bot_id, target.chat_id)
        parts = messages(text)
        if draft is not None and not parts:
            await self._take_back(chat, draft)
            return None
        if self._quiet_until.get(chat, 0.0) > anyio.current_time():
            return draft
        try:
            if not parts:
                await self._act(chat, target)
            elif draft is None:
                params = self._placeholder(chat, target, reply_to, silent=False)
                placed = await self._api.call(
                    "sendMessage", params, seconds=_DRAFT_SECONDS
                )
                return str(_message_id(placed))
            else:
                await self._edit_once(chat, int(draft), parts[0], _DRAFT_SECONDS)
        except TelegramError as exc:
            if exc.retry_after is None:
                raise
            self._be_quiet(chat, exc.retry_after)
        return draft

    async def _act(self, chat: str, target: Target) -> None:
        """Show that somebody is at work; it is no harm if that fails."""
        params = {"chat_id": chat, "action": "typing", **_thread(target)}
        try:
            await self._api.call("sendChatAction", params, seconds=_DRAFT_SECONDS)
        except TelegramError as exc:
            if exc.retry_after is not None:
                raise
            logger.debug("no sign of work: %s", exc)

    async def _take_back(self, chat: str, draft: str) -> None:
        """Delete a draft that no answer takes the place of."""
        params = {"chat_id": chat, "message_id": int(draft)}
        try:
            await self._api.call("deleteMessage", params, seconds=_DRAFT_SECONDS)
        except TelegramError as exc:
            if not exc.says("message to delete not found"):
                raise

    def _be_quiet(self, chat: str, seconds: float) -> None:
        """Show no drafts in a chat for a while, so that answers get through."""
        now = anyio.current_time()
        quiet = {c: t for c, t in self._quiet_until.items() if t > now}
        self._quiet_until = {**quiet, chat: now + seconds}

    # --- Answers ----------------------------------------------------------------------

    async def send(self, target: Target, message: Outbound) -> Sent:
        """Show a message, as many as it takes; repeated, it changes nothing.

        :raises ChannelError: It was not sent, or files may or may not have been.
        """
        reply = message.id or secrets.token_hex(8)
        shown: int | None = None
        for index, pieces in enumerate(messages(message.text)):
            made = await self._show(target, message, (reply, index), pieces)
            shown = made if shown is None else shown
        for index, call in enumerate(_uploads(message.media), start=1):
            await self._attach(target, message, (reply, -index), call)
        return Sent(message_id=None if shown is None else str(shown))

    async def _show(
        self,
        target: Target,
        message: Outbound,
        key: tuple[str, int],
        pieces: Sequence[Piece],
    ) -> int:
        """Bring one part into a message of its own, and return the message's id."""
        bot = self._api.bot_id
        known = await self._store.part(bot, *key)
        at = known.message if known else None
        if at is not None and known and known.done:
            return at
        is_first = key[1] == 0
        if at is None and is_first and message.draft is not None:
            at = int(message.draft)
        reply_to = message.reply_to if is_first else None
        for _ in range(3):  # somebody may delete what we are about to edit
            if at is None:
                at = await self._place(target, reply_to, silent=message.silent)
                await self._store.keep_part(bot, *key, at, done=False)
            if await self._edit(target, at, pieces):
                await self._store.keep_part(bot, *key, at, done=True)
                return at
            at = None
        raise ChannelError("telegram: the message is deleted again and again")

    async def _place(
        self, target: Target, reply_to: str | None, *, silent: bool
    ) -> int:
        async def place(chat: str) -> int:
            params = self._placeholder(chat, target, reply_to, silent=silent)
            return _message_id(await self._api.call("sendMessage", params))

        return await self._repeat(target, place)

    async def _edit(self, target: Target, at: int, pieces: Sequence[Piece]) -> bool:
        """Put a text into a message; return ``False`` if the message is gone."""

        async def edit(chat: str) -> None:
            await self._edit_once(chat, at, pieces, None)

        try:
            await self._repeat(target, edit)
        except TelegramError as exc:
            if not exc.says(*_GONE):
                raise
            return False
        return True

    async def _edit_once(
        self, chat: str, at: int, pieces: Sequence[Piece], seconds: float | None
    ) -> None:
        params = {
            "chat_id": chat,
            "message_id": at,
            "link_preview_options": {"is_disabled": not self._config.link_previews},
        }
        html = {"text": as_html(pieces), "parse_mode": "HTML"}
        for text in (html, {"text": plain(pieces)}):
            try:
                await self._api.call(
                    "editMessageText", {**params, **text}, seconds=seconds
                )
            except TelegramError as exc:
                if exc.says(_UNPARSED) and text is html:
                    logger.warning("a text is shown without its marks: %s", exc)
                    continue
                if not exc.says(_UNCHANGED):
                    raise
            return

    def _placeholder(
        self, chat: str, target: Target, reply_to: str | None, *, silent: bool
    ) -> Mapping[str, Any]:
        return {
            "chat_id": chat,
            "text": self._config.placeholder,
            "disable_notification": silent or None,
            **_thread(target),
            **_reply(chat, target, reply_to),
        }

    # --- Files ------------------------------------------------------------------------

    async def _attach(
        self, target: Target, message: Outbound, key: tuple[str, int], call: _Upload
    ) -> None:
        """Send files, at most once.

        A call whose outcome nobody knows is not repeated: the files may be there.

        :raises ChannelError: They were refused, or may or may not have arrived.
        """
        bot = self._api.bot_id
        known = await self._store.part(bot, *key)
        if known is not None:
            if known.done:
                return
            raise _unknown("the gateway stopped while they were sent")
        await self._store.keep_part(bot, *key, None, done=False)

        async def upload(chat: str) -> None:
            params = {
                "chat_id": chat,
                "disable_notification": message.silent or None,
                **_thread(target),
                **_reply(chat, target, message.reply_to),
                **call.params,
            }
            try:
                await self._api.call(call.method, params, files=call.files)
            except TelegramError as exc:
                if not 400 <= exc.status < 500:
                    raise _unknown(str(exc)) from exc
                raise

        try:
            await self._repeat(target, upload)
        except TelegramError:
            await self._store.drop_part(bot, *key)
            raise
        await self._store.keep_part(bot, *key, None, done=True)

    # --- Trouble ----------------------------------------------------------------------

    async def _repeat(self, target: Target, call: Callable[[str], Awaitable[T]]) -> T:
        """Call with the chat's id, again while that can help.

        Telegram's wish to wait is granted; the core's deadline is what ends that.
        """
        bot, backoff = self._api.bot_id, Backoff()
        give_up = anyio.current_time() + _PATIENCE_SECONDS
        while True:
            chat = await self._store.moved(bot, target.chat_id)
            try:
                return await call(chat)
            except TelegramError as exc:
                if exc.migrated_to is not None and str(exc.migrated_to) != chat:
                    await self._store.keep_moved(
                        bot, target.chat_id, str(exc.migrated_to)
                    )
                elif exc.retry_after is not None:
                    self._be_quiet(chat, exc.retry_after)
                    await anyio.sleep(exc.retry_after)
                elif exc.permanent or anyio.current_time() > give_up:
                    raise
                else:
                    await anyio.sleep(backoff.pause())


class _Upload:
    """A call that sends files."""

    def __init__(self, method: str, field: str, *media: Media) -> None:
        self.method = method
        self.params: Mapping[str, Any] = {}
        if len(media) == 1:
            self.files: Files = {field: _named(media[0])}
        else:
            self.files = {f"file{n}": _named(item) for n, item in enumerate(media)}
            items = [{"type": "photo", "media": f"attach://{n}"} for n in self.files]
            self.params = {"media": items}


def _uploads(media: Sequence[Media]) -> Iterator[_Upload]:
    """Yield the calls that send these files: photos together, the rest one by one."""
    photos = [m for m in media if _is_photo(m)]
    for start in range(0, len(photos), _ALBUM):
        album = photos[start : start + _ALBUM]
        yield _Upload(
            "sendPhoto" if len(album) == 1 else "sendMediaGroup", "photo", *album
        )
    for item in media:
        if isinstance(item, Audio):
            is_voice = item.media_type.startswith(("audio/ogg", "audio/opus"))
            kind = "voice" if is_voice else "audio"
            yield _Upload(f"send{kind.title()}", kind, item)
        elif not _is_photo(item):
            yield _Upload("sendDocument", "document", item)


def _is_photo(media: Media) -> bool:
    return (
        isinstance(media, Image)
        and media.media_type in ("image/jpeg", "image/png", "image/webp")
        and len(media.data) <= _MAX_PHOTO_BYTES
    )


def _named(media: Media) -> tuple[str, bytes, str]:
    """Return name, content and type; a name is only a name."""
    if isinstance(media, File):
        name = re.sub(r"[^\w.()-]+", "_", media.name.replace("\\", "/").split("/")[-1])
    else:
        kind = "audio" if isinstance(media, Audio) else "image"
        name = f"{kind}.{re.sub(r'[^a-z0-9]', '', media.media_type.split('/')[-1])}"
    return (name[-100:] or "file", media.data, media.media_type)


def _unknown(problem: str) -> ChannelError:
    text = "telegram: files may or may not have arrived, so they are not sent again"
    return ChannelError(f"{text}: {problem}", permanent=True)


def _message_id(result: Any) -> int:
    found = result.get("message_id") if isinstance(result, dict) else None
    if not isinstance(found, int):
        raise TelegramError("it names no message", method="sendMessage")
    return found


def _thread(target: Target) -> Mapping[str, Any]:
    thread = target.thread_id
    return {} if thread is None else {"message_thread_id": int(thread)}


def _reply(chat: str, target: Target, reply_to: str | None) -> Mapping[str, Any]:
    """Quote in groups, where several talk; in private it would be noise."""
    where, _, number = (reply_to or "").partition(":")
    if target.chat_type == "dm" or where != chat or not number.isdecimal():
        return {}
    reply = {"message_id": int(number), "allow_sending_without_reply": True}
    return {"reply_parameters": reply}
