"""The log of a process: plain or JSON lines, redacted, impossible to forge."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

from rustyclaw.errors import ConfigError

if TYPE_CHECKING:
    from rustyclaw.config import Redactor
    from rustyclaw.config.model import LoggingConfig

#: Attributes that callers may pass as ``extra``.
_EXTRA = ("run_id", "session_key", "plugin")
#: Control characters, line separators, what turns text around, lone surrogates.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)


def configure_logs(
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
        remedy = "use debug, info, warning or error"
        raise ConfigError(f"RUSTYCLAW_LOG_LEVEL is {level!r}; {remedy}")
    stream = stream or {"stderr": sys.stderr, "stdout": sys.stdout}.get(config.output)
    handler = logging.StreamHandler(stream) if stream else _file(config.output)
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


def _file(output: str) -> logging.Handler:
    path = Path(output).expanduser()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        return logging.FileHandler(path, encoding="utf-8")
    except OSError as exc:
        problem = f"cannot write {output!r}: {exc.strerror}"
        raise ConfigError(f"logging.output: {problem}") from None


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
        scrub, when = self._redactor.scrub, datetime.fromtimestamp(record.created, UTC)
        if self._as_json:
            extra = {name: str(getattr(record, name, "")) for name in _EXTRA}
            fields = {
                "timestamp": when.isoformat(timespec="milliseconds"),
                "level": record.levelname,
                "target": record.name,
                "message": message,
            }
            fields |= {k: v for k, v in (extra | {"error": error}).items() if v}
            return json.dumps({key: scrub(value) for key, value in fields.items()})
        head = f"{when.astimezone():%H:%M:%S} {record.levelname:<5} {record.name}  "
        # The lines of a traceback are indented: none can pass for an entry.
        rest = (f"    {line}" for line in scrub(error).splitlines())
        lines = (scrub(head + message), *rest)
        return "\n".join(_UNSAFE.sub(lambda m: ascii(m[0])[1:-1], n) for n in lines)
