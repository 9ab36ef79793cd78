"""Quotes what tools answered, compactly and as data.

File names and file contents are other people's words. Everything from a tool stands
in code spans or fences, so that no chat platform takes it for markup or a mention.
"""

from __future__ import annotations

import re

_MAX_ITEMS = 50
_MAX_LINES = 60
_MAX_CHARS = 4000
_MAX_SPAN = 200
_NUMBER = re.compile(r"^ {0,5}\d+\t", re.MULTILINE)
_KIND = re.compile(r"\[(dir|file|link|other)\] ")


def as_list(text: str) -> str:
    """Return lines as a Markdown list; ``[dir] docs`` becomes ``docs/``."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) < 2 and not _KIND.match(text.strip()):
        return as_words(text)
    items = [f"- {as_span(_entry(line))}" for line in lines[:_MAX_ITEMS]]
    if len(lines) > _MAX_ITEMS:
        items.append(f"- and {len(lines) - _MAX_ITEMS} more")
    return "\n".join(items)


def as_fence(text: str) -> str:
    """Return a text in a fenced block that nothing in it can close."""
    if not text.strip():
        return as_words(text)
    lines = text.strip("\n").splitlines()
    kept = "\n".join(lines[:_MAX_LINES])[:_MAX_CHARS]
    left_out = len(text.strip("\n")) - len(kept)
    fence = "`" * max(3, _longest_run(kept) + 1)
    note = f"\n({left_out} more characters)" if left_out else ""
    return f"{fence}\n{kept}\n{fence}{note}"


def as_file(text: str) -> str:
    """Return the content of a file in a fence, without `read_file`'s line numbers."""
    return as_fence(_NUMBER.sub("", text) if _NUMBER.match(text) else text)


def as_words(text: str) -> str:
    """Return a short text as a code span, a longer one in a fence."""
    words = text.strip()
    if not words:
        return "There was no output."
    if "\n" in words or len(words) > _MAX_SPAN:
        return as_fence(text)
    return as_span(words)


def as_span(text: str) -> str:
    """Return one line as a code span, shortened if need be."""
    line = " ".join(text.split())
    if len(line) > _MAX_SPAN:
        line = f"{line[:_MAX_SPAN]}..."
    ticks = "`" * (_longest_run(line) + 1)
    pad = " " if "`" in line else ""
    return f"{ticks}{pad}{line}{pad}{ticks}"


def _entry(line: str) -> str:
    kind = _KIND.match(line)
    if kind is None:
        return line
    name = line[kind.end() :]
    return f"{name}/" if kind[1] == "dir" and not name.endswith("/") else name


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
