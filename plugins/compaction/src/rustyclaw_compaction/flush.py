"""Before a compaction: what should last is written to the workspace's memory."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from datetime import date
from pathlib import Path

_MOST_CHARS = 8_000
_FOLDER = "memory"
_NOTE = re.compile(r"[-*•]\s+\S")
_QUIET = ("subagent", "cron", "heartbeat")


def is_wanted(session_key: str) -> bool:
    """Return whether a session may write memories: one person's own may.

    What strangers say in a group must not become what the agent believes elsewhere,
    and sessions that run by themselves have nobody to remember.
    """
    rest = session_key.split(":")[2:]
    shared = rest[1:2] in (["group"], ["channel"]) and len(rest) > 2
    return bool(rest) and not shared and rest[0] not in _QUIET


def notes_in(answer: str) -> str:
    """Return the notes that a model gave: its lines with a dash, and no chatter."""
    lines = (line.strip() for line in answer.splitlines())
    return "\n".join(line for line in lines if _NOTE.match(line))[:_MOST_CHARS]


def append(workspace: Path, notes: str, day: date) -> None:
    """Append notes to ``memory/YYYY-MM-DD.md``, making what is missing; it blocks.

    :raises OSError: The workspace cannot be written, or a link leads out of it.
    """
    workspace.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = os.open(workspace, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(FileExistsError):
            os.mkdir(_FOLDER, 0o700, dir_fd=folder)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
        inner = os.open(_FOLDER, flags, dir_fd=folder)
    finally:
        os.close(folder)
    try:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        file = os.open(f"{day.isoformat()}.md", flags, 0o600, dir_fd=inner)
    finally:
        os.close(inner)
    with os.fdopen(file, "ab") as stream:
        stream.write(f"{notes}\n".encode(errors="replace"))
