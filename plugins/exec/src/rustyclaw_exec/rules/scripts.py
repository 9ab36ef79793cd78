"""Programs with small languages of their own: awk, sed, make, databases, editors."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rustyclaw_exec.call import Call
from rustyclaw_exec.options import Syntax, options_of
from rustyclaw_exec.rules.catalog import (
    DYNAMIC_CODE,
    DYNAMIC_OPTION,
    DYNAMIC_SCRIPT,
    LOADED,
    REMOTE_CODE,
)
from rustyclaw_exec.rules.files import written
from rustyclaw_exec.tables import programs
from rustyclaw_exec.values import MARK, Flow
from rustyclaw_exec.verdict import Finding

# --- awk ----------------------------------------------------------------------

_AWK = Syntax(
    "fFvemlIiEob", "file field-separator assign source include load", stops=True
)
_AWK_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_AWK_REGEX = re.compile(r"(?:(?<=[(,!~{;&|])|^)(\s*)/(?:[^/\\\n]|\\.)+/", re.MULTILINE)
_AWK_PRINT = re.compile(r'\bprintf?\b[^;}\n]*?>>?\s*(?:"((?:[^"\\]|\\.)*)"|(.))')
_AWK_RUNS = re.compile(r"\bsystem\b|\|&?(?!\|)|\bgetline\b|@\w+|\bENVIRON\s*\[.*\|")


def _awk(call: Call) -> Iterator[Finding]:
    options = options_of(call.args, _AWK)
    codes = options.values("e", "source", "E")
    files = options.values("f", "file")
    if options.has("l", "load", "include") or (
        options.has("i") and options.values("i") != ["inplace"]
    ):
        yield call.found(LOADED)
    if not codes and not files:
        codes = options.operands[:1]
    for code in codes:
        yield from _awk_code(call, code)
    for path in files:
        yield from call.judge.judge_file(path, "unknown")
    if "inplace" in options.values("i"):
        for path in options.operands[1:]:
            yield from written(call, path)


def _awk_code(call: Call, code: str) -> Iterator[Finding]:
    if MARK.search(code):
        yield call.found(DYNAMIC_SCRIPT)
    texts = _AWK_STRING.findall(code)
    bare = _AWK_REGEX.sub(r"\1 ", _AWK_STRING.sub('""', code)).replace("||", " ")
    if _AWK_RUNS.search(bare):
        for text in texts:
            yield from call.shell(text)
        yield call.found(DYNAMIC_CODE)
    for found in _AWK_PRINT.finditer(code):
        if found[1] is None:
            yield call.found(DYNAMIC_CODE)
        else:
            yield from written(call, found[1])


# --- sed ----------------------------------------------------------------------

_SED_ADDRESS = re.compile(
    r"\d+(?:~\d+)?|\$|[+~]\d+|/(?:[^/\\\n]|\\.)*/[IM]*"
    r"|\\(.)(?:(?!\1)[^\\\n]|\\.)*\1[IM]*"
)
_SED_SUBSTITUTE = re.compile(
    r"[sy](.)((?:(?!\1)[^\\]|\\.)*)\1((?:(?!\1)[^\\]|\\.)*)\1", re.DOTALL
)


def _sed(call: Call) -> Iterator[Finding]:
    arguments = [a for a in call.args if not re.match(r"-[nErsuz]*i", a)]
    in_place = len(arguments) < len(call.args) or any(
        a.startswith("--in-place") for a in call.args
    )
    options = options_of(arguments, Syntax("efl", "expression file line-length"))
    scripts = options.values("e") + options.starting("expression", 3)
    files = options.operands
    if not scripts and not options.has("f", "file"):
        scripts, files = files[:1], files[1:]
    for script in scripts:
        yield from _sed_script(call, script)
    if in_place:
        for path in files:
            yield from written(call, path)


def _sed_script(call: Call, script: str) -> Iterator[Finding]:
    """Read a sed script; what is not understood asks."""
    if MARK.search(script):
        yield call.found(DYNAMIC_SCRIPT)
        return
    position = 0
    while position < len(script):
        character = script[position]
        if character in " \t\n;{},!":
            position += 1
        elif address := _SED_ADDRESS.match(script, position):
            position = address.end()
        elif character in "sy":
            found = _SED_SUBSTITUTE.match(script, position)
            if found is None:
                yield call.found(DYNAMIC_CODE)
                return
            end = _end_of(script, found.end(), "\n;}")
            yield from _sed_flags(call, script[found.end() : end])
            position = end
        elif character in "eWwrR":
            end = _end_of(script, position, "\n")
            yield from _sed_file(call, character, script[position + 1 : end].strip())
            position = end
        elif character in "aic#:btTqQlLv":
            position = _end_of(
                script, position, "\n" if character in "aic#:" else "\n;}"
            )
        elif character in "dDgGhHnNpPxzF=":
            position += 1
        else:
            yield call.found(DYNAMIC_CODE)
            return


def _sed_flags(call: Call, flags: str) -> Iterator[Finding]:
    name, writes, path = flags.partition("w")
    if "e" in name:
        yield call.found(DYNAMIC_CODE)
    if writes:
        yield from written(call, path.strip())


def _sed_file(call: Call, letter: str, text: str) -> Iterator[Finding]:
    if letter == "e":
        yield from call.shell(text)
        yield call.found(DYNAMIC_CODE)
    elif letter in "wW":
        yield from written(call, text)


def _end_of(script: str, start: int, stops: str) -> int:
    ends = [at for stop in stops if (at := script.find(stop, start)) >= 0]
    return min(ends, default=len(script))


# --- make and databases -------------------------------------------------------


def _make(call: Call) -> Iterator[Finding]:
    syntax = Syntax("fCIWo", "file makefile directory eval include-dir")
    options = options_of(call.args, syntax)
    for path in options.values("f", "file", "makefile"):
        if path in ("-", "/dev/stdin"):
            yield from _makefile(call, call.input)
        else:
            yield from call.judge.judge_file(path, "unknown")
    for text in options.values("eval"):
        yield from _makefile(call, Flow(text))
    for name in ("GNUmakefile", "makefile", "Makefile"):
        content = call.judge.content(name)
        if content is not None:
            yield from _makefile(call, content)
    for operand in options.operands:
        name, equals, value = operand.partition("=")
        if equals and name in ("SHELL", ".SHELLFLAGS", "MAKEFLAGS"):
            yield from call.option([value])
        if "$(shell" in operand or "`" in value:
            yield call.found(DYNAMIC_CODE)


def _makefile(call: Call, flow: Flow) -> Iterator[Finding]:
    if "remote" in flow.tags:
        yield call.found(REMOTE_CODE)
    for line in flow.text.split("\n"):
        recipe = line.partition(";")[2] if line[:1] != "\t" else line
        yield from call.shell(recipe.strip("\t @+-"))
    yield call.found(DYNAMIC_SCRIPT)


_DATABASE_RUNS = re.compile(
    r"(?:^|[\n;])[ \t]*(?:\.(?:shell|system)\s|\\!|system\s|!)\s*(.*)"
    r"|\bPROGRAM\s+'([^']*)'|(?:^|\n)[ \t]*\.(?:once|output)\s+\|(.*)",
    re.IGNORECASE,
)
_DATABASE_LOADS = re.compile(
    r"(?:^|\n)[ \t]*\.(?:load|import\s+\|)|\bload_extension\s*\(|\bwritefile\s*\("
    r"|\bedit\s*\("
    r"|\bINTO\s+(?:OUT|DUMP)FILE\b"
    r"|\bxp_cmdshell\b|\\o\s*\|",
    re.IGNORECASE,
)


def _database(call: Call) -> Iterator[Finding]:
    texts = list(call.args)
    yield from call.option(options_of(call.args, Syntax("", "pager")).values("pager"))
    if call.stdin is not None:
        texts.append(call.stdin.text)
        if "remote" in call.stdin.tags:
            yield call.found(REMOTE_CODE)
    for text in texts:
        for found in _DATABASE_RUNS.finditer(text):
            script = next((group for group in found.groups() if group), "")
            yield from call.option([script.strip("\"'; ")])
        if _DATABASE_LOADS.search(text):
            yield call.found(DYNAMIC_OPTION)


PROGRAMS = programs(
    {
        "awk gawk mawk nawk original-awk": _awk,
        "sed gsed": _sed,
        "make gmake bmake": _make,
        "sqlite3 sqlite duckdb psql mysql mariadb": _database,
    }
)
