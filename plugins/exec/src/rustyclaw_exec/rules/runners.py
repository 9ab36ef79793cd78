"""Programs that run another program: the inner one is judged in their place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from rustyclaw_exec.call import Call
from rustyclaw_exec.options import Syntax, options_of
from rustyclaw_exec.rules.catalog import (
    DYNAMIC_OPTION,
    DYNAMIC_SCRIPT,
    LOADER,
    SCHEDULE,
)
from rustyclaw_exec.rules.variables import assigned
from rustyclaw_exec.tables import programs
from rustyclaw_exec.values import LOOSE, UNKNOWN, Flow, loose, names
from rustyclaw_exec.verdict import Finding


class _Runner(NamedTuple):
    """How a program takes the command that it runs.

    :param syntax: Its own options; the command begins at the first operand.
    :param skip: Operands of its own before the command.
    :param after: A word before which everything is its own, such as ``run``.
    """

    syntax: Syntax = Syntax(stops=True)
    skip: int = 0
    after: str = ""


def _own(short: str = "", long: str = "") -> Syntax:
    return Syntax(short, long, stops=True)


_RUNNERS: Mapping[str, _Runner] = {
    "nice": _Runner(_own("n", "adjustment")),
    "ionice": _Runner(_own("cnpPu", "class classdata pid")),
    "chrt": _Runner(_own("TPDp"), skip=1),
    "taskset": _Runner(_own("p"), skip=1),
    "stdbuf": _Runner(_own("ioe", "input output error")),
    "timeout": _Runner(_own("ks", "kill-after signal"), skip=1),
    "time": _Runner(_own("of", "output format")),
    "unshare": _Runner(_own("SGRw", "setuid setgid root wd map-user map-group")),
    "prlimit": _Runner(_own("p", "pid output")),
    "cpulimit": _Runner(_own("lpePm", "limit pid exe path")),
    "numactl": _Runner(_own("iNmPCp", "interleave cpunodebind membind physcpubind")),
    "setarch": _Runner(skip=1),
    "faketime": _Runner(_own("f"), skip=1),
    "envdir": _Runner(skip=1),
    "valgrind": _Runner(),
    "xvfb-run": _Runner(_own("neflps", "server-num server-args error-file")),
    "rlwrap": _Runner(_own("abcCDefgHIlmMNoOpPqrsStUwxzA")),
    "uv": _Runner(_own("p", "python with extra group env-file"), after="run"),
    "conda": _Runner(_own("np", "name prefix cwd"), after="run"),
    "gnome-terminal": _Runner(after="--"),
    "mise": _Runner(after="--"),
    "doppler": _Runner(after="--"),
    "op": _Runner(after="--"),
    "aws-vault": _Runner(after="--"),
    **dict.fromkeys(("poetry", "pipenv", "pdm", "hatch", "rye"), _Runner(after="run")),
    **dict.fromkeys(
        ("bundle", "rbenv", "pyenv", "asdf", "pnpm", "yarn"), _Runner(after="exec")
    ),
    **dict.fromkeys(("npm",), _Runner(_own("pc", "package call"), after="exec")),
}
#: Programs that take a command and nothing else of interest.
_PLAIN = names(
    "nohup setsid linux32 linux64 i386 x86_64 fakeroot fakechroot eatmydata catchsegv "
    "torsocks torify proxychains proxychains4 tsocks dbus-run-session unbuffer busybox "
    "toybox builtin chronic ts coproc entr dotenv daemonize setpriv winpty caffeinate"
)


def _run(call: Call) -> Iterator[Finding]:
    runner = _RUNNERS.get(call.name, _Runner())
    args = list(call.args)
    if runner.after:
        if runner.after not in args:
            return
        args = args[args.index(runner.after) + 1 :]
    inner = options_of(args, runner.syntax).operands[runner.skip :]
    if inner:
        yield from call.program(inner)


def _command(call: Call) -> Iterator[Finding]:
    options = options_of(call.args, _own())
    if not options.has("v", "V"):
        yield from call.program(options.operands) if options.operands else ()


def _exec(call: Call) -> Iterator[Finding]:
    operands = options_of(call.args, _own("a")).operands
    if operands:
        yield from call.program(operands)


def _env(call: Call) -> Iterator[Finding]:
    syntax = _own("uCSP", "unset chdir split-string argv0")
    options = options_of(call.args, syntax)
    for text in options.values("S") + options.starting("split-string", 1):
        # Its own quoting is nearly a shell's; `${NAME}` is the same, too.
        yield from call.shell(" ".join([text, *options.operands]))
        return
    for folder in options.values("C", "chdir"):
        call.judge.change_folder((folder,))
    inner = list(options.operands)
    while inner and re.match(r"[^=]+=", inner[0]):
        name, _, value = inner.pop(0).partition("=")
        call.judge.assign(name, Flow(value, call.tags))
        yield from assigned(call, name, value)
    if inner:
        yield from call.program(inner)


def _xargs(call: Call) -> Iterator[Finding]:
    syntax = _own(
        "adEeIiLlnPsJR",
        "arg-file delimiter eof replace max-lines max-args max-procs max-chars "
        "process-slot-var",
    )
    options = options_of(call.args, syntax)
    inner = options.operands or ["echo"]
    text = call.stdin.text if call.stdin is not None else UNKNOWN
    if options.has("a", "arg-file"):
        text = UNKNOWN
    holder = next(iter(options.values("I", "J", "i", "replace")), "")
    if not holder and options.has("i", "replace"):
        holder = "{}"
    if holder or options.has("0", "null", "d", "delimiter"):
        items = [line for line in text.split("\n") if line]
    else:
        items = text.split()
    items = [loose(item) for item in items] or [UNKNOWN + LOOSE]
    tags = call.tags | call.input.tags
    if holder:
        filled = [[part.replace(holder, item) for part in inner] for item in items[:8]]
    else:
        filled = [[*inner, *items]]
    for arguments in filled:
        yield from call.judge.judge_program(arguments, None, tags)


def _parallel(call: Call) -> Iterator[Finding]:
    """Judge GNU parallel, which hands its arguments to a shell."""
    syntax = _own("jNnIaSPL", "jobs arg-file sshlogin colsep delimiter joblog results")
    operands = options_of(call.args, syntax).operands
    split = next(
        (i for i, o in enumerate(operands) if o.startswith(":::")), len(operands)
    )
    script, items = " ".join(operands[:split]), " ".join(operands[split + 1 :])
    if not script:
        yield call.found(DYNAMIC_SCRIPT)
        for item in operands[split + 1 :] or call.input.text.split("\n"):
            yield from call.shell(item)
        return
    items = items or " ".join(call.input.text.split())
    filled = script.replace("{}", items) if "{}" in script else f"{script} {items}"
    yield from call.shell(filled)
    if not items and re.match(r"(?:ba|da|z|k)?sh\b", script):
        yield call.found(DYNAMIC_SCRIPT)


def _shell_words(call: Call) -> Iterator[Finding]:
    """Judge programs that join their operands and hand them to a shell."""
    syntax = _own("nqsSMr", "interval runs warmup prepare setup cleanup")
    options = options_of(call.args, syntax)
    for name, value in options.pairs:
        if name in ("prepare", "setup", "cleanup"):
            yield from call.shell(value)
    yield from call.shell(" ".join(options.operands))


def _option_c(call: Call) -> Iterator[Finding]:
    """Judge programs whose ``-c`` is a shell command."""
    long = "command exec run eval"
    own = "cIOBoET" if call.name == "script" else "cwEn"
    syntax = Syntax(own, long, stops=call.name != "script")
    options = options_of(call.args, syntax)
    for script in (
        options.values("c") + options.starting("command") + options.values("run")
    ):
        yield from call.shell(script)
    inner = options.operands[1:] if call.name in ("flock", "lockf") else []
    if inner[:1] == ["-c"]:
        yield from call.shell(" ".join(inner[1:2]))
    elif inner:
        yield from call.program(inner)


def _capabilities(call: Call) -> Iterator[Finding]:
    if "--" in call.args:
        rest = call.args[call.args.index("--") + 1 :]
        yield from call.program(["bash", *rest])


def _loader(call: Call) -> Iterator[Finding]:
    inner = options_of(call.args, _own("", "library-path preload audit argv0")).operands
    if inner:
        yield call.found(LOADER)
        yield from call.program(inner)


_MULTIPLEXED = names("new new-session new-window split-window send-keys run-shell -X")


def _terminal(call: Call) -> Iterator[Finding]:
    """Judge terminals and multiplexers, which start commands of their own."""
    words = list(call.args)
    if "-e" in words or "-x" in words:
        inner = words[max(words.index(f) for f in ("-e", "-x") if f in words) + 1 :]
        yield from call.shell(" ".join(inner))
    starts = _MULTIPLEXED.intersection(words) or any(w[:3] == "-dm" for w in words)
    if call.name in ("tmux", "screen") and starts:
        yield call.found(DYNAMIC_OPTION)
        for word in words:
            if " " in word:
                yield from call.shell(word)


def _later(call: Call) -> Iterator[Finding]:
    yield call.found(SCHEDULE)


PROGRAMS = programs(
    {
        " ".join([*_RUNNERS, *_PLAIN]): _run,
        "command": _command,
        "exec": _exec,
        "env": _env,
        "xargs": _xargs,
        "parallel sem rush": _parallel,
        "watch hyperfine": _shell_words,
        "script flock lockf nix-shell expect vagrant": _option_c,
        "ld.so": _loader,
        "capsh": _capabilities,
        "tmux screen xterm konsole urxvt alacritty kitty": _terminal,
        "systemd-run": _later,
    }
)
