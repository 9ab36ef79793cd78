"""Writes conversations as Gemini wants them.

Source: Gemini API reference, ``models.generateContent``; "Function calling", "Thought
signatures". A turn of calls follows one of the user or of results, and one of results
holds nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
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

from rustyclaw_google.catalogue import version
from rustyclaw_google.signatures import SKIP, Signed

Json = dict[str, Any]

START = "(session bootstrap)"
NO_OUTPUT = "(no output)"
#: Larger recordings and documents do not fit into a request of 20 MB.
MAX_INLINE_BYTES = 13 * 1024 * 1024
_SOUNDS = {
    *("audio/wav", "audio/x-wav", "audio/mp3", "audio/mpeg", "audio/aac", "audio/aiff"),
    *("audio/ogg", "audio/flac"),
}
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}", re.ASCII)


class ContentWriter:
    """Writes the turns of a request.

    :param sees: Whether pictures are sent.
    """

    def __init__(self, request: ModelRequest, *, sees: bool) -> None:
        self._request = request
        self._sees = sees
        self._modern = version(request.model) >= (3, 0)

    def contents(self) -> list[Json]:
        """Return the conversation; it begins with the user, and turns alternate."""
        turns: list[Json] = []
        for message in self._request.messages:
            for role, parts in self._turns(message):
                if not turns and (role == "model" or "functionResponse" in parts[0]):
                    turns.append({"role": "user", "parts": [{"text": START}]})
                if _joins(turns, role, parts):
                    turns[-1]["parts"] += parts
                else:
                    turns.append({"role": role, "parts": parts})
        if self._modern:
            _stand_in(turns)
        return turns

    def _turns(self, message: Message) -> Iterator[tuple[str, list[Json]]]:
        if message.role == "assistant":
            if parts := self._said(message):
                yield "model", parts
            return
        told: list[Json] = []
        shown: list[Json] = []
        for block in message.content:
            if isinstance(block, ToolResult):
                told.append(self._result(block))
                if block.media and not self._modern:
                    shown.append({"text": f"[from the tool {block.name!r}]"})
                    shown += [p for media in block.media for p in self._parts(media)]
            else:
                shown += self._parts(block)
        if told:
            yield "user", told
        if shown:
            yield "user", shown

    # --- What the model said ------------------------------------------------------

    def _said(self, message: Message) -> list[Json]:
        parts: list[Json] = []
        for block in message.content:
            if isinstance(block, Text) and block.text.strip():
                parts.append({"text": block.text})
            elif isinstance(block, ToolCall):
                parts.append(self._call(block))
            elif isinstance(block, Thinking):
                self._sign(block, parts)
        return parts

    def _call(self, call: ToolCall) -> Json:
        called = {"name": call.name, "args": dict(call.arguments)}
        part: Json = {"functionCall": {"id": call_id(call.id), **called}}
        signed = Signed.of(call.signature, self._request.model)
        return {**part, "thoughtSignature": signed.opaque} if signed else part

    def _sign(self, block: Thinking, parts: list[Json]) -> None:
        """Put the signature that a thinking block holds where it came from."""
        signed = Signed.of(block.signature, self._request.model)
        if signed is None:
            return
        own = {"thoughtSignature": signed.opaque}
        if signed.part == "thought":
            parts.append({"text": block.text, "thought": True, **own})
        elif signed.part == "text" and parts and "text" in parts[-1]:
            parts[-1] = {**parts[-1], **own}
        else:
            parts.append({"text": "", **own})

    # --- What it was told ---------------------------------------------------------

    def _result(self, result: ToolResult) -> Json:
        key = "error" if result.is_error else "output"
        answer: Json = {
            "id": call_id(result.call_id),
            "name": result.name or "unknown",
            "response": {key: result.text or NO_OUTPUT},
        }
        if result.media and self._modern:
            parts = [p for media in result.media for p in self._parts(media)]
            notes = [part["text"] for part in parts if "text" in part]
            shown = [part for part in parts if "text" not in part]
            if notes:
                answer["response"]["notes"] = "\n".join(notes)
            if shown:
                answer["parts"] = shown
        return {"functionResponse": answer}

    def _parts(self, block: object) -> Iterator[Json]:
        if isinstance(block, Text):
            if block.text.strip():
                yield {"text": block.text}
        elif isinstance(block, Image):
            problem = problem_of(block) or (None if self._sees else BLIND)
            if problem:
                yield {"text": problem}
            else:
                yield _inline(block.data, image_type(block.data) or block.media_type)
        elif isinstance(block, Audio | File):
            yield _inline_or_text(block)


def call_id(given: str) -> str:
    """Return an id that the vendor takes; it depends on the given one alone."""
    if _ID.fullmatch(given):
        return given
    return sha1(given.encode(errors="replace"), usedforsecurity=False).hexdigest()


def _joins(turns: list[Json], role: str, parts: list[Json]) -> bool:
    """Return whether parts belong to the last turn; results stay among themselves."""
    if not turns or turns[-1]["role"] != role:
        return False
    pair = (turns[-1]["parts"][0], parts[0])
    results = ["functionResponse" in part for part in pair]
    return results[0] == results[1]


def _stand_in(turns: list[Json]) -> None:
    """Sign the calls since the user last spoke that nobody signed.

    From Gemini 3 on the first call of each step must be signed, and that of another
    model cannot be. Google documents a stand-in for that case.
    """
    for turn in reversed(turns):
        if turn["role"] == "user":
            if "functionResponse" not in turn["parts"][0]:
                return
            continue
        calls = [part for part in turn["parts"] if "functionCall" in part]
        if calls and "thoughtSignature" not in calls[0]:
            calls[0]["thoughtSignature"] = SKIP


def _inline(data: bytes, media_type: str) -> Json:
    return {"inlineData": {"mimeType": media_type, "data": base64_of(data)}}


def _inline_or_text(block: Audio | File) -> Json:
    kind = block.media_type.partition(";")[0].strip().lower()
    said = text_of(block)
    if said is None and len(block.data) <= MAX_INLINE_BYTES:
        if isinstance(block, File) and is_pdf(block):
            return _inline(block.data, "application/pdf")
        if kind in _SOUNDS and block.data:
            return _inline(block.data, kind)
    return {"text": said or note_of(block)}
