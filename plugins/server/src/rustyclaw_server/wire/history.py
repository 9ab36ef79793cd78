"""A transcript as clients show it (sheet section 12), within bounds of size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from rustyclaw import Audio, File, Image, Text, Thinking, ToolCall, ToolResult

from rustyclaw_server.wire.frames import clean, dump

if TYPE_CHECKING:
    from rustyclaw import Message

_TEXT_CHARS = 12_000
_MESSAGE_BYTES = 128 * 1024
_TOTAL_BYTES = 6 * 1024 * 1024


def history(
    entries: Sequence[Any], limit: int, max_chars: int | None = None
) -> list[dict[str, Any]]:
    """Return the last messages of a transcript, oldest first.

    :param entries: Entries of a transcript.
    :param limit: How many messages.
    :param max_chars: Of one text, if less than the usual bound.
    """
    found, _ = page(entries, limit, max_chars)
    return found[-limit:]


def page(
    entries: Sequence[Any], limit: int, max_chars: int | None = None
) -> tuple[list[dict[str, Any]], int]:
    """Return the messages of the last entries, oldest first, and where they begin.

    :param limit: How many messages, or some more: an entry is not parted.
    """
    chars = min(max_chars or _TEXT_CHARS, _TEXT_CHARS)
    found: list[dict[str, Any]] = []
    size, start = 0, len(entries)
    while start and len(found) < limit and size <= _TOTAL_BYTES:
        start -= 1
        for message in reversed(list(_messages(entries[start], chars))):
            length = len(dump(message))
            if length > _MESSAGE_BYTES:
                message = _oversized(message)
                length = len(dump(message))
            size += length
            found.append(message)
    return found[::-1], start


def _messages(entry: Any, chars: int) -> Iterable[dict[str, Any]]:
    """Yield what an entry shows: one message, or one for each result of a tool."""
    if entry.kind == "compaction":
        text = f"[compaction]\n\n{entry.summary}"
        content = [{"type": "text", "text": clean(text)[:chars]}]
        yield {"role": "system", "content": content, "timestamp": _ms(entry)}
    message: Message | None = entry.message
    if message is None:
        return
    if message.role == "tool":
        for block in message.content:
            if isinstance(block, ToolResult):
                yield _result(block, entry, chars)
        return
    blocks = [_block(block, chars) for block in message.content]
    row: dict[str, Any] = {"role": message.role, "content": blocks}
    if message.role == "assistant":
        provider, _, model = (entry.model or "").partition("/")
        if entry.model:
            row |= {"api": provider, "provider": provider, "model": model}
        row["stopReason"] = _STOP.get(entry.stop_reason, entry.stop_reason or "stop")
    yield row | {"timestamp": _ms(entry)}


_STOP = {"tool_calls": "toolUse"}


def _result(block: ToolResult, entry: Any, chars: int) -> dict[str, Any]:
    content: list[dict[str, Any]] = [
        {"type": "text", "text": clean(block.text)[:chars]},
        *(_block(media, chars) for media in block.media),
    ]
    return {
        "role": "toolResult",
        "toolCallId": block.call_id,
        "toolName": block.name,
        "content": content,
        "isError": block.is_error,
        "timestamp": _ms(entry),
    }


def _block(block: Any, chars: int) -> dict[str, Any]:
    match block:
        case Text(text=text):
            return {"type": "text", "text": clean(text)[:chars]}
        case Thinking(text=text, redacted=redacted):
            return {
                "type": "thinking",
                "thinking": "" if redacted else clean(text)[:chars],
            }
        case ToolCall(id=call_id, name=name, arguments=arguments):
            call = {"type": "toolCall", "id": call_id, "name": name}
            return {**call, "arguments": dict(arguments)}
        case Image(data=data, media_type=kind) | Audio(data=data, media_type=kind):
            what: Literal["image", "audio"] = (
                "image" if isinstance(block, Image) else "audio"
            )
            return {"type": what, "mimeType": kind, "omitted": True, "bytes": len(data)}
        case File(data=data, media_type=kind, name=name):
            facts = {"type": "file", "mimeType": kind, "name": name}
            return {**facts, "omitted": True, "bytes": len(data)}
    return {"type": "text", "text": ""}


def _oversized(message: dict[str, Any]) -> dict[str, Any]:
    text = "[chat.history omitted: message too large]"
    return {
        **message,
        "content": [{"type": "text", "text": text}],
        "__openclaw": {"truncated": True, "reason": "oversized"},
    }


def _ms(entry: Any) -> int:
    return int(entry.timestamp * 1000)
