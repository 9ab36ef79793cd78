"""The transcript of a session: whole lines that are appended, never written over.

Reading changes nothing. What cannot be read is copied beside the file; a torn last
line is cut off when the next entry is appended, by the one writer.
"""

from __future__ import annotations

import json
import logging
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from errno import EIO, ENOSPC
from functools import partial
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self, TypeVar

import anyio
from anyio import to_thread

from rustyclaw.errors import SessionError, StorageError
from rustyclaw.sessions.entries import Entry, decode, encode, json_line
from rustyclaw.sessions.locks import open_in_folder

logger = logging.getLogger(__name__)

VERSION = 1
T = TypeVar("T")
Fsync = Literal["always", "turn", "never"]
_LINE_LIMIT = 64 * 2**20
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
_BOM = b"\xef\xbb\xbf"
_scan = json.JSONDecoder().raw_decode


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What reading found.

    :param skipped_lines: Damaged lines; they stay in the file.
    :param dropped_tail: The last line was torn; the next append cuts it off.
    :param quarantined_path: Where a copy of all that is damaged lies.
    """

    entries: int = 0
    skipped_lines: int = 0
    dropped_tail: bool = False
    quarantined_path: Path | None = None


class Transcript:
    """A transcript in memory and on disk; to append, hold its `SessionLock`.

    The constructor reads the file, if there is one, and blocks; see `load`.

    :param fsync: Force to the disk ``always``, at the end of a ``turn`` or ``never``.
    :ivar entries: The entries in the file's order, appended ones included.
    :raises SessionError: It is no regular file, unreadable, or of a newer version.
    """

    def __init__(self, path: Path, key: str, *, fsync: Fsync = "turn") -> None:
        self.path = path
        self.entries: list[Entry] = []
        self.report = LoadReport()
        self._fsync = fsync
        self._header: dict[str, Any] = {"type": "session", "version": VERSION}
        self._header |= {"id": path.stem, "key": key, "time": round(time.time(), 3)}
        self._limiter = anyio.CapacityLimiter(1)
        self._seen = _look(path)
        self._cut: int | None = None  # where a torn tail begins
        self._stale = False  # somebody else has changed the file
        self._suspect = False  # an fsync failed, and what it lost is not known
        try:
            with _opened(path, os.O_RDONLY) as fd, open(fd, "rb", closefd=False) as f:
                self._read(f)
        except FileNotFoundError:
            pass
        except OSError as exc:
            raise SessionError(
                f"cannot read {str(path)!r} ({exc.strerror}); check its permissions"
            ) from exc

    @classmethod
    async def load(cls, path: Path, key: str, *, fsync: Fsync = "turn") -> Self:
        """Read a transcript in a thread."""
        return await to_thread.run_sync(partial(cls, path, key, fsync=fsync))

    async def append(self, entry: Entry, sync: bool = False) -> Entry:
        """Append one entry as `append_many` does."""
        return (await self.append_many((entry,), sync))[0]

    async def append_many(
        self, entries: Sequence[Entry], sync: bool = False
    ) -> list[Entry]:
        """Append entries by one write; return them linked to their parents.

        :param sync: The turn ends here.
        :raises StorageError: Nothing was written; a later append may succeed.
        """
        return await self.visit(partial(self.write, entries, sync))

    async def rewrite(self, entries: Sequence[Entry]) -> None:
        """Replace the whole file in one step.

        :raises StorageError: The old file is still in place.
        """
        await self.visit(partial(self._replace, entries))

    async def visit(self, work: Callable[[], T]) -> T:
        """Call ``work``, which may `write`, in a thread; only one does at a time.

        :raises StorageError: The disk refused.
        """
        try:
            return await to_thread.run_sync(work, limiter=self._limiter)
        except OSError as exc:
            raise StorageError(
                f"cannot write {str(self.path)!r} ({exc.strerror}); free space or mend "
                "its permissions, then try again"
            ) from exc

    def is_ours(self) -> bool:
        """Return whether nobody else has changed the file; a quick look at it."""
        return not self._stale and _look(self.path) == self._seen

    # --- Reading ----------------------------------------------------------------

    def _read(self, file: BinaryIO) -> None:
        damaged, skipped, torn, place = [], 0, False, 0
        for size, line in _lines(file):
            known = len(self.entries)
            try:
                self._take(line)
            except (ValueError, RecursionError):
                damaged.append(line)
                cut_short = size == len(line) and not line.endswith(b"\n")
                torn = cut_short and len(self.entries) == known
                skipped += not torn
                self._cut = place if torn else None
            place += size
        copy = self._quarantine(b"".join(damaged)) if damaged else None
        if copy is None:
            self._cut = None
        self.report = LoadReport(
            entries=len(self.entries),
            skipped_lines=skipped,
            dropped_tail=torn,
            quarantined_path=copy,
        )

    def _take(self, line: bytes) -> None:
        """Add the entries of a line: one, unless a line break was lost."""
        text = line.strip(b"\0\t\r\n " + _BOM).decode()
        if not text and b"\0" in line:
            raise ValueError("a hole in the file")
        place = 0
        while place < len(text):
            raw, place = _scan(text, place)
            while text[place : place + 1].isspace():
                place += 1
            if not isinstance(raw, dict) or raw.get("type") != "session":
                self.entries.append(decode(raw, f"{len(self.entries):016x}"))
                continue
            version = raw.get("version")
            # OpenClaw's headers, which have a "timestamp", go up to version 3
            newer = isinstance(version, int) and version > VERSION
            if newer and "timestamp" not in raw:
                raise SessionError(
                    f"{str(self.path)!r} has format version {version} and this "
                    f"rustyclaw knows {VERSION}; it is left as it is: upgrade to use it"
                )
            self._header = raw

    def _quarantine(self, damaged: bytes) -> Path | None:
        """Copy what is damaged to a file that is named after its content."""
        name = f"{self.path.name}.bad-{sha256(damaged).hexdigest()[:8]}"
        logger.warning("%s is damaged; see %s beside it", self.path, name)
        try:
            _save(self.path.with_name(name), [damaged])
        except (OSError, SessionError) as exc:
            logger.warning("cannot write %s: %s", name, exc)
            return None
        return self.path.with_name(name)

    # --- Writing ----------------------------------------------------------------

    def write(self, entries: Sequence[Entry], sync: bool = False) -> list[Entry]:
        """Append entries as `append_many` does; it blocks: for a `visit`."""
        if self._suspect and self.is_ours():
            self._replace(self.entries)
        linked, parent = [], self.entries[-1].id if self.entries else None
        for entry in entries:
            linked.append(replace(entry, parent_id=entry.parent_id or parent))
            parent = entry.id
        lines = list(map(encode, linked))
        if max(map(len, lines), default=0) >= _LINE_LIMIT:
            raise SessionError("a message of 64 MiB or more cannot be kept; send less")
        force = self._fsync == "always" or (sync and self._fsync == "turn")
        self._write(b"".join(lines), force)
        self.entries += linked
        return linked

    def _write(self, data: bytes, force: bool) -> None:
        with _opened(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT) as fd:
            found = _look(fd)
            size = found[2] if found else 0
            is_new = self._seen is None and size == 0
            self._stale = self._stale or not (is_new or found == self._seen)
            if self._cut is not None and not self._stale:
                os.ftruncate(fd, size := self._cut)
            self._cut = None
            if size == 0:
                data = json_line(self._header) + data
            elif os.pread(fd, 1, size - 1) != b"\n":
                data = b"\n" + data
            written = 0
            try:
                written = os.write(fd, data)
                if written < len(data):
                    raise OSError(ENOSPC, os.strerror(ENOSPC))
                if force:
                    os.fsync(fd)
                if size == 0 and self._fsync != "never":
                    _sync_folder(self.path.parent)
            except OSError:
                self._suspect = written == len(data)
                if os.fstat(fd).st_size == size + written:
                    os.ftruncate(fd, size)
                else:  # somebody else's line follows
                    self._stale = True
                raise
            finally:
                self._seen = _look(fd)

    def _replace(self, entries: Sequence[Entry]) -> None:
        draft = self.path.with_name(f"{self.path.name}.tmp")
        if self.report.skipped_lines and self.report.quarantined_path is None:
            raise OSError(EIO, "its damaged lines could not be copied")
        try:
            _save(draft, chain([json_line(self._header)], map(encode, entries)))
            draft.replace(self.path)
            _sync_folder(self.path.parent)
        finally:
            draft.unlink(missing_ok=True)
        self.entries[:] = entries
        self._seen, self._cut, self._suspect = _look(self.path), None, False


def read_header(path: Path) -> dict[str, Any]:
    """Return the header of a transcript; an empty one if it cannot be read."""
    with suppress(OSError, ValueError, RecursionError, SessionError):
        with _opened(path, os.O_RDONLY) as fd:
            line = os.read(fd, 4096).removeprefix(_BOM).partition(b"\n")[0]
        raw = json.loads(line)
        if isinstance(raw, dict) and raw.get("type") == "session":
            return raw
    return {}


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield lines and their sizes; of one over the limit only the beginning."""
    while line := file.readline(_LINE_LIMIT):
        size, more = len(line), line
        while more[-1:] != b"\n" and (more := file.readline(_LINE_LIMIT)):
            size += len(more)
        yield size, line


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    """Open a file; a pipe or a device is refused and never waited for."""
    fd = open_in_folder(path, flags | os.O_NONBLOCK)
    try:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise SessionError(f"{str(path)!r} is not a regular file; move it away")
        yield fd
    finally:
        os.close(fd)


def _save(path: Path, pieces: Iterable[bytes]) -> None:
    with _opened(path, _CREATE) as fd, open(fd, "wb", closefd=False) as file:
        file.writelines(pieces)
        file.flush()
        os.fsync(fd)


def _sync_folder(path: Path) -> None:
    with _opened(path, os.O_RDONLY) as fd:
        os.fsync(fd)


def _look(place: Path | int) -> tuple[int, ...] | None:
    with suppress(OSError):
        found = os.stat(place)
        return found.st_dev, found.st_ino, found.st_size
    return None
