"""Looks whether a summary has what it must have, and mends what can be mended."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rustyclaw import Message, Text, ToolCall, ToolResult

from rustyclaw_compaction.prompts import HEADINGS

_LAST_MESSAGES, _MOST_IDENTIFIERS = 10, 12
_MESSAGE_CHARS = 20_000
_ASK_WORDS, _WORD_CHARS = 8, 5
#: In this order: what is part of an earlier match is not one of its own.
_IDENTIFIER = re.compile(
    r"https?://[^\s<>\"'`]+"
    r"|[A-Za-z]:\\[^\s<>\"'`|?*]+"
    r"|(?<![\w/.:])/(?:[\w.@+~-]+/)*[\w.@+~-]+"
    r"|\b(?=[\d-]*[A-Za-z.])[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*:\d{2,5}\b"
    r"|\b(?:[0-9a-fA-F]{4,}-)+[0-9a-fA-F]{4,}\b"
    r"|\b(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{8,}\b"
    r"|\b\d{6,}\b"
)
_EDGES = "\"'`.,;:!?()[]{}<>"


def identifiers(messages: Sequence[Message]) -> list[str]:
    """Return up to twelve identifiers of the last messages, the newest first."""
    found: dict[str, None] = {}
    for message in reversed(messages[-_LAST_MESSAGES:]):
        for match in _IDENTIFIER.finditer(_all_text(message)):
            text = match[0].strip(_EDGES)
            if 4 <= len(text) <= 300:
                found.setdefault(text)
            if len(found) == _MOST_IDENTIFIERS:
                return list(found)
    return list(found)


def _all_text(message: Message) -> str:
    parts = []
    for block in message.content:
        if isinstance(block, Text | ToolResult):
            parts.append(block.text[:_MESSAGE_CHARS])
        elif isinstance(block, ToolCall):
            parts.append(str(dict(block.arguments))[:_MESSAGE_CHARS])
    return "\n".join(parts)


def problems(summary: str, wanted: Sequence[str], ask: str) -> list[str]:
    """Return what a summary lacks, in words for the model that wrote it.

    :param wanted: Identifiers that must be in it.
    :param ask: What the user asked last.
    """
    found = []
    lines = [line.strip() for line in summary.splitlines()]
    absent = [heading for heading in HEADINGS if heading not in lines]
    if absent:
        found.append(f"these headings are missing: {', '.join(absent)}")
    elif (places := [lines.index(h) for h in HEADINGS]) != sorted(places):
        found.append("the headings are not in the order that was asked for")
    if lost := [text for text in wanted if text not in summary]:
        found.append(f"these identifiers are missing: {', '.join(lost)}")
    words = [w.strip(_EDGES).lower() for w in ask.split()]
    words = [word for word in words if len(word) >= _WORD_CHARS][:_ASK_WORDS]
    if words and not any(word in summary.lower() for word in words):
        found.append(f"the user's last request is missing: {ask[:300]}")
    return found


def mended(summary: str, wanted: Sequence[str]) -> str:
    """Return a summary with the headings and identifiers that it lacks."""
    lines = [line.strip() for line in summary.splitlines()]
    absent = [heading for heading in HEADINGS if heading not in lines]
    for heading in absent:
        summary += f"\n\n{heading}"
        if heading != HEADINGS[-1]:
            summary += "\n(nothing noted)"
    lost = [text for text in wanted if text not in summary]
    if not lost:
        return summary.strip()
    head, heading, tail = summary.rpartition(HEADINGS[-1])
    listed = "\n".join(f"- {text}" for text in lost)
    return f"{head}{heading}\n{listed}{tail}".strip()


def shortened(summary: str, most: int) -> str:
    """Return a summary cut at the end of a line, if it is too long."""
    if len(summary) <= most:
        return summary
    cut = summary[:most]
    return f"{cut[: cut.rfind(chr(10)) + 1] or cut}[... cut ...]"
