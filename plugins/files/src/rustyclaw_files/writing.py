"""Changes files whole: a reader sees the old content or the new, never a part."""

from __future__ import annotations

import os
import secrets
import stat
import threading
from contextlib import suppress

from rustyclaw import ToolError

from rustyclaw_files.place import Place, check_regular

_NEW_FILE_MODE = 0o644

#: Held for the look and the rename alone, so that of two edits one is told.
_replacing = threading.Lock()


def check_replaceable(place: Place, path: str) -> None:
    """Refuse to replace what is not a writable regular file.

    :raises ToolError: It is a folder, a device ..., or read-only.
    """
    if place.status is None:
        return
    check_regular(place.status, path)
    if not place.status.st_mode & 0o222:  # a rename would not respect it
        raise ToolError(f"{path!r} is read-only; write to another file")


def replace_file(
    place: Place, data: bytes, path: str, *, edits: os.stat_result | None = None
) -> None:
    """Give a file new content, by a sibling that takes its name.

    What has another name too (a hard link) keeps its content under that name.

    :param edits: The file as it was read; another one is left alone.
    :raises ToolError: It is no longer the file that was read.
    :raises OSError: The disk refused; the old content is untouched.
    """
    temporary = f".rustyclaw-{secrets.token_hex(8)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(temporary, flags, 0o600, dir_fd=place.folder)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fchmod(descriptor, _mode(place))
            os.fsync(descriptor)
        with _replacing:
            if edits is not None and _version(_look(place)) != _version(edits):
                raise ToolError(
                    f"{path!r} was changed while it was edited; read it again"
                )
            os.rename(
                temporary, place.name, src_dir_fd=place.folder, dst_dir_fd=place.folder
            )
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=place.folder)
        raise
    _sync_folder(place.folder)


def edited(data: bytes, old_text: str, new_text: str, path: str) -> bytes:
    """Return the content with its only ``old_text`` replaced.

    Texts with plain line breaks fit a file with Windows line breaks, which it
    keeps; a byte order mark stays where it is.

    :raises ToolError: ``old_text`` is not there exactly once.
    """
    if not old_text:
        raise ToolError("old_text is empty; `write_file` gives a file new content")
    old, new = old_text.encode(), new_text.encode()
    windows = b"\r\n" in data and data.count(b"\n") == data.count(b"\r\n")
    if windows:
        old, new = _with_windows_breaks(old), _with_windows_breaks(new)
    count = _occurrences(data, old)
    if count == 0:
        raise ToolError(f"old_text was not found in {path!r}; {_hint(data, old)}")
    if count > 1:
        raise ToolError(
            f"old_text is ambiguous: it occurs {count} times in {path!r}; add the "
            "lines around it so that it occurs once"
        )
    if old == new:
        raise ToolError("old_text and new_text are the same; nothing to change")
    return data.replace(old, new)


def _with_windows_breaks(text: bytes) -> bytes:
    return text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _occurrences(data: bytes, part: bytes) -> int:
    """Count how often ``part`` occurs; occurrences may overlap."""
    count = 0
    position = data.find(part)
    while position >= 0:
        count += 1
        position = data.find(part, position + 1)
    return count


def _hint(data: bytes, old: bytes) -> str:
    if b" ".join(old.split()) in b" ".join(data.split()):
        return "it differs in white space only; copy it exactly from `read_file`"
    first = old.strip().splitlines()[0].strip() if old.strip() else b""
    if first and first in data:
        return "its first line is there, but not what follows; read the file again"
    return "copy it exactly from `read_file`, without the line numbers"


def _mode(place: Place) -> int:
    if place.status is None:
        return _NEW_FILE_MODE
    return stat.S_IMODE(place.status.st_mode) & 0o777  # never set-user-id


def _look(place: Place) -> os.stat_result:
    return os.stat(place.name, dir_fd=place.folder, follow_symlinks=False)


def _version(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _sync_folder(folder: int) -> None:
    """Make the new name durable, where the folder may be opened for it."""
    with suppress(OSError):
        descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
