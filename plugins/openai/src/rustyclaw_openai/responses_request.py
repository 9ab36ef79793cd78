"""Writes requests of the Responses API, without state at the vendor.

Nothing is stored there (``store: false``), so reasoning comes back encrypted and is
sent again with the conversation. Source: OpenAI API reference, ``POST /v1/responses``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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
    data_url,
    image_type,
    is_pdf,
    note_of,
    problem_of,
    text_of,
)
from rustyclaw_http.schemas import fitting

from rustyclaw_openai.chat_request import Json, answer_of, arguments_of, short_id

_MARK = "responses:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasoning:
    """A reasoning item as it is kept in the signature of a thinking block.

    :param model: Who thought it; another one cannot decrypt it.
    """

    id: str
    encrypted: str
    model: str

    def signature(self) -> str:
        """Return it as a text."""
        return _MARK + json.dumps([self.id, self.encrypted, self.model])

    @classmethod
    def of(cls, thought: Thinking) -> Reasoning | None:
        """Return what a thinking block holds; ``None`` if it is somebody else's."""
        signature = thought.signature or ""
        if not signature.startswith(_MARK):
            return None
        try:
            id_, encrypted, model = json.loads(signature.removeprefix(_MARK))
        except (ValueError, TypeError):
            return None
        return cls(id=str(id_), encrypted=str(encrypted), model=str(model))


def tools(request: ModelRequest) -> list[Json]:
    """Return the tools as functions; the API would make them strict by default."""
    return [
        {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": fitting(tool.parameters),
            "strict": False,
        }
        for tool in request.tools
    ]


def items(request: ModelRequest, *, sees: bool) -> list[Json]:
    """Return the conversation as input items.

    A reasoning item counts only with the item that it led to, so one that nothing
    follows is left out, as is one of another model.

    :param sees: Whether pictures are sent.
    """
    written = [
        item
        for message in request.messages
        for item in _written(message, request.model, sees)
    ]
    followers = [*written[1:], {"type": "reasoning"}]
    return [
        item
        for item, next_one in zip(written, followers, strict=True)
        if item.get("type") != "reasoning" or _is_output(next_one)
    ]


def _is_output(item: Mapping[str, Any]) -> bool:
    return item.get("type") == "function_call" or item.get("role") == "assistant"


def _written(message: Message, model: str, sees: bool) -> Iterator[Json]:
    if message.role == "user":
        parts = [part for block in message.content for part in _parts(block, sees)]
        yield {"role": "user", "content": parts}
    for block in message.content if message.role != "user" else ():
        if isinstance(block, ToolResult):
            yield {
                "type": "function_call_output",
                "call_id": short_id(block.call_id),
                "output": _output(block, sees),
            }
        elif isinstance(block, ToolCall):
            yield {
                "type": "function_call",
                "call_id": short_id(block.id),
                "name": block.name,
                "arguments": arguments_of(block),
            }
        elif isinstance(block, Text):
            yield {"role": "assistant", "content": block.text}
        elif isinstance(block, Thinking):
            reasoning = Reasoning.of(block)
            if reasoning is not None and reasoning.model == model:
                summary = [{"type": "summary_text", "text": block.text}]
                yield {
                    "type": "reasoning",
                    "id": reasoning.id,
                    "summary": summary if block.text else [],
                    "encrypted_content": reasoning.encrypted,
                }


def _output(result: ToolResult, sees: bool) -> str | list[Json]:
    text = answer_of(result)
    if not result.media:
        return text
    shown = [part for media in result.media for part in _parts(media, sees)]
    return [{"type": "input_text", "text": text}, *shown]


def _parts(block: object, sees: bool) -> Iterator[Json]:
    if isinstance(block, Text):
        yield {"type": "input_text", "text": block.text}
    elif isinstance(block, Image):
        problem = problem_of(block) or (None if sees else BLIND)
        if problem:
            yield {"type": "input_text", "text": problem}
        else:
            url = data_url(block.data, image_type(block.data) or block.media_type)
            yield {"type": "input_image", "image_url": url, "detail": "auto"}
    elif isinstance(block, File) and is_pdf(block):
        url = data_url(block.data, "application/pdf")
        yield {"type": "input_file", "filename": block.name, "file_data": url}
    elif isinstance(block, Audio | File):
        yield {"type": "input_text", "text": text_of(block) or note_of(block)}
