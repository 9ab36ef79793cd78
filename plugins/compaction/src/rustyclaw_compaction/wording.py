"""Turns messages into the text that a summary is made from.

Each message is indented below its role, so that no line in it looks like another
role. What `ToolResult.details` holds is never part of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rustyclaw import Message, Text, Thinking, ToolCall, ToolResult

CHARS_PER_TOKEN = 4
_CALL_CHARS, _RESULT_CHARS = 600, 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Messages that belong together: one, or calls with their results.

    :param text: How a summariser reads it.
    """

    messages: tuple[Message, ...]
    text: str

    @property
    def tokens(self) -> int:
        """The approximate size of the text."""
        return tokens_of(self.text)


def tokens_of(text: str) -> int:
    """Return the approximate size of a text in tokens."""
    return -(-len(text) // CHARS_PER_TOKEN)


def units(messages: Sequence[Message]) -> list[Unit]:
    """Return messages as units, in order."""
    groups: list[list[Message]] = []
    for message in messages:
        if message.role == "tool" and groups:
            groups[-1].append(message)
        else:
            groups.append([message])
    return [
        Unit(messages=tuple(group), text="\n\n".join(map(as_text, group)))
        for group in groups
    ]


def as_text(message: Message) -> str:
    """Return a message as a summariser reads it."""
    text = "\n".join(_lines(message)).replace("\n", "\n    ")
    return f"{message.role}: {text}"


def _lines(message: Message) -> Iterator[str]:
    for block in message.content:
        if isinstance(block, Text):
            yield block.text
        elif isinstance(block, ToolCall):
            arguments = middle_cut(repr(dict(block.arguments)), _CALL_CHARS)
            yield f"[calls {block.name} {arguments}]"
        elif isinstance(block, ToolResult):
            state = "failed" if block.is_error else "answered"
            yield f"[{block.name} {state}: {middle_cut(block.text, _RESULT_CHARS)}]"
        elif not isinstance(block, Thinking):
            yield f"[{type(block).__name__.lower()}]"


def chars_of(messages: Sequence[Message]) -> int:
    """Return the size of messages as a model reads them, media left out."""
    size = 0
    for message in messages:
        for block in message.content:
            if isinstance(block, Text | ToolResult | Thinking):
                size += len(block.text)
            elif isinstance(block, ToolCall):
                size += len(block.name) + len(str(dict(block.arguments)))
    return size


def middle_cut(text: str, most: int) -> str:
    """Return a text without its middle if it is longer than ``most`` characters."""
    if len(text) <= most:
        return text
    half = (most - 5) // 2
    return f"{text[:half]} ... {text[len(text) - half :]}"


def one_line(text: str, most: int) -> str:
    """Return a text on one line, in at most ``most`` characters."""
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"
