"""Shells and interpreters: what they are told to run, by option, file or input."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from rustyclaw_exec.call import Call
from rustyclaw_exec.options import Syntax, options_of
from rustyclaw_exec.rules.catalog import DYNAMIC_OPTION, DYNAMIC_SCRIPT, GATEWAY, LOADED
from rustyclaw_exec.rules.code import judge_code
from rustyclaw_exec.tables import programs
from rustyclaw_exec.values import Flow, names
from rustyclaw_exec.verdict import Finding

SHELLS = names("sh bash dash zsh ksh mksh ash fish csh tcsh rbash yash posh pwsh")
#: Ways to say "standard input" as a file.
STDIN = re.compile(r"-|/dev/stdin|/dev/fd/0|/proc/(?:self|\$\$)/fd/0")


# --- Shells -------------------------------------------------------------------


def _shell(call: Call) -> Iterator[Finding]:
    syntax = Syntax("oO", "rcfile init-file command init-command", stops=True)
    # `+o` and `+O` are options as well; a plain `-` ends them.
    arguments = [f"-{a[1:]}" if a[:1] == "+" and a[1:] else a for a in call.args]
    options = options_of(arguments, syntax)
    operands = options.operands
    for name in ("rcfile", "init-file"):
        for path in options.values(name):
            yield from call.judge.judge_file(path, "shell")
            yield call.found(DYNAMIC_OPTION)
    scripts = options.values("command", "init-command", "C")
    for script in scripts:
        yield from call.shell(script)
    if options.has("c"):
        yield from _shell_script(call, operands)
    elif operands and not options.has("s") and not STDIN.fullmatch(operands[0]):
        if not options.has("n"):  # it only checks the syntax then
            yield from call.judge.judge_file(operands[0], "shell")
    elif call.stdin is not None and not scripts:
        yield from call.judge.judge_shell(call.stdin, None)


def _shell_script(call: Call, operands: list[str]) -> Iterator[Finding]:
    for place, value in enumerate(operands[1:]):
        call.judge.assign(str(place), Flow(value, call.tags))
    if operands:
        yield from call.shell(operands[0], stdin=call.stdin)
    else:  # what should be the script looks like an option
        yield call.found(DYNAMIC_SCRIPT)


# --- Python -------------------------------------------------------------------

#: A cluster of short options up to the first one that takes a value.
_PYTHON_OPTION = re.compile(r"-[^-cmWXQ]*([cmWXQ])(.*)", re.DOTALL)
#: Modules that run the file or the code in their arguments.
_RUNNING_MODULES = names("timeit cProfile profile trace pdb runpy coverage")


def _python(call: Call) -> Iterator[Finding]:
    waiting = list(call.args)
    while waiting and waiting[0].startswith("-") and waiting[0] != "-":
        found = _PYTHON_OPTION.fullmatch(waiting.pop(0))
        if found is None:
            continue
        value = found[2] or (waiting.pop(0) if waiting else "")
        # Everything after `-c code` and `-m module` belongs to that program.
        if found[1] == "c":
            yield from judge_code(call, "python", Flow(value, call.tags))
            return
        if found[1] == "m":
            yield from _module(call, value, waiting)
            return
    if waiting and not STDIN.fullmatch(waiting[0]):
        yield from call.judge.judge_file(waiting[0], "python")
    elif call.stdin is not None:
        yield from judge_code(call, "python", call.stdin)


def _module(call: Call, module: str, rest: list[str]) -> Iterator[Finding]:
    top = module.partition(".")[0]
    if top == "rustyclaw":
        yield call.found(GATEWAY)
    elif top in ("pip", "uv", "pipx"):
        yield from call.program([top, *rest])
    elif top in _RUNNING_MODULES:
        for code in rest:
            if not code.startswith("-") and not code.endswith(".py"):
                yield from judge_code(call, "python", Flow(code, call.tags))


# --- Other languages ----------------------------------------------------------


class _Language(NamedTuple):
    """How an interpreter takes code.

    :param code: Options whose value is code.
    :param syntax: All of its options with a value.
    :param loads: Options that load a module first.
    """

    name: str
    code: tuple[str, ...]
    syntax: Syntax
    loads: tuple[str, ...] = ()


_LANGUAGES = {
    "perl": _Language("perl", ("e", "E"), Syntax("eE", stops=True)),
    "ruby": _Language("ruby", ("e",), Syntax("eI", stops=True)),
    "node": _Language(
        "node",
        ("e", "p", "eval", "print"),
        Syntax("epr", "eval print require import loader", stops=True),
        ("r", "require", "import", "loader", "experimental-loader"),
    ),
    "php": _Language(
        "php", ("r", "R", "B", "E"), Syntax("rRBEfFdcSt", "run file define", stops=True)
    ),
    "lua": _Language("lua", ("e",), Syntax("el", stops=True), ("l",)),
    **{
        name: _Language(
            "unknown",
            ("e", "E", "eval", "c", "execute", "x", "-eval", "Command", "g"),
            Syntax("eEcxg", "eval execute Command", stops=True),
        )
        for name in [
            "julia",
            "R",
            "Rscript",
            "elixir",
            "erl",
            "groovy",
            "scala",
            "guile",
            "racket",
            "clojure",
            "osascript",
            "sbcl",
            "swift",
            "ocaml",
            "octave",
            "emacs",
            "jshell",
            "ghc",
            "raku",
            "crystal",
            "tclsh",
            "kotlin",
            "sml",
            "gnuplot",
            "deno",
            "bun",
            "janet",
            "fennel",
            "newlisp",
            "picolisp",
            "nu",
            "xonsh",
            "elvish",
            "wish",
            "dc",
            "m4",
        ]
    },
}


def _language(call: Call) -> Iterator[Finding]:
    language = _LANGUAGES[call.name]
    arguments = list(call.args)
    if call.name in ("perl", "ruby"):
        arguments = [a for a in arguments if not re.match(r"-[MmIFCDrx].", a)]
        arguments = [_without_number(a) for a in arguments]
    options = options_of(arguments, language.syntax)
    if any(options.has(name) for name in language.loads):
        yield call.found(LOADED)
    if call.name == "php" and any("prepend" in value for value in options.values("d")):
        yield call.found(LOADED)
    codes = options.values(*language.code)
    for code in codes:
        yield from judge_code(call, language.name, Flow(code, call.tags))
    yield from _magic_operands(call, options.operands)
    if codes:
        return
    if options.operands[:1] == ["eval"]:
        text = " ".join(options.operands[1:])
        yield from judge_code(call, "node", Flow(text, call.tags))
    elif options.operands and not STDIN.fullmatch(options.operands[0]):
        yield from call.judge.judge_file(options.operands[0], language.name)
    elif call.stdin is not None and call.name not in ("deno", "bun"):
        yield from judge_code(call, language.name, call.stdin)


def _without_number(argument: str) -> str:
    """Drop the record separator and the suffix from ``-0777ne`` and ``-i.bak``."""
    if not argument.startswith("-") or argument.startswith("--"):
        return argument
    return re.sub(r"(?<=[0l])[0-7]+|(?<=i)\.\w+", "", argument, count=1)


def _magic_operands(call: Call, operands: list[str]) -> Iterator[Finding]:
    """Judge operands of ``perl -n``, which opens ``command |`` as a pipe."""
    if call.name != "perl":
        return
    for operand in operands:
        text = operand.strip()
        if text.startswith("|") or text.endswith("|"):
            yield from call.option([text.strip("|")])


def _powershell(call: Call) -> Iterator[Finding]:
    for before, text in pairwise((*call.args, "")):
        if re.fullmatch(r"-(?:c\w*|e\w*)", before, re.IGNORECASE):
            yield from judge_code(call, "unknown", Flow(text, call.tags))


PROGRAMS = programs(
    {
        " ".join(SHELLS - {"pwsh"}): _shell,
        "pwsh powershell": _powershell,
        "python pypy ipython": _python,
        " ".join(_LANGUAGES): _language,
    }
)
