"""Summarises a conversation by extraction, for the core's compaction.

Nothing is reworded: the summary lists the first lines of what the user wrote, the
files that were used and the facts that were remembered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from rustyclaw import ModelRequest

_MAX_CHARS = 1500
_MAX_LINE = 160
_PROMPT_HEAD = 500
_HEADING = "Extracted by rules from the earlier conversation:"
_ASKED, _FACT, _FILES = "- The user asked: ", "- Remembered: ", "- Files: "

# The forms in which compactors write a conversation down as one text.
_SPOKEN = re.compile(r"(?:^|\n\n)(user|assistant|tool): ", re.IGNORECASE)
_IS_SUMMARY = re.compile(rf"\[?Summary (?:so far|of)|{_HEADING}", re.IGNORECASE)
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
            asked.append(_ASKED + _cut(_first_line(text)))
        elif role == "summary":
            for line in filter(None, map(str.strip, text.splitlines())):
                if line.startswith(_FILES):
                    files += line.removeprefix(_FILES).split(", ")
                elif line.startswith(_ASKED):
                    asked.append(line)
                elif not line.endswith(":"):
                    facts.append(_cut(line))  # another model's words, too
        else:
            files += _PATH.findall(text)
            facts += [f"{_FACT}{key} = {value}" for key, value in _MEMORY.findall(text)]
    return _written(asked, files, facts)


def _speeches(request: ModelRequest) -> Iterator[tuple[str, str]]:
    """Yield who said what; ``summary`` is what stands before the first speaker."""
    for message in request.messages:
        head, *rest = _SPOKEN.split(message.text)
        if message.role == "user" and head.strip():
            yield "summary" if rest or _IS_SUMMARY.match(head) else "user", head
        for role, text in zip(rest[::2], rest[1::2], strict=True):
            yield role.lower(), text
        for call in message.tool_calls:
            yield "assistant", f"[calls {call.name} {dict(call.arguments)!r}]"


def _written(asked: list[str], files: list[str], facts: list[str]) -> str:
    """Return the summary; what is oldest is left out if there is too much."""
    newest_first = [*reversed(_distinct(facts)), *reversed(asked)]
    if files:
        newest_first.insert(0, _FILES + _cut(", ".join(_distinct(files))))
    left = _MAX_CHARS - len(_HEADING)
    lines: list[str] = []
    for line in newest_first:
        left -= len(line) + 1
        if left < 0:
            break
        lines.insert(0, line)
    return "\n".join([_HEADING, *(lines or ["- nothing to note"])])


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_LINE else f"{text[:_MAX_LINE]}..."


def _distinct(items: Iterable[str]) -> list[str]:
    """Return each item once, where it came last."""
    return list(dict.fromkeys(reversed(list(items))))[::-1]
