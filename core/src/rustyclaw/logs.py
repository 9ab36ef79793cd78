"""The log of a process: plain or JSON lines, redacted, impossible to forge."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rustyclaw.errors import ConfigError

if TYPE_CHECKING:
    from rustyclaw.config import Redactor
    from rustyclaw.config.model import LoggingConfig

_MAX_BYTES, _KEPT = 10_000_000, 3
#: Attributes that callers may pass as ``extra``.
_EXTRA = ("run_id", "session_key", "plugin")
#: Control characters, line separators, what turns text around, lone surrogates.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)


def configure(
    config: LoggingConfig, redactor: Redactor, *, stream: IO[str] | None = None
) -> Callable[[], None]:
    """Send the log of the whole process to one place.

    This is for the command line; who embeds a gateway sets up `logging` himself.

    :param stream: Takes the place of ``config.output``.
    :returns: A function that undoes it.
    :raises ConfigError: The level is unknown, or the file cannot be written.
    """
    level = os.environ.get("RUSTYCLAW_LOG_LEVEL", "").lower() or config.level
    if level not in ("debug", "info", "warning", "error"):
        raise ConfigError(
            f"RUSTYCLAW_LOG_LEVEL is {level!r}; use debug, info, warning or error"
        )
    handler = _handler(config.output, stream)
    handler.setFormatter(_Formatter(redactor, as_json=config.format == "json"))
    undo = ExitStack()
    for name, value in [("", level), *(rule.split("=") for rule in config.filters)]:
        logger = logging.getLogger(name)
        undo.callback(logger.setLevel, logger.level)
        logger.setLevel(value.upper())
    undo.callback(setattr, logging, "raiseExceptions", logging.raiseExceptions)
    logging.raiseExceptions = False  # it would print a record as it is
    undo.callback(handler.close)
    undo.callback(logging.getLogger().removeHandler, handler)
    logging.getLogger().addHandler(handler)
    return undo.close


def _handler(output: str, stream: IO[str] | None) -> logging.Handler:
    if stream is not None or output in ("stderr", "stdout"):
        return logging.StreamHandler(stream or getattr(sys, output))
    path = Path(output).expanduser()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _PrivateFile(path, maxBytes=_MAX_BYTES, backupCount=_KEPT)
    except OSError as exc:
        problem = f"cannot write {output!r}: {exc.strerror}"
        raise ConfigError(f"logging.output: {problem}") from None


class _PrivateFile(RotatingFileHandler):
    """A rotating file that only its owner may read."""

    def _open(self) -> Any:
        opener = partial(os.open, mode=0o600)
        return open(self.baseFilename, self.mode, encoding="utf-8", opener=opener)


class _Formatter(logging.Formatter):
    def __init__(self, redactor: Redactor, *, as_json: bool) -> None:
        super().__init__()
        self._redactor = redactor
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        try:
            message = record.getMessage()
        except Exception:  # arguments that do not fit; still worth to be seen
            message = f"{record.msg!r} {record.args!r}"
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        error = "\n".join(filter(None, (trace, record.stack_info)))
        scrub = self._redactor.scrub
        if self._as_json:
            when = datetime.fromtimestamp(record.created, UTC)
            fields = {
                "timestamp": when.isoformat(timespec="milliseconds"),
                "level": record.levelname,
                "target": record.name,
                "message": message,
                **{name: str(getattr(record, name, "")) for name in _EXTRA},
                "error": error,
            }
            shown = {k: scrub(v) for k, v in fields.items() if v or k == "message"}
            return json.dumps(shown)
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        head = f"{clock} {record.levelname:<5} {record.name}  {message}"
        # The lines of a traceback are indented: none can pass for an entry.
        rest = (f"    {line}" for line in scrub(error).splitlines())
        return "\n".join(map(_escape, (scrub(head), *rest)))


def _escape(line: str) -> str:
    return _UNSAFE.sub(lambda m: m[0].encode("unicode_escape").decode(), line)
