"""What SQLite refused, in words; and what becomes of a damaged file."""

from __future__ import annotations

import logging
import os
import secrets
import sqlite3
from contextlib import suppress
from pathlib import Path
from time import gmtime, strftime

from rustyclaw import ToolError

_REMEDIES = {
    sqlite3.SQLITE_BUSY: "another process is writing to it; try again",
    sqlite3.SQLITE_LOCKED: "another process is writing to it; try again",
    sqlite3.SQLITE_FULL: "the disk is full; nothing was changed, free some space",
    sqlite3.SQLITE_READONLY: "it is read-only; the operator must make it writable",
    sqlite3.SQLITE_IOERR: "the disk failed; nothing was changed, try again",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; the operator must look at it",
    sqlite3.SQLITE_INTERRUPT: "that took too long; try again with fewer words",
}

logger = logging.getLogger(__name__)


def explain(error: sqlite3.Error | OSError, path: Path) -> ToolError:
    """Return what to tell the model about the file at ``path``."""
    code = getattr(error, "sqlite_errorcode", -1) & 0xFF
    remedy = _REMEDIES.get(code, f"{error}; ask the operator to look at it")
    logger.warning("memory file %s: %s", path, error)
    return ToolError(f"the memory in {path.name!r} cannot be used: {remedy}")


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether the content of the file is at fault."""
    code = getattr(error, "sqlite_errorcode", -1) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def set_aside(path: Path, seen: os.stat_result) -> ToolError:
    """Rename a damaged file with its log; return what to tell the model.

    :param seen: The damaged file: if another process was quicker, what is at
        ``path`` now is a sound new one.
    """
    new_name = f"{path.name}.damaged-{strftime('%Y%m%dT%H%M%SZ', gmtime())}"
    new_path = path.with_name(f"{new_name}-{secrets.token_hex(4)}")
    with suppress(FileNotFoundError):
        if not os.path.samestat(os.stat(path), seen):
            return ToolError("the memory was damaged and has been replaced; try again")
        # The log goes first: beside a new file, it would be replayed into it.
        for suffix in ("-wal", "-shm", ""):
            with suppress(FileNotFoundError):
                os.rename(f"{path}{suffix}", f"{new_path}{suffix}")
    logger.error("memory file %s is damaged; it is now %s", path, new_path)
    return ToolError(
        f"the memory is damaged; nothing was deleted, the file is now "
        f"{new_path.name!r} (the operator can try `sqlite3 FILE .recover`). "
        "The memory starts empty with the next call"
    )
