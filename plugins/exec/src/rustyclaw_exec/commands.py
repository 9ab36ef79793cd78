"""Finds the rules for a program, whatever path or version it is called by."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rustyclaw_exec.call import Call
from rustyclaw_exec.rules import (
    builtins,
    delegates,
    destroy,
    git,
    interpreters,
    machines,
    network,
    packages,
    runners,
    scripts,
    secrets,
    system,
)
from rustyclaw_exec.rules.catalog import LOADER
from rustyclaw_exec.tables import Check
from rustyclaw_exec.values import names
from rustyclaw_exec.verdict import Finding

_MODULES = (
    destroy,
    system,
    network,
    packages,
    runners,
    builtins,
    git,
    interpreters,
    machines,
    scripts,
    delegates,
    secrets,
)
CHECKS: dict[str, list[Check]] = {}
for _module in _MODULES:
    for _name, _check in _module.PROGRAMS.items():
        CHECKS.setdefault(_name, []).append(_check)

_LOADER = re.compile(r"ld(?:-linux.*|-musl.*|\d*)?\.so(?:\.\d+)?")
_FAMILY = re.compile(r"(mkfs|fsck|newfs)[._]\w+")
_VERSION = re.compile(r"[-.]?\d[\d.]*$")
_SAME = {
    "nodejs": "node",
    "pip3": "pip",
    "lua5": "lua",
    "luajit": "lua",
    "fsck": "mkfs",
    "newfs": "mkfs",
    "pypy": "python",
    "ipython": "python",
    "gsed": "sed",
}
#: Programs whose operands are about commands rather than commands to run.
_DISCUSSES = names(
    "echo printf man which whereis type whatis apropos info help grep egrep fgrep rg "
    "ls test [ [[ : true false cat less head tail wc sort tldr look cd"
)


def program_name(path: str) -> str:
    """Return the name by which rules know a program."""
    base = path.rpartition("/")[2]
    if base in CHECKS and base not in _SAME:
        return base
    if _LOADER.fullmatch(base):
        return "ld.so"
    if family := _FAMILY.fullmatch(base):
        base = family[1]
    plain = _VERSION.sub("", base)
    if plain in CHECKS or plain in _SAME:
        base = plain
    return _SAME.get(base, base)


def judge(call: Call) -> Iterator[Finding]:
    """Judge one call by all rules that know its program."""
    yield from secrets.check_arguments(call)
    checks = CHECKS.get(call.name)
    if checks is None and call.name not in _DISCUSSES:
        yield from _unknown(call)
    for check in checks or ():
        yield from check(call)


def _unknown(call: Call) -> Iterator[Finding]:
    """Judge a program that may be a wrapper which no rule knows.

    If words after its name are a command that would destroy something, it asks.
    """
    for place, word in enumerate(call.args[:12]):
        if program_name(word) in CHECKS and place + 1 < len(call.args):
            for finding in call.program(call.args[place:]):
                if finding.rule.id.startswith(("destroy.tree", "disk.")):
                    yield call.found(LOADER)
                    return
