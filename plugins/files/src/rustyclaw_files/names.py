"""Path texts: what a model may write, and how names are shown to it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from rustyclaw import ToolError

MAX_PATH_BYTES = 4096

#: Line separators and the like: in a listing they would forge further lines.
_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}
#: What a shell or a browser would expand; taken literally it surprises.
_EXPANDED = re.compile(r"~(?:\w*/|$)|\$(?:\w+|\{\w+\})/|[A-Za-z][A-Za-z0-9+.-]+://")


def check_path(path: str) -> None:
    """Refuse texts that cannot sensibly be a path.

    :raises ToolError: It is empty, too long, has control characters or expects an
        expansion that does not take place.
    """
    if not path:
        raise ToolError("the path is empty; '.' is the workspace")
    if any(unicodedata.category(char) in _UNPRINTABLE for char in path):
        raise ToolError(
            f"the path {path[:200]!r} has control characters; leave them out"
        )
    if len(path.encode()) > MAX_PATH_BYTES:
        raise ToolError(f"the path is too long; at most {MAX_PATH_BYTES} bytes fit")
    if _EXPANDED.match(path):
        raise ToolError(
            f"nothing is expanded in {path!r}; give a path relative to the workspace "
            "(with './' in front to mean exactly this name)"
        )


def split_path(path: str) -> list[str]:
    """Return the parts of a path; a last ``.`` says that it must be a folder."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.endswith(("/", "/.")) or path == ".":
        parts.append(".")
    return parts


def shown(name: str) -> str:
    """Return a name on disk as one line of valid text."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(
        char.encode("unicode_escape").decode("ascii")
        if unicodedata.category(char) in _UNPRINTABLE
        else char
        for char in text
    )


def is_protected(name: str, protected: Iterable[str]) -> bool:
    """Return whether some file system takes ``name`` for a protected one.

    Not only the case may differ: macOS ignores invisible characters, Windows dots
    and spaces at the end, and it has short names such as ``GIT~1``.
    """
    folded = _fold(name)
    return any(
        folded in (wanted, f"{wanted.lstrip('.')[:6]}~1")
        for wanted in map(_fold, protected)
    )


def _fold(name: str) -> str:
    visible = (c for c in name if unicodedata.category(c) != "Cf")
    text = unicodedata.normalize("NFKC", "".join(visible))
    return text.casefold().split(":")[0].rstrip(" .")
