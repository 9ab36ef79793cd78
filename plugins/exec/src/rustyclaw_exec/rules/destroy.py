"""Programs that delete, overwrite or open up files."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rustyclaw_exec.call import Call
from rustyclaw_exec.options import Syntax, options_of
from rustyclaw_exec.rules.catalog import (
    DESTROY_EVERYTHING,
    DESTROY_UNKNOWN,
    DISK_READ,
    DISK_WRITE,
    PERMISSIONS,
    REBOUND,
    SETUID,
    WORLD_WRITABLE,
)
from rustyclaw_exec.rules.files import deleted, written
from rustyclaw_exec.tables import programs
from rustyclaw_exec.values import BELOW, LOOSE, names
from rustyclaw_exec.verdict import Finding

_PROGRAM_FOLDER = re.compile(r"(?:/usr(?:/local)?)?/s?bin/[^/]+")
_COPY = Syntax(short="tSgmo", long="target-directory suffix mode")
_SETUID_MODE = re.compile(r"0*[2-7][0-7]{3}|.{0,40}[+=][rwxXt]{0,8}s.{0,40}")


def _remove(call: Call) -> Iterator[Finding]:
    options = options_of(call.args, Syntax())
    recursive = options.has("r", "R") or bool(options.starting("recursive", 3))
    for path in options.operands:
        if LOOSE in path:  # it may hold options, or be any number of paths
            yield call.found(DESTROY_UNKNOWN)
        yield from deleted(call, path, recursive=recursive)


def _shred(call: Call) -> Iterator[Finding]:
    syntax = Syntax(short="ns", long="iterations size random-source")
    for path in options_of(call.args, syntax).operands:
        if any(call.judge.places.place(t) == "device" for t in call.targets(path)):
            yield call.found(DISK_WRITE)
        yield from deleted(call, path, recursive=False)


def _truncate(call: Call) -> Iterator[Finding]:
    syntax = Syntax(short="srd", long="size reference date")
    for path in options_of(call.args, syntax).operands:
        yield from written(call, path)


def _write_operands(call: Call) -> Iterator[Finding]:
    for path in options_of(call.args, Syntax(short="m")).operands:
        yield from written(call, path)


def _copy(call: Call) -> Iterator[Finding]:
    options = options_of(call.args, _COPY)
    folders = options.values("t") + options.starting("target-directory", 3)
    sources, goals = options.operands, folders
    if not folders and sources:
        sources, goals = sources[:-1], sources[-1:]
    for goal in goals:
        yield from written(call, goal)
        for source in sources:  # the goal may be a folder
            yield from written(call, f"{goal}/{source.rpartition('/')[2]}")
    for source in sources:
        if call.name == "mv":
            for finding in deleted(call, source, recursive=True):
                if finding.rule not in (DESTROY_EVERYTHING, DESTROY_UNKNOWN):
                    yield finding
        if _PROGRAM_FOLDER.fullmatch(source):
            yield call.found(REBOUND)
        if any(call.judge.places.place(t) == "device" for t in call.targets(source)):
            yield call.found(DISK_READ)
    modes = options.values("m") + options.starting("mode")
    if call.name == "install" and any(map(_SETUID_MODE.fullmatch, modes)):
        yield call.found(SETUID)


def _dd(call: Call) -> Iterator[Finding]:
    for argument in call.args:
        key, _, path = argument.partition("=")
        if key == "of":
            yield from written(call, path)
        elif key == "if" and any(
            call.judge.places.place(t) == "device" for t in call.targets(path)
        ):
            yield call.found(DISK_READ)


def _permissions(call: Call) -> Iterator[Finding]:
    recursive = False
    operands = []
    for argument in call.args:
        # A mode such as `-x` or `-rwx` looks like options; only these are some.
        if re.fullmatch(r"-[RcfvhHLP]+|--\w[\w-]*(?:=.*)?", argument):
            recursive |= "R" in argument or argument.startswith("--rec")
        else:
            operands.append(argument)
    mode, paths = (operands[0], operands[1:]) if operands else ("", [])
    if call.name == "chmod" and _SETUID_MODE.fullmatch(mode):
        yield call.found(SETUID)
    opened = re.search(r"[2367]$|[ao]+[+=]\w*w|^\+\w*w", mode)
    everybody = call.name == "chmod" and opened is not None
    for path in paths:
        for target in call.targets(path):
            place = call.judge.places.place(target)
            if place in ("root", "system", "home", "state", "device", "above"):
                yield call.found(PERMISSIONS)
            elif (place == "unknown" and recursive) or (
                recursive and everybody and call.name == "chmod"
            ):
                yield call.found(WORLD_WRITABLE)


def _in_place(call: Call) -> Iterator[Finding]:
    if any(re.match(r"-\w*i", argument) for argument in call.args):
        for argument in call.args:
            if not argument.startswith("-") and "\n" not in argument:
                yield from written(call, argument)


def _rsync_local(call: Call) -> Iterator[Finding]:
    syntax = Syntax(short="efTB", long="rsh exclude include filter")
    options = options_of(call.args, syntax)
    goal = options.operands[-1] if len(options.operands) > 1 else ""
    if not goal or ":" in goal:
        return
    if any(name.startswith("del") for name, _ in options.pairs):
        yield from deleted(call, goal, recursive=True)
    else:
        yield from written(call, goal)


def _extract(call: Call) -> Iterator[Finding]:
    """Judge where archives are unpacked to."""
    letters = {"tar": "C", "unzip": "d", "7z": "o", "bsdtar": "C"}[call.name]
    syntax = Syntax(short=letters + "fI", long="directory file")
    options = options_of(call.args, syntax)
    for folder in options.values(letters) + options.starting("directory", 3):
        yield from written(call, folder)
    if options.has("P") or options.starting("absolute-names", 3):
        yield from written(call, "/")


#: Short and long options that name a file to write, where ``-o`` is not all.
_OUTPUTS = {
    "curl": ("oDc", "output dump-header cookie-jar trace trace-ascii stderr"),
    "wget": ("Oao", "output-document append-output output-file save-cookies"),
    "openssl": ("", "out keyout writerand"),
    "tcpdump": ("w", ""),
}


def _outputs(call: Call) -> Iterator[Finding]:
    """Judge programs with options that name a file to write."""
    letters, long = _OUTPUTS.get(call.name, ("o", "output"))
    syntax = Syntax(letters + "TXdHPAebu", long, single_dash=call.name == "openssl")
    options = options_of(call.args, syntax)
    paths = options.values(*letters, *long.split()) + options.starting("output", 3)
    for path in paths:
        if path != "-":
            yield from written(call, path)


# --- find ---------------------------------------------------------------------

_FIND_FILTERS = names(
    "-name -iname -path -ipath -wholename -regex -iregex -type -empty -mtime -mmin "
    "-atime -amin -ctime -cmin -newer -size -perm -user -group -maxdepth -mindepth "
    "-links"
)
_FIND_RUNS = frozenset({"-exec", "-execdir", "-ok", "-okdir"})


def find_roots(arguments: tuple[str, ...]) -> list[str]:
    """Return the folders that a ``find`` begins in."""
    roots = []
    for argument in arguments:
        if argument.startswith("-") and argument not in ("-H", "-L", "-P"):
            break
        if argument in ("(", "!"):
            break
        if not argument.startswith("-"):
            roots.append(argument)
    return roots or ["."]


def _find(call: Call) -> Iterator[Finding]:
    roots = find_roots(call.args)
    narrow = bool(_FIND_FILTERS.intersection(call.args) - {"-maxdepth", "-mindepth"})
    index = 0
    while index < len(call.args):
        argument = call.args[index]
        index += 1
        if argument == "-delete":
            for root in roots:
                yield from deleted(call, f"{root}/{BELOW}", recursive=False)
            if not narrow:
                yield call.found(DESTROY_EVERYTHING)
        elif argument in ("-fprint", "-fprint0", "-fprintf", "-fls"):
            yield from written(call, "".join(call.args[index : index + 1]))
        elif argument in _FIND_RUNS:
            command: list[str] = []
            while index < len(call.args) and call.args[index] not in (";", "+"):
                command.append(call.args[index])
                index += 1
            for root in roots:
                found = [part.replace("{}", f"{root}/{BELOW}") for part in command]
                if argument.endswith("dir") and root.startswith(("/", "~", "..")):
                    call.judge.change_folder((f"{root}/{BELOW}",))
                yield from call.program(found)
            if not narrow and command[:1] and command[0].endswith("rm"):
                yield call.found(DESTROY_EVERYTHING)


PROGRAMS = programs(
    {
        "rm rmdir unlink srm trash": _remove,
        "shred wipe": _shred,
        "cp mv ln install link": _copy,
        "chmod chown chgrp setfacl": _permissions,
        "tee sponge mkdir touch mkfifo mknod patch": _write_operands,
        "perl ruby": _in_place,
        "tar bsdtar unzip 7z": _extract,
        "sort curl wget gcc cc g++ clang ld time strace ltrace gpg openssl tcpdump": (
            _outputs
        ),
        "truncate": _truncate,
        "dd": _dd,
        "rsync": _rsync_local,
        "find": _find,
    }
)
