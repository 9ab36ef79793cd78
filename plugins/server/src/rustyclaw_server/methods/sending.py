"""Messages that clients send through a channel."""

from __future__ import annotations

from typing import Any

import anyio
from pydantic import Field
from rustyclaw import ChannelError, MethodError, Outbound, Target

from rustyclaw_server.auth.scopes import ADMIN, WRITE
from rustyclaw_server.methods.base import Context, Loose, method
from rustyclaw_server.wire.frames import Wire, clean

_SEND_SECONDS = 30.0
Word = Field(None, max_length=256)


class SendParams(Wire):
    """Parameters of ``send``."""

    to: str = Field(min_length=1, max_length=512)
    message: str | None = Field(None, max_length=1_000_000)
    media_url: str | None = Field(None, max_length=8192)
    media_urls: list[str] | None = Field(None, max_length=16)
    gif_playback: bool | None = None
    channel: str | None = Word
    account_id: str | None = Word
    thread_id: str | None = Word
    session_key: str | None = Field(None, max_length=512)
    idempotency_key: str = Field(min_length=1, max_length=256)


@method("send", scope=WRITE, params=SendParams, result=Loose)
async def send(params: SendParams, context: Context) -> dict[str, Any]:
    """Send a message to a chat; answers when the platform has taken it."""
    server, gateway = context.server, context.gateway
    text = clean(params.message or "").strip()
    if params.media_url or params.media_urls:
        raise MethodError("media by URL is not supported; send the text alone")
    if not text:
        raise MethodError("invalid send params: text or media is required")
    name = params.channel or _only_channel(context)
    if name not in gateway.deliveries:
        raise MethodError(f"unsupported channel: {name}")
    target = Target(
        channel=name,
        chat_id=params.to,
        account_id=params.account_id or "default",
        thread_id=params.thread_id,
    )
    message_id = f"send:{params.idempotency_key}"
    if known := server.dedupe.get(message_id):
        return dict(known)
    sending = server.sends.expect(message_id)
    key = params.session_key or await _session_of(context, target)
    try:
        await gateway.post(target, Outbound(text=text, id=message_id), key)
        with anyio.move_on_after(_SEND_SECONDS):
            await sending.done.wait()
    except ChannelError as exc:
        raise MethodError(str(exc), code="UNAVAILABLE") from None
    finally:
        server.sends.forget(message_id)
    if sending.error is not None:
        text = str(gateway.redact(sending.error))
        raise MethodError(text, code="UNAVAILABLE")
    sent = sending.sent.message_id if sending.sent else None
    answer = {"runId": params.idempotency_key, "messageId": sent or message_id}
    answer |= {"channel": name, "chatId": params.to}
    if not sending.done.is_set():  # it is safe in the outbox
        return {**answer, "status": "queued"}
    server.dedupe.keep(message_id, answer)
    return answer


def _only_channel(context: Context) -> str:
    names = list(context.gateway.deliveries)
    return names[0] if len(names) == 1 else "whatsapp"  # OpenClaw's default


async def _session_of(context: Context, target: Target) -> str:
    """Return the session that last spoke with a chat, else one named after it."""
    sessions = await context.gateway.state.sessions.list(limit=500)
    for info in sessions:
        last = info.last_target
        if last and (last.channel, last.chat_id) == (target.channel, target.chat_id):
            return info.key
    return f"{target.channel}:direct:{target.chat_id}"


class PollParams(Wire):
    """Parameters of ``poll``."""

    to: str = Field(min_length=1, max_length=512)
    question: str = Field(min_length=1, max_length=4096)
    options: list[str] = Field(min_length=2, max_length=12)
    max_selections: int | None = Field(None, ge=1, le=12)
    duration_seconds: int | None = Field(None, ge=1)
    duration_hours: int | None = Field(None, ge=1)
    silent: bool | None = None
    is_anonymous: bool | None = None
    thread_id: str | None = Word
    channel: str | None = Word
    account_id: str | None = Word
    idempotency_key: str = Field(min_length=1, max_length=256)


@method("poll", scope=ADMIN, params=PollParams, result=Loose, listed=False)
async def poll(params: PollParams, context: Context) -> dict[str, Any]:
    """Refuse: no channel can make polls."""
    name = params.channel or _only_channel(context)
    if name not in context.gateway.deliveries:
        raise MethodError(f"unsupported poll channel: {name}")
    text = f"channel {name!r} cannot make polls; ask by a message instead"
    raise MethodError(text, code="UNAVAILABLE")
