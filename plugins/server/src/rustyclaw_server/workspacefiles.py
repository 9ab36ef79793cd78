"""The files of a workspace that make up an agent, and no others.

Each is opened below a handle of the folder, and never through a link, so that what
stands in a workspace cannot lead out of it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from rustyclaw import MethodError

NAMES = (
    *("AGENTS.md", "SOUL.md", "TOOLS.md", "IDENTITY.md", "USER.md"),
    *("HEARTBEAT.md", "BOOTSTRAP.md", "MEMORY.md", "memory.md"),
)
#: Listed only if it is there; usually it is the other spelling.
_SECOND_SPELLING = "memory.md"
MAX_BYTES = 1_048_576


def rows(folder: Path) -> list[dict[str, Any]]:
    """Return what there is; blocks."""
    found = [_row(folder, name) for name in NAMES]
    return [
        row for row in found if not (row["missing"] and row["name"] == _SECOND_SPELLING)
    ]


def read(folder: Path, name: str) -> dict[str, Any]:
    """Return a file with its content; blocks.

    :raises MethodError: It is none of the known ones, too large, or no regular file.
    """
    _check(name)
    row = _row(folder, name)
    if row["missing"]:
        return row | {"content": ""}
    with _folder(folder) as root:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=root)
        with open(fd, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise MethodError(f"file {name!r} has more than {MAX_BYTES} bytes")
    return row | {"content": data.decode("utf-8", "replace")}


def write(folder: Path, name: str, content: str) -> dict[str, Any]:
    """Write a file in one step, and return it; blocks. Raises as `read`."""
    _check(name)
    data = content.encode("utf-8", "replace")
    if len(data) > MAX_BYTES:
        raise MethodError(f"file {name!r} must have at most {MAX_BYTES} bytes")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _row(folder, name)  # what is there must be a file
    draft = f".{name}.{uuid4().hex}"
    with _folder(folder) as root:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        fd = os.open(draft, flags, 0o600, dir_fd=root)
        try:
            with open(fd, "wb") as file:
                file.write(data)
            os.replace(draft, name, src_dir_fd=root, dst_dir_fd=root)
        except OSError:
            with suppress(OSError):
                os.unlink(draft, dir_fd=root)
            raise
    return _row(folder, name) | {"content": data.decode()}


def _check(name: str) -> None:
    if name not in NAMES:
        raise MethodError(f'unsupported file "{name}"')


def _row(folder: Path, name: str) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "path": str(folder / name), "missing": True}
    try:
        with _folder(folder) as root:
            found = os.stat(name, dir_fd=root, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return row
    if not stat.S_ISREG(found.st_mode):
        raise MethodError(f"file {name!r} of the workspace is no regular file")
    facts = {"size": found.st_size, "updatedAtMs": int(found.st_mtime * 1000)}
    return row | {"missing": False, **facts}


@contextmanager
def _folder(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)
