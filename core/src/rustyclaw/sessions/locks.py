"""One writer a session: an advisory file lock, which the kernel frees at death."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import anyio
from anyio import to_thread

from rustyclaw.errors import SessionError, StorageError

if TYPE_CHECKING:
    from filelock import BaseFileLock

_POLL_SECONDS = 0.05


class SessionLock:
    """Holds ``<session file>.lock`` inside of ``async with``.

    :param timeout_seconds: How long to wait for another holder.
    :raises SessionError: On entering: somebody else still holds it.
    :raises StorageError: On entering: the lock file cannot be made.
    """

    def __init__(self, session_file: Path, *, timeout_seconds: float = 10.0) -> None:
        self._path = session_file.with_name(f"{session_file.name}.lock")
        self._timeout = timeout_seconds
        self._lock: BaseFileLock

    async def __aenter__(self) -> Self:
        deadline = anyio.current_time() + self._timeout
        while (holder := await to_thread.run_sync(self._try)) is not None:
            if anyio.current_time() >= deadline:
                name = self._path.name.partition(".")[0]
                raise SessionError(
                    f"session {name!r} is locked by {holder}; try again or stop it"
                )
            await anyio.sleep(_POLL_SECONDS)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._lock.release()

    def _try(self) -> str | None:
        """Take the lock, or return who holds it."""
        from filelock import FileLock, Timeout  # slow to import; only writers need it

        lock = FileLock(self._path, mode=0o600, thread_local=False)
        try:
            if not self._path.parent.exists():
                for folder in reversed(self._path.parents):
                    folder.mkdir(mode=0o700, exist_ok=True)
            lock.acquire(blocking=False)
            self._sign()
        except Timeout:
            text = ""
            with suppress(OSError):  # it is there only to be named
                text = self._path.read_text(errors="replace")
            return f"process {text}" if text.isdigit() else "another process"
        except OSError as exc:
            lock.release()
            raise StorageError(
                f"cannot lock {str(self._path)!r} ({exc.strerror}); check free space "
                "and permissions"
            ) from exc
        self._lock = lock
        return None

    def _sign(self) -> None:
        """Write our process id into the file, if it is not there from last time."""
        name = str(os.getpid()).encode()
        fd = os.open(self._path, os.O_RDWR)
        try:
            if os.read(fd, 32) != name:
                os.truncate(fd, 0)
                os.pwrite(fd, name, 0)
        finally:
            os.close(fd)
