"""Keeps the notes of one agent in an SQLite file with a full-text index.

Each call opens a connection of its own and closes it: cheap next to a model call,
and safe for any number of threads, event loops and processes, whose writes SQLite
puts into a row (write-ahead log, and a timeout for who waits).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from time import monotonic, time

from rustyclaw import ToolError

from rustyclaw_memory.failures import explain, is_damage, set_aside
from rustyclaw_memory.searching import fold, holds, match_expression

MAX_NAMESPACES = 64
BUSY_SECONDS = 5.0
DEADLINE_SECONDS = 15.0

_VERSION = 1
_SCHEMA = (
    """CREATE TABLE entries (
        id INTEGER PRIMARY KEY,
        namespace TEXT NOT NULL,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        updated REAL NOT NULL,
        UNIQUE (namespace, key)
    )""",
    """CREATE VIRTUAL TABLE words USING fts5 (
        key, value, content='entries', content_rowid='id',
        tokenize="unicode61 remove_diacritics 2"
    )""",
    """CREATE TRIGGER entry_added AFTER INSERT ON entries BEGIN
        INSERT INTO words (rowid, key, value) VALUES (new.id, new.key, new.value);
    END""",
    """CREATE TRIGGER entry_removed AFTER DELETE ON entries BEGIN
        INSERT INTO words (words, rowid, key, value)
        VALUES ('delete', old.id, old.key, old.value);
    END""",
    """CREATE TRIGGER entry_changed AFTER UPDATE ON entries BEGIN
        INSERT INTO words (words, rowid, key, value)
        VALUES ('delete', old.id, old.key, old.value);
        INSERT INTO words (rowid, key, value) VALUES (new.id, new.key, new.value);
    END""",
    f"PRAGMA user_version = {_VERSION}",
)


class MemoryStore:
    """The notes in one file; every method blocks, so call it in a thread.

    :param path: Created on first use, readable by its owner alone.
    :param max_entries: Most entries in all namespaces together.
    """

    def __init__(self, path: Path, *, max_entries: int) -> None:
        self._path = path
        self._max_entries = max_entries

    def get(self, namespace: str, key: str) -> str | None:
        """Return a value, or ``None`` if there is none.

        :raises ToolError: The file cannot be used; so do all other methods.
        """
        with self._connected() as db:
            row = db.execute(
                "SELECT value FROM entries WHERE namespace = ? AND key = ?",
                (namespace, key),
            ).fetchone()
        return None if row is None else str(row[0])

    def put(self, namespace: str, key: str, value: str) -> bool:
        """Store a value; return whether it is a new entry.

        :raises ToolError: There are too many entries or namespaces.
        """
        with self._connected() as db, _writing(db):
            updated = db.execute(
                "UPDATE entries SET value = ?, updated = ? "
                "WHERE namespace = ? AND key = ?",
                (value, time(), namespace, key),
            )
            if updated.rowcount:
                return False
            self._check_room(db, namespace)
            db.execute(
                "INSERT INTO entries (namespace, key, value, updated) "
                "VALUES (?, ?, ?, ?)",
                (namespace, key, value, time()),
            )
        return True

    def delete(self, namespace: str, key: str) -> bool:
        """Delete an entry; return whether it was there."""
        with self._connected() as db, _writing(db):
            deleted = db.execute(
                "DELETE FROM entries WHERE namespace = ? AND key = ?", (namespace, key)
            )
        return bool(deleted.rowcount)

    def keys(self, namespace: str, prefix: str) -> list[tuple[str, int]]:
        """Return the keys with a prefix, sorted, and the bytes of their values."""
        with self._connected() as db:
            return db.execute(
                "SELECT key, length(CAST(value AS BLOB)) FROM entries "
                "WHERE namespace = ? AND substr(key, 1, ?) = ? ORDER BY key",
                (namespace, len(prefix), prefix),
            ).fetchall()

    def namespaces(self) -> list[str]:
        """Return the namespaces that have entries, sorted."""
        with self._connected() as db:
            rows = db.execute("SELECT DISTINCT namespace FROM entries ORDER BY 1")
            return [name for (name,) in rows]

    def search(
        self, namespace: str, terms: list[str], limit: int
    ) -> list[tuple[str, str]]:
        """Return keys and values, best first.

        First what has all words, then what has the letters of all terms (also in
        scripts without spaces), then what has some of the words.
        """
        by_words = (
            "SELECT entries.id, entries.key, entries.value "
            "FROM words JOIN entries ON entries.id = words.rowid "
            "WHERE words MATCH ? AND namespace = ? "
            "ORDER BY bm25(words, 4.0, 1.0), entries.key LIMIT ?"
        )
        by_letters = (
            "SELECT id, key, value FROM entries "
            "WHERE namespace = ? AND holds(key || char(10) || value) "
            "ORDER BY updated DESC, key LIMIT ?"
        )
        folded = [fold(term) for term in terms]
        hits: dict[int, tuple[str, str]] = {}
        with self._connected() as db:
            db.create_function("holds", 1, lambda text: holds(text, folded))
            for sql, arguments in (
                (by_words, (match_expression(terms, "AND"), namespace, limit)),
                (by_letters, (namespace, limit)),
                (by_words, (match_expression(terms, "OR"), namespace, limit)),
            ):
                try:
                    for number, key, value in db.execute(sql, arguments):
                        hits.setdefault(number, (key, value))
                except sqlite3.OperationalError as exc:
                    if not (hits and exc.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT):
                        raise
                    break  # a huge memory: what has the words is found already
                if len(hits) >= limit:
                    break
        return list(hits.values())[:limit]

    def _check_room(self, db: sqlite3.Connection, namespace: str) -> None:
        ((entries,),) = db.execute("SELECT count(*) FROM entries")
        if entries >= self._max_entries:
            raise ToolError(
                f"the memory is full ({entries} entries); delete what is no longer "
                "needed, with a value of null"
            )
        known = {
            name for (name,) in db.execute("SELECT DISTINCT namespace FROM entries")
        }
        if namespace not in known and len(known) >= MAX_NAMESPACES:
            raise ToolError(
                f"there are {len(known)} namespaces already; use one of them"
            )

    # --- Connections ----------------------------------------------------------

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """Open the file; a damaged one is moved aside, never written to again."""
        seen: os.stat_result | None = None
        try:
            self._create()
            with suppress(FileNotFoundError):
                seen = os.stat(self._path)
            with closing(self._connect()) as db:
                if os.stat(self._path).st_mode & 0o077:
                    self._path.chmod(0o600)
                _prepare(db)
                yield db
        except sqlite3.Error as exc:
            if seen is not None and is_damage(exc):
                raise set_aside(self._path, seen) from exc
            raise explain(exc, self._path) from exc
        except OSError as exc:
            raise explain(exc, self._path) from exc

    def _create(self) -> None:
        """Create an empty file for its owner's eyes only, if there is none.

        It is not opened for that: closing a descriptor drops every lock that this
        process has on the file, also those of SQLite in another thread.
        """
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Where only root may do it (macOS), or nobody (Windows), SQLite creates it.
        with suppress(FileExistsError, PermissionError, AttributeError):
            os.mknod(self._path, 0o600)

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
        deadline = monotonic() + DEADLINE_SECONDS
        db.set_progress_handler(lambda: monotonic() > deadline, 10_000)
        return db


def _prepare(db: sqlite3.Connection) -> None:
    """Bring a new file into shape.

    :raises ToolError: A newer version of this plugin has written the file.
    """
    version = _version(db)
    if version > _VERSION:
        raise ToolError(
            "the memory file is of a newer version; ask the operator to "
            "`pip install --upgrade rustyclaw-memory`"
        )
    _use_log(db)
    if version < _VERSION:
        with _writing(db):
            for statement in _SCHEMA if not _version(db) else ():  # who was first?
                db.execute(statement)


def _use_log(db: sqlite3.Connection) -> None:
    """Have readers and a writer not wait for each other; the file keeps this mode.

    Of connections that switch a file at the same moment, SQLite refuses some at
    once, without the timeout. They work in the mode that there is; it is as safe.
    """
    try:
        db.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise


def _version(db: sqlite3.Connection) -> int:
    ((version,),) = db.execute("PRAGMA user_version")
    return int(version)


@contextmanager
def _writing(db: sqlite3.Connection) -> Iterator[None]:
    """Make what the block writes one transaction; closing without it undoes it."""
    db.execute("BEGIN IMMEDIATE")
    yield
    db.execute("COMMIT")
