"""What Telegram delivers, as values: an update becomes an `Arrival`, or nothing.

Only fields that are used are read; what does not fit is no message. Source:
https://core.telegram.org/bots/api, "Update" and "Message".
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rustyclaw import Inbound, Sender, Target

logger = logging.getLogger(__name__)

#: All that is asked for. Edits, channel posts and everything else never come.
ALLOWED = ("message",)


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _User(_Wire):
    id: int
    is_bot: bool = False
    first_name: str = ""
    last_name: str = ""
    username: str | None = None


class _Chat(_Wire):
    id: int
    type: Literal["private", "group", "supergroup", "channel"]
    title: str | None = None


class _Entity(_Wire):
    type: str
    offset: int = Field(ge=0)
    length: int = Field(ge=0)
    user: _User | None = None


class _File(_Wire):
    file_id: str
    file_size: int = 0
    mime_type: str | None = None
    file_name: str | None = None
    width: int = 0
    height: int = 0


class _Location(_Wire):
    latitude: float
    longitude: float


class _Sticker(_Wire):
    emoji: str = ""


class _Replied(_Wire):
    message_id: int
    from_: _User | None = Field(None, alias="from")


class _Message(_Wire):
    message_id: int
    date: int = 0
    chat: _Chat
    from_: _User | None = Field(None, alias="from")
    sender_chat: _Chat | None = None
    is_automatic_forward: bool = False
    is_topic_message: bool = False
    message_thread_id: int | None = None
    reply_to_message: _Replied | None = None
    text: str = ""
    caption: str = ""
    entities: tuple[_Entity, ...] = ()
    caption_entities: tuple[_Entity, ...] = ()
    photo: tuple[_File, ...] = ()
    voice: _File | None = None
    audio: _File | None = None
    video: _File | None = None
    video_note: _File | None = None
    animation: _File | None = None
    document: _File | None = None
    sticker: _Sticker | None = None
    location: _Location | None = None
    migrate_to_chat_id: int | None = None


class _Update(_Wire):
    update_id: int
    message: _Message | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Me:
    """The bot itself."""

    id: int
    username: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A file that stands in a message.

    :param kind: ``photo``, ``voice``, ``audio``, ``video`` or ``document``.
    """

    kind: str
    file_id: str
    size: int
    media_type: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A message, and the file that must still be fetched for it.

    :param album: What the messages of one album have in common.
    """

    inbound: Inbound
    attached: Attached | None = None
    album: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A group has a new id."""

    old: str
    new: str


def update_id(raw: Any) -> int | None:
    """Return the id of an update, whatever else may be wrong with it."""
    found = raw.get("update_id") if isinstance(raw, dict) else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def album(raw: Any) -> str | None:
    """Return the album that the message of an update is a part of, if any."""
    message = raw.get("message") if isinstance(raw, dict) else None
    found = message.get("media_group_id") if isinstance(message, dict) else None
    return found if isinstance(found, str) else None


def read(raw: Any, me: Me, account: str) -> Arrival | Moved | None:
    """Return what an update says to us; ``None``: nothing."""
    try:
        message = _Update.model_validate(raw).message
    except ValidationError as exc:
        fields = ", ".join(".".join(map(str, e["loc"])) for e in exc.errors()[:5])
        logger.warning("an update of account %r cannot be read: %s", account, fields)
        return None
    if message is None:
        return None
    if message.migrate_to_chat_id is not None:
        return Moved(old=str(message.chat.id), new=str(message.migrate_to_chat_id))
    sender = _sender(message)
    if message.chat.type == "channel" or message.is_automatic_forward or not sender:
        return None
    text, mentioned = _addressed(message, me)
    attached = _attached(message)
    text = _with_facts(text, message)
    if not text and attached is None:
        return None  # somebody joined, a title was changed ...
    replied = message.reply_to_message
    is_dm = message.chat.type == "private"
    target = Target(
        channel="telegram",
        chat_id=str(message.chat.id),
        account_id=account,
        chat_type="dm" if is_dm else "group",
        thread_id=_topic(message),
    )
    inbound = Inbound(
        message_id=f"{message.chat.id}:{message.message_id}",
        sender=sender,
        target=target,
        text=text,
        mentioned=is_dm or mentioned,
        reply_to=f"{message.chat.id}:{replied.message_id}" if replied else None,
        timestamp=float(message.date),
    )
    return Arrival(inbound=inbound, attached=attached, album=album(raw))


def _sender(message: _Message) -> Sender | None:
    """Return who wrote; another bot is nobody, so that two never talk for ever.

    Who writes as a chat (an anonymous administrator, a channel) shares a user's id
    with all others who do so; that chat's id is what tells them apart.
    """
    if message.sender_chat is not None:
        chat = message.sender_chat
        return Sender(id=str(chat.id), name=chat.title)
    user = message.from_
    if user is None or user.is_bot:
        return None
    name = f"{user.first_name} {user.last_name}".strip()
    return Sender(id=str(user.id), name=name or None, username=user.username)


def _topic(message: _Message) -> str | None:
    """Return the topic; replies in ordinary groups have a thread id, but no topic."""
    if message.is_topic_message and message.message_thread_id is not None:
        return str(message.message_thread_id)
    return None


def _addressed(message: _Message, me: Me) -> tuple[str, bool]:
    """Return the text without the bot's name around it, and whether it was named."""
    text = message.text or message.caption
    entities = message.entities if message.text else message.caption_entities
    mentioned = False
    name = f"@{me.username}".lower()
    wide = text.encode("utf-16-le", errors="replace")  # offsets count its units
    cuts: list[tuple[int, int]] = []
    for entity in entities:
        start, end = 2 * entity.offset, 2 * (entity.offset + entity.length)
        said = wide[start:end].decode("utf-16-le", errors="replace").lower()
        if entity.type == "bot_command" and said.endswith(name):
            mentioned = True
            cuts.append((end - 2 * len(name), end))
        elif entity.type == "mention" and said == name:
            mentioned = True
            if start == 0 or end == len(wide):
                cuts.append((start, end))
        elif entity.type == "text_mention" and entity.user and entity.user.id == me.id:
            mentioned = True
    for start, end in sorted(cuts, reverse=True):
        wide = wide[:start] + wide[end:]
    replied = message.reply_to_message
    if replied and replied.from_ and replied.from_.id == me.id:
        mentioned = True
    return wide.decode("utf-16-le", errors="replace").strip(), mentioned


def _attached(message: _Message) -> Attached | None:
    for kind, file, media_type, name in _files(message):
        if file is not None:
            return Attached(
                kind=kind,
                file_id=file.file_id,
                size=file.file_size,
                media_type=(file.mime_type or media_type).lower(),
                name=file.file_name or name,
            )
    return None


def _files(message: _Message) -> Iterator[tuple[str, _File | None, str, str]]:
    sizes = message.photo
    largest = max(sizes, key=lambda size: size.width * size.height, default=None)
    yield "photo", largest, "image/jpeg", "photo.jpg"
    yield "voice", message.voice, "audio/ogg", "voice.ogg"
    yield "audio", message.audio, "audio/mpeg", "audio.mp3"
    yield "video", message.video_note, "video/mp4", "video.mp4"
    yield "video", message.video, "video/mp4", "video.mp4"
    yield "video", message.animation, "video/mp4", "animation.mp4"
    yield "document", message.document, "application/octet-stream", "document"


def _with_facts(text: str, message: _Message) -> str:
    """Return a text with what can be said in words of what is no text."""
    said = [text] if text else []
    if message.sticker is not None:
        said.append(f"(a sticker: {message.sticker.emoji or 'no emoji'})")
    if (place := message.location) is not None:
        said.append(f"(a location: {place.latitude:.5f}, {place.longitude:.5f})")
    return "\n".join(said)
