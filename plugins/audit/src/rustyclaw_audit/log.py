"""The files: one a day, one JSON object a line, each chained to the line before.

``prev`` is the SHA-256 of the previous line, across files, so that a line that was
changed or taken out shows: `verify` names it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

_DAY = 86_400
_FIRST = "0" * 64
_TAIL_BYTES = 1_048_576


class AuditLog:
    """Appends records; all methods block, so call them in a thread.

    :param folder: Where the files are; made with mode 0700.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._previous: str | None = None

    def append(self, records: Iterable[dict[str, Any]]) -> None:
        """Write records as lines of the day's file.

        :raises OSError: The disk refused; nothing of these records was written.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        previous = self._previous or self._last_digest()
        lines = []
        for record in records:
            text = json.dumps({**record, "prev": previous}, ensure_ascii=True)
            lines.append(text.encode() + b"\n")
            previous = sha256(text.encode()).hexdigest()
        path = self._folder / f"audit-{datetime.now(UTC):%Y-%m-%d}.jsonl"
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
        fd = os.open(path, flags, 0o600)
        try:
            size = os.fstat(fd).st_size
            data = b"".join(lines)
            if size and os.pread(fd, 1, size - 1) != b"\n":  # a kill tore it
                data = b"\n" + data
            try:
                if os.write(fd, data) != len(data):
                    raise OSError("a part was written only")
            except OSError:
                os.ftruncate(fd, size)
                raise
        finally:
            os.close(fd)
        self._previous = previous

    def remove_old(self, days: int) -> None:
        """Remove files that were last written more than ``days`` days ago."""
        oldest = time.time() - days * _DAY
        for path in _files(self._folder):
            if path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)

    def _last_digest(self) -> str:
        for path in reversed(_files(self._folder)):
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
                lines = file.read().splitlines()
            if lines:
                return sha256(lines[-1]).hexdigest()
        return _FIRST


def verify(folder: Path) -> Iterator[str]:
    """Yield what is wrong with the chain, as ``file:line`` and a sentence.

    The first line of the oldest file is taken on trust: older files are removed.
    """
    previous: str | None = None
    for path in _files(folder):
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            try:
                said = json.loads(line)["prev"]
            except (ValueError, KeyError, TypeError):
                yield f"{path.name}:{number}: it is no audit record"
                said = previous
            if previous is not None and said != previous:
                yield f"{path.name}:{number}: the line before was changed or removed"
            previous = sha256(line).hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("audit-????-??-??.jsonl"))
