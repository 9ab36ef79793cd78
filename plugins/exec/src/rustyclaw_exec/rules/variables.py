"""Variables that make other programs load or run something."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rustyclaw_exec.call import Call
from rustyclaw_exec.paths import TEMPORARY
from rustyclaw_exec.rules.catalog import LOADED, REBOUND
from rustyclaw_exec.values import LOOSE, MARK, UNKNOWN
from rustyclaw_exec.verdict import Finding

_LOADING = re.compile(
    r"LD_\w+|DYLD_\w+|BASH_ENV|BASH_FUNC_\w+.*|PERL5\w+|PERLLIB|RUBYOPT|RUBYLIB"
    r"|NODE_PATH|JAVA_TOOL_OPTIONS|_JAVA_OPTIONS|GCONV_PATH|GIT_(?:EXEC_PATH|ASKPASS"
    r"|TEMPLATE_DIR|CONFIG\w*|SSH_VARIANT)|SSH_ASKPASS|SUDO_ASKPASS|PYTHON(?:HOME|STARTUP"
    r"|USERBASE|INSPECT|BREAKPOINT)|GCC_EXEC_PREFIX|PROMPT_COMMAND|PS4"
    r"|MAKEFLAGS|SHELLOPTS|BASHOPTS|OPENSSL_CONF|OPENSSL_ENGINES|CURL_HOME|ZDOTDIR|INPUTRC"
)
_RUNNING = re.compile(
    r"(?:GIT_|MAN)?PAGER|(?:GIT_|SUDO_)?EDITOR|VISUAL|GIT_(?:SSH(?:_COMMAND)?|EXTERNAL_DIFF"
    r"|SEQUENCE_EDITOR|PROXY_COMMAND)|LESSOPEN|LESSCLOSE|BROWSER|FCEDIT|PROMPT_COMMAND|PS4"
    r"|RSYNC_RSH|CVS_RSH|SVN_SSH|HGEDITOR|TAR_OPTIONS|SHELL|MAKEFLAGS"
)


def assigned(call: Call, name: str, value: str) -> Iterator[Finding]:
    """Judge a variable that a command's environment gets."""
    if name == "PATH":
        if not all(_safe_folder(call, folder) for folder in value.split(":")):
            yield call.found(REBOUND, f"PATH={value}")
        return
    loads = _LOADING.fullmatch(name) is not None
    if name == "NODE_OPTIONS":
        loads = re.search(r"require|import|loader|-r\b", value) is not None
    elif name == "ENV":
        loads = re.fullmatch(r"\w*", value) is None  # `ENV=production` is harmless
    if loads and value:
        yield call.found(LOADED, f"{name}={value}")
    if _RUNNING.fullmatch(name) and value and not MARK.search(value):
        yield from call.shell(value)


def _safe_folder(call: Call, folder: str) -> bool:
    """Return whether programs of a folder may stand before the system's."""
    if folder.rstrip(LOOSE) == UNKNOWN:  # the old `$PATH`
        return True
    if folder.rstrip("/") in TEMPORARY:
        return False
    places = {call.judge.places.place(target) for target in call.targets(folder)}
    return folder.startswith("/") and places <= {"system", "user", "elsewhere"}
