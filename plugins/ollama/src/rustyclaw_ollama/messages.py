"""Writes conversations as ``/api/chat`` wants them.

Source: Ollama API reference, "Generate a chat message"; "Tool calling", "Thinking",
"Vision". A message is one text with pictures beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rustyclaw import (
    Audio,
    File,
    Image,
    Message,
    ModelRequest,
    Text,
    Thinking,
    ToolResult,
)
from rustyclaw_http.media import BLIND, base64_of, note_of, problem_of, text_of

Json = dict[str, Any]

NO_OUTPUT = "(no output)"
FAILED = "[the tool failed]\n"


def conversation(request: ModelRequest, *, sees: bool) -> list[Json]:
    """Return the messages of a request, the system prompt first.

    Thoughts are shown again until the user speaks, as models expect that call tools.

    :param sees: Whether pictures are sent.
    """
    said: list[Json] = []
    if request.system.strip():
        said.append({"role": "system", "content": request.system})
    asked = [n for n, m in enumerate(request.messages) if m.role == "user"]
    for number, message in enumerate(request.messages):
        if message.role == "assistant":
            said += _assistant(message, recent=not asked or number > asked[-1])
        elif message.role == "tool":
            said += _results(message, sees)
        else:
            said += _user(message.content, sees)
    return said


def _assistant(message: Message, *, recent: bool) -> Iterator[Json]:
    written: Json = {"role": "assistant", "content": message.text}
    thoughts = [b for b in message.content if isinstance(b, Thinking)]
    own = [b.text for b in thoughts if b.signature is None and not b.redacted]
    if recent and any(own):
        written["thinking"] = "\n".join(own)
    if message.tool_calls:
        written["tool_calls"] = [
            {
                "id": call.id,
                "function": {
                    "index": index,
                    "name": call.name,
                    "arguments": dict(call.arguments),
                },
            }
            for index, call in enumerate(message.tool_calls)
        ]
    if written["content"].strip() or len(written) > 2:
        yield written


def _results(message: Message, sees: bool) -> Iterator[Json]:
    shown: list[object] = []
    for result in message.content:
        if not isinstance(result, ToolResult):
            continue
        text = result.text or NO_OUTPUT
        yield {
            "role": "tool",
            "content": f"{FAILED}{text}" if result.is_error else text,
            "tool_name": result.name,
            "tool_call_id": result.call_id,
        }
        if result.media:
            label = Text(text=f"[from the tool {result.name!r}]")
            shown += [label, *result.media]
    yield from _user(shown, sees)


def _user(content: Any, sees: bool) -> Iterator[Json]:
    texts: list[str] = []
    pictures: list[str] = []
    for block in content:
        if isinstance(block, Text):
            texts.append(block.text)
        elif isinstance(block, Image):
            problem = problem_of(block) or (None if sees else BLIND)
            if problem:
                texts.append(problem)
            else:
                pictures.append(base64_of(block.data))
        elif isinstance(block, Audio | File):
            texts.append(text_of(block) or note_of(block))
    if text := "\n\n".join(filter(str.strip, texts)):
        yield {"role": "user", "content": text, **_seen(pictures)}
    elif pictures:
        yield {"role": "user", "content": "", **_seen(pictures)}


def _seen(pictures: list[str]) -> Json:
    return {"images": pictures} if pictures else {}
