"""Notices that a command no longer means what it meant when it was allowed."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

_READ_BYTES = 1_048_576
_MOST = 64
_WORDS = re.compile(r"[\s;&|()<>=`$]+")


def digests(command: str, folder: Path, workspace: Path) -> dict[str, str]:
    """Return the digest of each file of the workspace that a command names.

    Whoever may write there could else change what an allowed script does. What a
    program reads of its own accord, such as a ``Makefile``, is not seen here.

    :param folder: Where the command starts.
    """
    found: dict[str, str] = {}
    for word in dict.fromkeys(_WORDS.split(command)):
        word = re.sub(r"[\"'\\]", "", word)
        try:
            path = (folder / word).resolve()
            if word and path.is_relative_to(workspace) and path.is_file():
                found[word] = _digest(path)
        except (OSError, ValueError, RuntimeError):  # too long, a NUL, a loop
            continue
        if len(found) >= _MOST:
            break
    return found


def _digest(path: Path) -> str:
    """Return what changes with a file; of a large one, also when it was written."""
    with path.open("rb") as file:
        head = sha256(file.read(_READ_BYTES)).hexdigest()[:32]
    facts = path.stat()
    if facts.st_size <= _READ_BYTES:
        return head
    return f"{head}:{facts.st_size}:{facts.st_mtime_ns}:{facts.st_ctime_ns}"
