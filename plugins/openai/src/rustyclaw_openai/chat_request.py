"""Writes requests of the Chat Completions API.

Source: OpenAI API reference, ``POST /v1/chat/completions``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from hashlib import sha1
from typing import Any, Literal

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
from rustyclaw_http.encoding import encode
from rustyclaw_http.media import (
    BLIND,
    data_url,
    image_type,
    is_pdf,
    note_of,
    problem_of,
    text_of,
)

#: How reasoning is shown to the model again: not at all, as the text that it was
#: (DeepSeek), or as the vendor's own opaque list (OpenRouter).
Replay = Literal["no", "reasoning_content", "reasoning_details"]

#: Marks the signature of a thinking block that holds OpenRouter's list.
DETAILS_MARK = "openrouter:"
NO_OUTPUT = "(no output)"
FAILED = "[the tool failed]\n"
_LONGEST_ID = 64
_MISTRAL = re.compile(
    r"(mistral|mixtral|codestral|pixtral|devstral|ministral|magistral)", re.IGNORECASE
)

Json = dict[str, Any]


class ChatWriter:
    """Writes the messages of a request.

    :param sees: Whether pictures are sent; if not, a note says that there was one.
    :param reads_pdf: Whether PDF files are sent.
    :param replay: How reasoning is shown again.
    :param bridges: Put an assistant's word between a tool's result and a user's
        (Mistral refuses one directly after the other).
    """

    def __init__(
        self,
        *,
        sees: bool = True,
        reads_pdf: bool = False,
        replay: Replay = "no",
        bridges: bool = False,
    ) -> None:
        self._sees = sees
        self._reads_pdf = reads_pdf
        self._replay = replay
        self._bridges = bridges
        self._strict9 = False

    def messages(self, request: ModelRequest) -> list[Json]:
        """Return the conversation, the system prompt first."""
        self._strict9 = bool(_MISTRAL.search(request.model))
        said: list[Json] = []
        if request.system:
            said.append({"role": "system", "content": request.system})
        for message in request.messages:
            for written in self._written(message):
                follows = said and said[-1]["role"] == "tool"
                if self._bridges and follows and written["role"] == "user":
                    said.append({"role": "assistant", "content": "Understood."})
                said.append(written)
        return said

    def _written(self, message: Message) -> Iterator[Json]:
        if message.role == "assistant":
            yield self._assistant(message)
        elif message.role == "tool":
            yield from self._results(message)
        else:
            parts = [part for block in message.content for part in self._parts(block)]
            if all(part["type"] == "text" for part in parts):
                text = "\n\n".join(part["text"] for part in parts)
                yield {"role": "user", "content": text}
            else:
                yield {"role": "user", "content": parts}

    def _parts(self, block: object) -> Iterator[Json]:
        if isinstance(block, Text):
            yield {"type": "text", "text": block.text}
        elif isinstance(block, Image):
            problem = problem_of(block) or (None if self._sees else BLIND)
            if problem:
                yield {"type": "text", "text": problem}
            else:
                kind = image_type(block.data) or block.media_type
                url = data_url(block.data, kind)
                yield {"type": "image_url", "image_url": {"url": url}}
        elif isinstance(block, File) and self._reads_pdf and is_pdf(block):
            url = data_url(block.data, "application/pdf")
            yield {"type": "file", "file": {"filename": block.name, "file_data": url}}
        elif isinstance(block, Audio | File):
            yield {"type": "text", "text": text_of(block) or note_of(block)}

    def _assistant(self, message: Message) -> Json:
        written: Json = {"role": "assistant", "content": message.text or None}
        calls = [self._call(call) for call in message.tool_calls]
        if calls:
            written["tool_calls"] = calls
        thoughts = [b for b in message.content if isinstance(b, Thinking)]
        if self._replay == "reasoning_content" and calls:
            words = (thought.text for thought in thoughts if not thought.redacted)
            written["reasoning_content"] = "\n".join(words)
        elif self._replay == "reasoning_details":
            details = [d for thought in thoughts for d in details_of(thought)]
            if details:
                written["reasoning_details"] = details
        return written

    def _call(self, call: ToolCall) -> Json:
        function = {"name": call.name, "arguments": arguments_of(call)}
        return {"id": self._id(call.id), "type": "function", "function": function}

    def _results(self, message: Message) -> Iterator[Json]:
        shown: list[Json] = []
        for result in message.content:
            if not isinstance(result, ToolResult):
                continue
            yield {
                "role": "tool",
                "tool_call_id": self._id(result.call_id),
                "content": answer_of(result),
            }
            for media in result.media:
                label = f"[from the tool {result.name!r}]"
                shown += [{"type": "text", "text": label}, *self._parts(media)]
        if shown:  # a tool's message holds text only
            yield {"role": "user", "content": shown}

    def _id(self, call_id: str) -> str:
        return strict9(call_id) if self._strict9 else short_id(call_id)


def short_id(call_id: str) -> str:
    """Return an id of at most 64 characters; OpenAI refuses longer ones."""
    if len(call_id) <= _LONGEST_ID:
        return call_id
    return sha1(call_id.encode(errors="replace"), usedforsecurity=False).hexdigest()


def strict9(call_id: str) -> str:
    """Return an id of nine letters and digits, which Mistral demands."""
    if re.fullmatch(r"[a-zA-Z0-9]{9}", call_id):
        return call_id
    return sha1(call_id.encode(errors="replace"), usedforsecurity=False).hexdigest()[:9]


def arguments_of(call: ToolCall) -> str:
    """Return the arguments of a call as JSON text, which every vendor can read."""
    return encode(dict(call.arguments)).decode()


def answer_of(result: ToolResult) -> str:
    """Return what a tool said; these APIs have no other way to say that it failed."""
    text = result.text or NO_OUTPUT
    return f"{FAILED}{text}" if result.is_error else text


def details_of(thought: Thinking) -> list[Mapping[str, Any]]:
    """Return OpenRouter's list that a thinking block holds."""
    signature = thought.signature or ""
    if not signature.startswith(DETAILS_MARK):
        return []
    try:
        details = json.loads(signature.removeprefix(DETAILS_MARK))
    except ValueError:
        return []
    return details if isinstance(details, list) else []
