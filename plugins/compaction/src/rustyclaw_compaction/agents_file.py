"""Reads single sections of the workspace's ``AGENTS.md``."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from stat import S_ISREG

_MOST_BYTES = 200_000
_HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*#*\s*$")
_FENCE = re.compile(r"^\s*(```|~~~)")
#: Names that older workspaces use for the same.
_FORMERLY = {"session startup": "every session", "red lines": "safety"}


def read_sections(workspace: Path, names: Sequence[str], most: int) -> str:
    """Return sections of ``AGENTS.md``, at most ``most`` characters; it blocks.

    A section begins with a heading of level 2 or 3 and goes on to the next heading
    of its level or above. Case and code fences are ignored.
    """
    found = sections(_read(workspace / "AGENTS.md"))
    texts = []
    for name in map(str.lower, names):
        text = found.get(name) or found.get(_FORMERLY.get(name, ""))
        if text:
            texts.append(text)
    joined = "\n\n".join(texts)
    return joined if len(joined) <= most else f"{joined[:most]}\n[... cut ...]"


def sections(text: str) -> dict[str, str]:
    """Return the sections of level 2 and 3 by their headings in lower case."""
    found: dict[str, list[str]] = {}
    open_ones: list[tuple[int, str]] = []
    fence = ""
    for line in text.splitlines():
        if mark := _FENCE.match(line):
            fence = "" if fence == mark[1] else fence or mark[1]
        heading = None if fence or mark else _HEADING.match(line)
        if heading:
            level, name = len(heading[1]), heading[2].lower()
            open_ones = [(n, title) for n, title in open_ones if n < level]
            if level in (2, 3) and name not in found:
                open_ones.append((level, name))
                found[name] = []
        for _, title in open_ones:
            found[title].append(line)
    return {title: "\n".join(lines).strip() for title, lines in found.items()}


def _read(path: Path) -> str:
    """Return a file's text; nothing if it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            if not S_ISREG(os.fstat(fd).st_mode):
                return ""
            return os.read(fd, _MOST_BYTES).decode(errors="replace")
        finally:
            os.close(fd)
    except OSError:
        return ""
