"""What the operating system refused, in words that a model can act on."""

from __future__ import annotations

import errno
import os

from rustyclaw import ToolError

_REMEDIES = {
    errno.ENOENT: "not found; `file_list` shows what is there",
    errno.ENOTDIR: "a part of it is not a folder; `file_list` shows what is there",
    errno.EISDIR: "it is a folder; use `file_list`",
    errno.ENAMETOOLONG: "a name in it is too long; use at most 255 bytes",
    errno.EACCES: "permission denied; choose another file or ask the operator",
    errno.EPERM: "permission denied; choose another file or ask the operator",
    errno.EROFS: "the disk is read-only; ask the operator",
    errno.ENOSPC: "no space left on the disk; nothing was changed, free some space",
    errno.EDQUOT: "the disk quota is used up; nothing was changed, free some space",
    errno.EMFILE: "too many files are open; try again later",
    errno.ENFILE: "too many files are open; try again later",
    # Only a race gets here: a folder became a link between two looks at it.
    errno.ELOOP: "it was changed at the same moment; try again",
    errno.EINVAL: "it was changed at the same moment; try again",
}


def not_found() -> FileNotFoundError:
    """Return the error of a name that is not there."""
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def explain(error: OSError, path: str) -> ToolError:
    """Return what to tell the model about ``path``."""
    reason = (error.strerror or type(error).__name__).lower()
    remedy = _REMEDIES.get(error.errno or 0, f"{reason}; try again or ask the operator")
    return ToolError(f"{path!r}: {remedy}")
