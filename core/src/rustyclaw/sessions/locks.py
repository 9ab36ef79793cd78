"""One writer a session: an advisory file lock, which the kernel frees at death."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

import anyio
from anyio import to_thread

from rustyclaw.errors import SessionError, StorageError

_POLL_SECONDS = 0.05


class SessionLock:
    """Holds ``<session file>.lock`` inside of ``async with``.

    :param timeout_seconds: How long to wait for another holder.
    :param then: Called under the lock, in the thread that has taken it.
    :raises SessionError: On entering: somebody else still holds it.
    :raises StorageError: On entering: the lock file cannot be made.
    """

    def __init__(
        self,
        session_file: Path,
        *,
        timeout_seconds: float = 10.0,
        then: Callable[[], None] = lambda: None,
    ) -> None:
        self._path = f"{session_file}.lock"
        self._timeout, self._then = timeout_seconds, then
        self._fd: int

    async def __aenter__(self) -> Self:
        deadline = anyio.current_time() + self._timeout
        while (holder := await to_thread.run_sync(self._try)) is not None:
            if anyio.current_time() >= deadline:
                name = os.path.basename(self._path).partition(".")[0]
                raise SessionError(
                    f"session {name!r} is locked by {holder}; try again or stop it"
                )
            await anyio.sleep(_POLL_SECONDS)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        os.close(self._fd)  # which frees the lock

    def _try(self) -> str | None:
        """Take the lock, or return who holds it."""
        try:
            fd = open_in_folder(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
        except OSError as exc:
            raise StorageError(
                f"cannot lock {self._path!r} ({exc.strerror}); check free space "
                "and permissions"
            ) from exc
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.read(fd, 20).decode(errors="replace")
            os.close(fd)
            return f"process {text}" if text.isdigit() else "another process"
        self._fd = fd
        pid = b"%d" % os.getpid()
        with suppress(OSError):  # it is there only to be named
            if os.read(fd, 20) != pid:  # to write it anew costs as much as the rest
                os.ftruncate(fd, 0)
                os.pwrite(fd, pid, 0)
        try:
            self._then()
        except BaseException:
            os.close(fd)
            raise
        return None


def open_in_folder(path: Path | str, flags: int) -> int:
    """Open a file that only its owner can read; to create it, make its folders."""
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        if not flags & os.O_CREAT:
            raise
        for folder in reversed(Path(path).parents):
            folder.mkdir(mode=0o700, exist_ok=True)
        return os.open(path, flags, 0o600)
