"""Writes conversations as the Messages API wants them.

Source: Anthropic API reference, ``POST /v1/messages``; "Vision", "PDF support", "Tool
use", "Thinking".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha1
from typing import Any

from rustyclaw import (
    Audio,
    File,
    Image,
    Message,
    ModelRequest,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from rustyclaw_http.media import (
    BLIND,
    base64_of,
    image_type,
    is_pdf,
    note_of,
    problem_of,
    text_of,
)
from rustyclaw_http.schemas import fitting

Json = dict[str, Any]

NO_OUTPUT = "(no output)"
GO_ON = "Go on."
_MARK = "anthropic:"
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What the signature of a thinking block holds.

    :param model: Who thought it; others cannot read it, and some refuse it.
    :param opaque: The vendor's own signature, or the data of a redacted block.
    """

    model: str
    opaque: str

    def signature(self) -> str:
        """Return it as a text."""
        return f"{_MARK}{self.model}:{self.opaque}"

    @classmethod
    def of(cls, thought: Thinking) -> Signed | None:
        """Return what a thinking block holds; ``None`` if it is somebody else's."""
        signature = thought.signature or ""
        model, colon, opaque = signature.removeprefix(_MARK).rpartition(":")
        if not signature.startswith(_MARK) or not colon or not opaque:
            return None
        return cls(model=model, opaque=opaque)


def tools(request: ModelRequest) -> list[Json]:
    """Return the tools of a request."""
    return [
        {
            "name": tool.name,
            "description": tool.description,
            "input_schema": fitting(tool.parameters),
        }
        for tool in request.tools
    ]


def conversation(request: ModelRequest, *, sees: bool, prefills: bool) -> list[Json]:
    """Return the messages of a request; roles alternate.

    :param sees: Whether pictures are sent.
    :param prefills: Whether the last message may be the assistant's.
    """
    turns: list[Json] = []
    for message in request.messages:
        role = "assistant" if message.role == "assistant" else "user"
        blocks = [*_blocks(message, request.model, sees)]
        if not blocks:
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    if turns and turns[-1]["role"] == "assistant":
        _end(turns, prefills)
    return turns


def in_a_loop_without_thoughts(turns: Sequence[Json]) -> bool:
    """Return whether the last calls were made without a thought before them.

    Models with a budget refuse to begin thinking between a call and its result.
    """
    if len(turns) < 2 or turns[-1]["role"] != "user":
        return False
    results = any(block["type"] == "tool_result" for block in turns[-1]["content"])
    first = turns[-2]["content"][0]["type"]
    return results and first not in ("thinking", "redacted_thinking")


def call_id(given: str) -> str:
    """Return an id that the vendor takes; it depends on the given one alone."""
    if _ID.fullmatch(given):
        return given
    return sha1(given.encode(errors="replace"), usedforsecurity=False).hexdigest()


def _end(turns: list[Json], prefills: bool) -> None:
    """Make an end that is the assistant's acceptable: no thoughts, no white space."""
    content = turns[-1]["content"]
    while content and content[-1]["type"].endswith("thinking"):
        content.pop()
    if not content:
        turns.pop()
    elif not prefills:
        turns.append({"role": "user", "content": [_text(GO_ON)]})
    elif content[-1]["type"] == "text":
        content[-1]["text"] = content[-1]["text"].rstrip()


def _blocks(message: Message, model: str, sees: bool) -> Iterator[Json]:
    for block in message.content:
        if isinstance(block, ToolResult):
            yield _result(block, sees)
        elif isinstance(block, ToolCall):
            yield {
                "type": "tool_use",
                "id": call_id(block.id),
                "name": block.name,
                "input": dict(block.arguments),
            }
        elif isinstance(block, Thinking):
            yield from _thought(block, model)
        else:
            yield from _parts(block, sees)


def _thought(block: Thinking, model: str) -> Iterator[Json]:
    signed = Signed.of(block)
    if signed is None or signed.model != model:
        return
    if block.redacted:
        yield {"type": "redacted_thinking", "data": signed.opaque}
    else:
        kept = {"thinking": block.text, "signature": signed.opaque}
        yield {"type": "thinking", **kept}


def _result(result: ToolResult, sees: bool) -> Json:
    shown = [part for media in result.media for part in _parts(media, sees)]
    if result.text.strip() or not shown:
        shown.insert(0, _text(result.text if result.text.strip() else NO_OUTPUT))
    written: Json = {
        "type": "tool_result",
        "tool_use_id": call_id(result.call_id),
        "content": shown,
    }
    return {**written, "is_error": True} if result.is_error else written


def _parts(block: object, sees: bool) -> Iterator[Json]:
    if isinstance(block, Text):
        if block.text.strip():  # an empty text is refused
            yield _text(block.text)
    elif isinstance(block, Image):
        problem = problem_of(block) or (None if sees else BLIND)
        if problem:
            yield _text(problem)
        else:
            kind = image_type(block.data) or block.media_type
            yield {"type": "image", "source": _source(block.data, kind)}
    elif isinstance(block, File) and is_pdf(block):
        source = _source(block.data, "application/pdf")
        yield {"type": "document", "source": source, "title": block.name[:200] or "pdf"}
    elif isinstance(block, Audio | File):
        yield _text(text_of(block) or note_of(block))


def _source(data: bytes, media_type: str) -> Json:
    return {"type": "base64", "media_type": media_type, "data": base64_of(data)}


def _text(text: str) -> Json:
    return {"type": "text", "text": text}
