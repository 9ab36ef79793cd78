"""Programs that an option, or a command of their own, makes run another program."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rustyclaw_exec.call import Call
from rustyclaw_exec.options import Options, Syntax, options_of
from rustyclaw_exec.rules.catalog import DYNAMIC_CODE, DYNAMIC_SCRIPT
from rustyclaw_exec.tables import Check, programs
from rustyclaw_exec.verdict import Finding

# --- Editors and pagers -------------------------------------------------------


_EDITOR_RUNS = re.compile(
    r"(?:%|\d+|\.|silent)*\s*(?:r(?:ead)?|w(?:rite)?)?\s*!(.*)", re.DOTALL
)
_EDITOR_MOVES = re.compile(r"\d*|/[^|!]*|qa?!?|wq!?|x|set [\w=]+|syntax \w+")


def _editor(call: Call) -> Iterator[Finding]:
    syntax = Syntax("cSuwWTit", "cmd")
    options = options_of(call.args, syntax)
    commands = options.values("c", "cmd")
    commands += [o[1:] for o in options.operands if o.startswith("+")]
    for command in commands:
        text = command.lstrip(": ")
        if found := _EDITOR_RUNS.match(text):
            yield from call.option([found[1]])
        elif not _EDITOR_MOVES.fullmatch(text):
            yield call.found(DYNAMIC_CODE)
    reads = call.name in ("ed", "ex") and call.stdin is not None
    if reads or options.has("S", "u"):
        for line in call.input.text.split("\n"):
            if "!" in line:
                yield from call.shell(line.partition("!")[2])
        yield call.found(DYNAMIC_SCRIPT)


def _pager(call: Call) -> Iterator[Finding]:
    for argument in call.args:
        if argument.startswith("+") and "!" in argument:
            yield from call.option([argument.partition("!")[2]])


# --- Options that name a program ----------------------------------------------


def _named(options: Options, short: str, *long: str) -> list[str]:
    found = options.values(*short)
    for name in long:
        found += options.starting(name, min(len(name), 3))
    return found


def _runs(short: str, *long: str, valued: str = "") -> Check:
    """Return a check for programs with options that name a program."""

    def check(call: Call) -> Iterator[Finding]:
        options = options_of(call.args, Syntax(short + valued, " ".join(long)))
        yield from call.option(_named(options, short, *long))

    return check


_TAR_RUNS = (
    "to-command use-compress-program info-script new-volume-script rsh-command "
    "rmt-command"
)
_COMPRESSOR = re.compile(
    r"(?:pi|p)?(?:gz|gzip|bzip2|xz|zstd|lz4|lzma|lbzip2)(?: -[\w-]+)*"
)


def _tar(call: Call) -> Iterator[Finding]:
    arguments = call.args
    if arguments and not arguments[0].startswith("-"):  # `tar cf x` without a dash
        arguments = ("-" + arguments[0], *arguments[1:])
    plain = "file directory exclude files-from transform checkpoint-action"
    options = options_of(arguments, Syntax("fCIFTXbHLNKVg", f"{_TAR_RUNS} {plain}"))
    for script in _named(options, "IF", *_TAR_RUNS.split()):
        if not _COMPRESSOR.fullmatch(script):
            yield from call.option([script])
    for action in options.starting("checkpoint-action", 12):
        kind, _, script = action.partition("=")
        if kind == "exec":
            yield from call.option([script])


def _compress_program(call: Call) -> Iterator[Finding]:
    options = options_of(call.args, Syntax("koSTt", "compress-program key output"))
    for script in options.starting("compress-program", 3):
        yield from call.judge.judge_file(script, "shell")
        yield from call.option([script])


_PLAIN_SSH = re.compile(r"ssh(?: -[46CpilqTvx]+(?: [\w./~-]+)?)*")


def _rsync(call: Call) -> Iterator[Finding]:
    options = options_of(call.args, Syntax("efTBM", "rsh rsync-path"))
    scripts = options.values("e") + options.starting("rsh", 3)
    for script in scripts + options.starting("rsync-path", 6):
        if not _PLAIN_SSH.fullmatch(script):
            yield from call.option([script])


def _cmake(call: Call) -> Iterator[Finding]:
    if call.args[:1] == ("-E",):
        inner = call.args[2:] if call.args[1:2] == ("env",) else call.args[1:]
        yield from call.program(inner)
    elif "-P" in call.args:
        path = call.args[call.args.index("-P") + 1 :]
        yield from call.judge.judge_file("".join(path[:1]), "unknown")


def _zip(call: Call) -> Iterator[Finding]:
    for place, argument in enumerate(call.args):
        if argument in ("-TT", "--unzip-command") and place + 1 < len(call.args):
            yield from call.option([call.args[place + 1]])
        elif argument.startswith("--unz"):
            yield from call.option([argument.partition("=")[2]])


def _single_dash(*wanted: str) -> Check:
    """Return a check for options like ``-wrapper`` and ``-exec``."""

    def check(call: Call) -> Iterator[Finding]:
        for place, argument in enumerate(call.args):
            name, equals, value = argument.partition("=")
            if name.lstrip("-") in wanted and argument.startswith("-"):
                value = value if equals else "".join(call.args[place + 1 : place + 2])
                yield from call.option([value.replace(",", " ")])

    return check


PROGRAMS = programs(
    {
        "vim vi nvim view ex ed gvim vimdiff rvim": _editor,
        "less more most": _pager,
        "tar bsdtar": _tar,
        "sort": _compress_program,
        "rsync": _rsync,
        "zip": _zip,
        "man apropos": _runs("PH", "pager", "html"),
        "split": _runs("", "filter", valued="abClnt"),
        "tcpdump": _runs("z", valued="wriCGsF"),
        "cpio": _runs("", "rsh-command"),
        "nodemon": _runs("x", "exec"),
        "start-stop-daemon": _runs("xa", "exec", "startas"),
        "openvpn": _runs("", "up", "down", "route-up", "tls-verify", "ipchange"),
        "hg": _single_dash("config"),
        "svn": _runs("", "editor-cmd", "diff-cmd", "diff3-cmd", "config-option"),
        "rpm": _runs("E", "eval", "pipe", "define"),
        "cmake": _cmake,
        "gcc g++ cc clang": _single_dash("wrapper", "fplugin", "specs"),
        "ansible": _runs("a", "args", valued="mi"),
    }
)
