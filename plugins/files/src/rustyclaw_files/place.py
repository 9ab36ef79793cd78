"""Places that were reached, and the only ways in which they are opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rustyclaw import ToolError

#: Flags of a folder to go through; O_PATH asks for no permission to read it.
FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW
#: Flags of a folder to list.
LISTED_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
#: Flags of a file to read; a pipe without a writer must not hold the thread.
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a path leads to, for as long as the folder is held.

    :param folder: Descriptor of the folder.
    :param name: The entry in it; empty if the path leads to the folder itself.
    :param parents: Names from ``start`` to the folder; none of them was a link.
    :param start: Empty for the workspace, otherwise ``/``.
    :param status: Of the entry, never that of a link; ``None`` if it is missing.
    """

    folder: int
    name: str
    parents: tuple[str, ...]
    start: str
    status: os.stat_result | None

    @property
    def path(self) -> str:
        """The real path, relative to the workspace if it is in there."""
        names = (*self.parents, self.name) if self.name else self.parents
        return self.start + "/".join(names) or "."


def check_regular(status: os.stat_result, path: str) -> None:
    """Refuse everything but regular files.

    :raises ToolError: It is a folder, device, pipe or socket.
    """
    if stat.S_ISDIR(status.st_mode):
        raise ToolError(f"{path!r} is a folder; use `file_list`")
    if not stat.S_ISREG(status.st_mode):
        raise ToolError(
            f"{path!r} is a device, pipe or socket; only regular files are opened"
        )


@contextmanager
def open_below(folder: int, names: Iterable[str]) -> Iterator[int]:
    """Open a folder some real folders further down, for listing."""
    fd = os.open(".", LISTED_FOLDER, dir_fd=folder)
    try:
        for name in names:
            upper, fd = fd, os.open(name, LISTED_FOLDER, dir_fd=fd)
            os.close(upper)
        yield fd
    finally:
        os.close(fd)


def identity(fd: int) -> tuple[int, int]:
    """Return what tells an open folder from all others."""
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def identity_at(path: Path) -> tuple[int, int] | None:
    """Return the identity of a folder, if there is one to protect."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
