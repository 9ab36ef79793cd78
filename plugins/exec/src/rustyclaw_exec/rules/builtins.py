"""Commands of the shell itself that run text, set variables or rebind names."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rustyclaw_exec.call import Call
from rustyclaw_exec.options import Syntax, options_of
from rustyclaw_exec.rules.catalog import (
    DYNAMIC_OPTION,
    DYNAMIC_SCRIPT,
    LOADED,
    LOGS,
    REBOUND,
)
from rustyclaw_exec.rules.interpreters import STDIN
from rustyclaw_exec.rules.variables import assigned
from rustyclaw_exec.tables import programs
from rustyclaw_exec.values import UNKNOWN, Flow, names
from rustyclaw_exec.verdict import Finding

_DECLARED = re.compile(r"([A-Za-z_]\w*)\+?=(.*)", re.ASCII | re.DOTALL)


def _eval(call: Call) -> Iterator[Finding]:
    words = call.args[1:] if call.args[:1] == ("--",) else call.args
    yield from call.shell(" ".join(words))


def _fc(call: Call) -> Iterator[Finding]:
    if "-l" not in call.args:
        yield call.found(DYNAMIC_SCRIPT)


def _source(call: Call) -> Iterator[Finding]:
    operands = options_of(call.args, Syntax(stops=True)).operands
    if operands and STDIN.fullmatch(operands[0]):
        yield from call.judge.judge_shell(call.input, None)
    elif operands:
        yield from call.judge.judge_file(operands[0], "shell")


def _trap(call: Call) -> Iterator[Finding]:
    operands = options_of(call.args, Syntax(stops=True)).operands
    if len(operands) > 1 and operands[0] != "-":
        call.judge.defer(Flow(operands[0], call.tags))
        yield from call.shell(operands[0])


def _alias(call: Call) -> Iterator[Finding]:
    for argument in call.args:
        name, equals, script = argument.partition("=")
        if not equals:
            continue
        # What follows the alias when it is used is not known here.
        yield from call.shell(f"{script} ")
        first = script.split(maxsplit=1)[:1]
        if first and first[0] not in _ALIASED_SAFELY:
            yield call.found(REBOUND, f"{name}={script}")


#: Programs that do no harm whatever an alias's user appends.
_ALIASED_SAFELY = names("ls ll la grep egrep fgrep cd echo cat less diff df du tree")


def _hash(call: Call) -> Iterator[Finding]:
    if any(re.match(r"-\w*p", argument) for argument in call.args):
        yield call.found(REBOUND)


def _enable(call: Call) -> Iterator[Finding]:
    if any(re.match(r"-\w*[fn]", argument) for argument in call.args):
        yield call.found(LOADED if "f" in call.args[0] else REBOUND)


def _complete(call: Call) -> Iterator[Finding]:
    options = options_of(call.args, Syntax(short="oAGWFCXPS"))
    yield from call.option(options.values("C"))
    for words in options.values("W"):
        if "$(" in words or "`" in words:
            yield from call.shell(f'echo "{words}"')
            yield call.found(DYNAMIC_OPTION)


def _bind(call: Call) -> Iterator[Finding]:
    for binding in options_of(call.args, Syntax(short="xfqurm")).values("x"):
        yield from call.option([binding.partition(":")[2].strip(" \"'")])


def _declare(call: Call) -> Iterator[Finding]:
    for argument in call.args:
        if found := _DECLARED.fullmatch(argument):
            call.judge.assign(found[1], Flow(found[2], call.tags))
            yield from assigned(call, found[1], found[2])


def _read(call: Call) -> Iterator[Finding]:
    syntax = Syntax(short="adinNptuCcOs")
    options = options_of(call.args, syntax)
    if call.name in ("mapfile", "readarray"):
        yield from call.option(options.values("C"))
    for name in [*options.operands, *options.values("a")]:
        call.judge.assign(name, Flow(UNKNOWN, call.input.tags))


def _printf(call: Call) -> Iterator[Finding]:
    if call.args[:1] == ("-v",):
        call.judge.assign("".join(call.args[1:2]), Flow(UNKNOWN, call.tags))
    yield from ()


def _set(call: Call) -> Iterator[Finding]:
    if "--" in call.args or (call.args and call.args[0][:1] not in "-+"):
        for name in "@*123456789":
            call.judge.assign(name, Flow(UNKNOWN, call.tags))
    yield from ()


def _unset(call: Call) -> Iterator[Finding]:
    if {"HISTFILE", "HISTSIZE"}.intersection(call.args):
        yield call.found(LOGS)
    if "PATH" in call.args:
        yield call.found(REBOUND)


PROGRAMS = programs(
    {
        "eval": _eval,
        "fc": _fc,
        "source .": _source,
        "trap": _trap,
        "alias": _alias,
        "hash": _hash,
        "enable": _enable,
        "complete compgen": _complete,
        "bind": _bind,
        "export declare typeset local readonly": _declare,
        "read mapfile readarray getopts": _read,
        "printf": _printf,
        "set": _set,
        "unset": _unset,
    }
)
