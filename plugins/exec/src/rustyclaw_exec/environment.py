"""The environment of a command: built from a list, never from what is there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_PASSED = ("HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR")
#: Variables that make programs load or run something, or that look like secrets.
_FORBIDDEN = re.compile(
    r"(?:LD|DYLD|BASH|GIT|NODE|NPM|JAVA|_JAVA|GCONV|GLIBC|MALLOC|RUSTYCLAW)_.*"
    r"|PYTHON.*|PERL.*|RUBY.*|LUA_.*|PATH|ENV|IFS|PS\d|SHELLOPTS|BASHOPTS|CDPATH"
    r"|GLOBIGNORE|PROMPT_COMMAND|SHELL|EDITOR|VISUAL|PAGER|LESSOPEN|LESSCLOSE|BROWSER"
    r"|SSH_ASKPASS|SUDO_ASKPASS"
    r"|.*(?:SECRET|TOKEN|PASSW(?:OR)?D|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY).*",
    re.IGNORECASE,
)


def is_forbidden(name: str) -> bool:
    """Return whether no configuration may hand this variable to a command."""
    return not name or "=" in name or _FORBIDDEN.fullmatch(name) is not None


def child_environment(
    source: Mapping[str, str], *, folders: Sequence[str], allow: Sequence[str]
) -> dict[str, str]:
    """Return the environment of a command.

    :param source: The environment of the gateway.
    :param folders: The whole PATH.
    :param allow: Names to pass on besides the usual ones.
    """
    passed = {
        name: value
        for name, value in source.items()
        if name in _PASSED or name.startswith("LC_") or name in allow
    }
    clean = {n: v for n, v in passed.items() if not is_forbidden(n)}
    return {**clean, "PATH": ":".join(folders), "TERM": "dumb"}
