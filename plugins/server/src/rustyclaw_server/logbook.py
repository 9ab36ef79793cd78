"""The log of this process as JSON lines below home, for ``logs.tail``.

A line is what the core's own JSON format says: one record, escaped, without secrets.
At a bound of size the file gives way to a new one; one old file is kept.
"""

from __future__ import annotations

import json
import logging
import os
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from rustyclaw import Gateway

_BYTES = 4 * 2**20
_CHARS = 20_000
#: Attributes that callers may pass as ``extra``.
_EXTRA = ("run_id", "session_key", "plugin")


class LogBook:
    """A handler of the root logger, and the reader of its file."""

    def __init__(self, gateway: Gateway, max_bytes: int = _BYTES) -> None:
        self.path = gateway.home / "logs" / "gateway.jsonl"
        self._max_bytes = max_bytes
        self._scrub = gateway.config.redactor.scrub
        self._handler: logging.Handler | None = None

    def open(self) -> None:
        """Begin to write; a home that cannot be written has no log of its own."""
        with suppress(OSError):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handler = _File(self.path, self._max_bytes)
            handler.setFormatter(_Lines(self._scrub))
            self._handler = handler
            logging.getLogger().addHandler(handler)

    def close(self) -> None:
        """Write no more."""
        if self._handler is not None:
            logging.getLogger().removeHandler(self._handler)
            self._handler.close()
            self._handler = None

    def tail(self, cursor: int | None, limit: int, max_bytes: int) -> dict[str, Any]:
        """Return what was written since a cursor, or the last of it; blocks.

        :param cursor: A place in the file that an earlier answer gave.
        """
        answer: dict[str, Any] = {"file": str(self.path), "cursor": 0, "size": 0}
        answer |= {"lines": [], "truncated": False, "reset": False}
        try:
            with open(self.path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                start = max(size - max_bytes, 0)
                is_cut = start > 0
                if cursor is not None and start <= cursor <= size:
                    start, is_cut = cursor, False
                elif cursor is not None:  # of an older file, or too far back
                    answer["reset"] = True
                file.seek(max(start - 1, 0))
                data = file.read(size - max(start - 1, 0))
        except FileNotFoundError:
            return answer | {"reset": bool(cursor)}
        if start > 0 and data:  # begin behind a line break
            before, data = data[:1], data[1:]
            if before != b"\n":
                data = data.partition(b"\n")[2]
        whole = data[: data.rfind(b"\n") + 1]  # a line may be half written
        lines = whole.decode("utf-8", "replace").splitlines()
        rest = len(data) - len(whole)
        answer |= {"cursor": size - rest, "size": size, "truncated": is_cut}
        return answer | {"lines": [for_clients(line) for line in lines[-limit:]]}


def for_clients(line: str) -> str:
    """Return a line with the keys by which OpenClaw's clients read one, too."""
    try:
        record = json.loads(line)
        subsystem = json.dumps({"subsystem": record["target"]})
        meta = {
            "name": subsystem,
            "date": record["timestamp"],
            "logLevelName": record["level"].replace("WARNING", "WARN"),
        }
        keys = {"0": subsystem, "1": record["message"], "time": record["timestamp"]}
        return json.dumps({**keys, **record, "_meta": meta})
    except (ValueError, LookupError, TypeError, AttributeError):
        return line


class _File(RotatingFileHandler):
    """For the owner's eyes alone; what cannot be written is not written."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        super().__init__(path, maxBytes=max_bytes, backupCount=1, encoding="utf-8")

    def _open(self) -> TextIOWrapper:
        opener = partial(os.open, mode=0o600)
        return cast(
            "TextIOWrapper",
            open(self.baseFilename, self.mode, encoding="utf-8", opener=opener),
        )

    def handleError(self, record: logging.LogRecord) -> None:
        """Go on without; a log that fails must not fail what it tells of."""


class _Lines(logging.Formatter):
    def __init__(self, scrub: Any) -> None:
        super().__init__()
        self._scrub = scrub

    def format(self, record: logging.LogRecord) -> str:
        try:
            message = record.getMessage()
        except Exception:  # arguments that do not fit; still worth to be seen
            message = f"{record.msg!r} {record.args!r}"
        when = datetime.fromtimestamp(record.created, UTC)
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        fields = {
            "timestamp": when.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "target": record.name,
            "message": message[:_CHARS],
            **{name: str(getattr(record, name, "")) for name in _EXTRA},
            "error": trace[-_CHARS:],
        }
        return json.dumps({k: self._scrub(v) for k, v in fields.items() if v})
