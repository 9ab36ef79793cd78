"""Lists folders: sorted, filtered, and bounded however large the tree is."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase

from rustyclaw import ToolError, ToolResult

from rustyclaw_files.names import shown
from rustyclaw_files.place import open_below
from rustyclaw_files.root import Root

MAX_SEEN = 20_000
MAX_DEPTH = 64
MAX_PATTERN = 1000

_SKIPPED_LINK = " (skipped: broken, or leads outside the workspace)"


@dataclass(frozen=True, slots=True, order=True)
class _Entry:
    names: tuple[str, ...]
    kind: str
    note: str = ""

    @property
    def line(self) -> str:
        return f"[{self.kind}] {shown('/'.join(self.names))}{self.note}"


def list_folder(
    root: Root, path: str, *, pattern: str | None, recursive: bool, limit: int
) -> ToolResult:
    """Return the entries of a folder, one a line, and what is not among them.

    :param pattern: Glob on names; with a ``/`` on paths below the folder.
    :param recursive: Descend, but not into links and protected folders.
    :raises ToolError: The folder or the pattern is out of bounds.
    """
    if pattern is not None and len(pattern) > MAX_PATTERN:
        raise ToolError(f"the pattern has over {MAX_PATTERN} characters; shorten it")
    globs = [part for part in (pattern or "").split("/") if part not in ("", ".")]
    recursive = recursive or len(globs) > 1 or "**" in globs
    if len(globs) < 2:
        globs.insert(0, "**")
    with root.place(path) as place, root.open_folder(place, path) as folder:
        listing = _Listing(root, folder, place.path, globs, recursive=recursive)
        listing.collect()
    return listing.result(limit)


def reached(globs: Sequence[str], names: Sequence[str]) -> set[int]:
    """Return how many globs the names may have used up, in any way to read them.

    ``**`` stands for any number of names. They match if all globs are used up,
    and something below them may still match if not all are.
    """
    positions = _with_skips({0}, globs)
    for name in names:
        following = set()
        for position in positions - {len(globs)}:
            if globs[position] == "**":
                following.add(position)
            elif fnmatchcase(name, globs[position]):
                following.add(position + 1)
        positions = _with_skips(following, globs)
    return positions


def _with_skips(positions: set[int], globs: Sequence[str]) -> set[int]:
    for position in sorted(positions):
        while position < len(globs) and globs[position] == "**":
            position += 1
            positions.add(position)
    return positions


class _Listing:
    """The entries below an open folder."""

    def __init__(
        self,
        root: Root,
        folder: int,
        path: str,
        globs: Sequence[str],
        *,
        recursive: bool,
    ) -> None:
        self._root = root
        self._folder = folder
        self._path = path
        self._globs = globs
        self._recursive = recursive
        self._entries: list[_Entry] = []
        self._seen = 0
        self._unsearched = 0
        self._waiting: deque[tuple[str, ...]] = deque()

    def collect(self) -> None:
        """Look through the folder and, level by level, what is below it."""
        self._look_into(())
        while self._waiting and self._seen <= MAX_SEEN:
            names = self._waiting.popleft()
            try:
                self._look_into(names)
            except OSError:  # gone, unreadable, or a link by now
                self._unsearched += 1
        self._unsearched += len(self._waiting)

    def result(self, limit: int) -> ToolResult:
        """Return the first entries by name and what was left out."""
        shown_entries = sorted(self._entries)[:limit]
        lines = [entry.line for entry in shown_entries]
        if not lines:
            lines.append("[nothing is there]" if not self._seen else "[no match]")
        total = len(self._entries)
        if total > limit:
            lines.append(
                f"[truncated: {limit} of {total} entries; use a pattern or a subfolder]"
            )
        if self._seen > MAX_SEEN:
            lines.append(f"[stopped after {MAX_SEEN} entries; list a subfolder]")
        if self._unsearched:
            lines.append(f"[folders not searched: {self._unsearched}]")
        return ToolResult(
            text="\n".join(lines),
            details={"entries": len(shown_entries), "total": total},
        )

    def _look_into(self, above: tuple[str, ...]) -> None:
        with open_below(self._folder, above) as fd, os.scandir(fd) as entries:
            for found in entries:
                self._seen += 1
                if self._seen > MAX_SEEN:
                    return
                with suppress(OSError):  # it may be gone by now
                    self._look_at(
                        (*above, found.name), found.stat(follow_symlinks=False)
                    )

    def _look_at(self, names: tuple[str, ...], status: os.stat_result) -> None:
        positions = reached(self._globs, names)
        if len(self._globs) in positions:
            self._entries.append(self._entry(names, status))
        below = positions - {len(self._globs)}
        if not (self._recursive and below and stat.S_ISDIR(status.st_mode)):
            return
        if len(names) > MAX_DEPTH or self._root.is_protected(names[-1]):
            self._unsearched += 1
        elif not self._root.is_state(status):
            self._waiting.append(names)

    def _entry(self, names: tuple[str, ...], status: os.stat_result) -> _Entry:
        if stat.S_ISLNK(status.st_mode):
            target = self._behind(names)
            if target is None:
                return _Entry(names, "link", _SKIPPED_LINK)
            status = target
        if self._root.is_state(status):
            return _Entry(names, "dir", " (skipped: state of the gateway)")
        if stat.S_ISDIR(status.st_mode):
            return _Entry(names, "dir")
        if stat.S_ISREG(status.st_mode):
            return _Entry(names, "file", f" ({status.st_size} bytes)")
        return _Entry(names, "other", " (device, pipe or socket)")

    def _behind(self, names: tuple[str, ...]) -> os.stat_result | None:
        """Return what a link leads to, if that is within bounds."""
        try:
            with self._root.behind("/".join((self._path, *names))) as place:
                return place.status
        except (OSError, ToolError):
            return None
