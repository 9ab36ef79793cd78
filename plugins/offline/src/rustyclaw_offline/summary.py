"""Summarises a conversation by extraction, for the core's compaction.

Nothing is reworded: the summary lists the first lines of what the user wrote, the
files that were used and the facts that were remembered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from rustyclaw import ModelRequest, ToolCall

_MAX_CHARS = 1500
_MAX_LINE = 120
_PROMPT_HEAD = 500
_HEADING = "Extracted by rules from the earlier conversation:"
_ASKED, _FACT, _FILES = "- The user asked: ", "- Remembered: ", "- Files: "

# The forms in which compactors write a conversation down as one text.
_SPOKEN = re.compile(r"(?:^|\n\n)(user|assistant|tool): ", re.IGNORECASE)
_PATH = re.compile(r"""['"]path['"]: ['"]([^'"\n]{1,200})['"]""")
_MEMORY = re.compile(
    r"""memory_set \{['"]key['"]: ['"]([^'"\n]{1,80})['"], """
    r"""['"]value['"]: ['"]([^'"\n]{1,200})['"]"""
)


def is_summary_request(request: ModelRequest) -> bool:
    """Return whether a request wants a summary of the conversation that it holds.

    A compactor offers no tools and begins its system prompt by saying what it wants.
    """
    return not request.tools and "summar" in request.system[:_PROMPT_HEAD].lower()


def summarise(request: ModelRequest) -> str:
    """Return at most 1500 characters about the conversation in a request."""
    asked: list[str] = []
    files: list[str] = []
    facts: list[str] = []
    for role, text in _speeches(request):
        if role == "user":
            asked.append(_first_line(text))
        else:
            files += _PATH.findall(text)
            facts += [f"{key} = {value}" for key, value in _MEMORY.findall(text)]
        for line in text.splitlines() if role == "summary" else ():
            if line.startswith(_ASKED):
                asked.append(line.removeprefix(_ASKED))
            elif line.startswith(_FACT):
                facts.append(line.removeprefix(_FACT))
            elif line.startswith(_FILES):
                files += line.removeprefix(_FILES).split(", ")
    return _written(asked, files, facts)


def _speeches(request: ModelRequest) -> Iterator[tuple[str, str]]:
    """Yield who said what; ``summary`` is what stands before the first speaker."""
    for message in request.messages:
        head, *rest = _SPOKEN.split(message.text)
        spoken = list(zip(rest[::2], rest[1::2], strict=True))
        if message.role == "user" and head.strip():
            yield "summary" if spoken or _HEADING in head else "user", head
        for role, text in spoken:
            yield role.lower(), text
        for call in message.tool_calls:
            yield "assistant", _as_text(call)


def _as_text(call: ToolCall) -> str:
    return f"[calls {call.name} {dict(call.arguments)!r}]"


def _written(asked: list[str], files: list[str], facts: list[str]) -> str:
    kept = [_FACT + _cut(fact) for fact in _distinct(facts)]
    if files:
        kept.append(_FILES + _cut(", ".join(_distinct(files)), 3 * _MAX_LINE))
    left = _MAX_CHARS - len(_HEADING)
    lines: list[str] = []
    for line in (*reversed(kept), *(_ASKED + _cut(a) for a in reversed(asked) if a)):
        left -= len(line) + 1  # what is newest is kept
        if left < 0:
            break
        lines.append(line)
    lines.reverse()
    return "\n".join([_HEADING, *lines] if lines else [_HEADING, "- nothing to note"])


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _cut(text: str, size: int = _MAX_LINE) -> str:
    return text if len(text) <= size else f"{text[:size]}..."


def _distinct(items: Iterable[str]) -> list[str]:
    """Return each item once, where it came last."""
    return list(dict.fromkeys(reversed(list(items))))[::-1]
