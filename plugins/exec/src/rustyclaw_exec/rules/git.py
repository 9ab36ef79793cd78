"""git, whose options, settings and sub-commands run programs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from rustyclaw_exec.call import Call
from rustyclaw_exec.options import Syntax, options_of
from rustyclaw_exec.rules.catalog import DYNAMIC_OPTION, GIT_GLOBAL, GIT_HOOK, UPLOAD
from rustyclaw_exec.rules.files import written
from rustyclaw_exec.tables import programs
from rustyclaw_exec.verdict import Finding

GLOBAL = Syntax(
    "cC",
    "git-dir work-tree namespace config-env super-prefix attr-source list-cmds",
    stops=True,
)
#: Settings whose value git hands to a shell.
_RUNS = re.compile(
    r"core\.(?:pager|editor|sshcommand|fsmonitor|askpass|gitproxy|alternaterefscommand)"
    r"|sequence\.editor|pager\..+|alias\..+|diff\.external|credential\.(?:.+\.)?helper"
    r"|(?:diff|merge|filter)\..+\.(?:command|textconv|driver|clean|smudge|process)"
    r"|(?:diff|merge)tool\..+\.(?:cmd|path)|gpg\.(?:.+\.)?program|man\..+\.cmd"
    r"|browser\..+\.cmd|remote\..+\.(?:uploadpack|receivepack|vcs|proxy)"
    r"|sendemail\..*(?:cmd|server)|uploadpack\.packobjectshook|interactive\.difffilter"
    r"|web\.browser|instaweb\.httpd|trailer\..+\.(?:command|cmd)|submodule\..+\.update"
    r"|gc\..*hook|imap\.tunnel|help\.browser",
    re.IGNORECASE,
)
#: Settings that change where git finds programs, settings or repositories.
_POINTS = re.compile(
    r"core\.(?:hookspath|worktree|attributesfile|excludesfile)|include(?:if\..*)?\.path"
    r"|init\.templatedir|protocol\..*allow|safe\.directory|url\..*",
    re.IGNORECASE,
)
_PLAIN_PAGER = re.compile(r"(?:cat|less(?: -[A-Za-z]+)*|more|delta|bat|true|)")
_URL = re.compile(r"\w+://|\w+::|[\w.-]+@[\w.-]+:")


def split(call: Call) -> tuple[list[tuple[str, str]], str, list[str]]:
    """Return git's own options, the sub-command and its arguments."""
    options = options_of(call.args, GLOBAL)
    return options.pairs, "".join(options.operands[:1]), options.operands[1:]


def _git(call: Call) -> Iterator[Finding]:
    pairs, verb, arguments = split(call)
    for name, value in pairs:
        if name == "c":
            key, _, setting = value.partition("=")
            yield from _setting(call, key, setting)
        elif name == "config-env" or (name == "exec-path" and value):
            yield call.found(DYNAMIC_OPTION)
    check = _VERBS.get(verb)
    if check is not None:
        yield from check(call, arguments)
    for output in options_of(arguments, Syntax("o", "output")).values("output"):
        yield from written(call, output)


def _setting(call: Call, key: str, value: str) -> Iterator[Finding]:
    """Judge one setting that git is given for this call."""
    if _POINTS.fullmatch(key):
        yield call.found(DYNAMIC_OPTION)
    elif _RUNS.fullmatch(key) and not _PLAIN_PAGER.fullmatch(value):
        yield from call.shell(value.removeprefix("!"))
        yield call.found(DYNAMIC_OPTION)


def _config(call: Call, arguments: list[str]) -> Iterator[Finding]:
    options = options_of(arguments, Syntax("f", "file blob type default"))
    operands = options.operands
    if operands[:1] in (["set"], ["unset"]):
        operands = operands[1:]
    if len(operands) < 2 or operands[0] in ("get", "list"):
        return
    key, value = operands[0], " ".join(operands[1:])
    if not (_RUNS.fullmatch(key) or _POINTS.fullmatch(key)):
        return
    everywhere = options.has("global", "system") or options.starting("global", 3)
    if everywhere and not _PLAIN_PAGER.fullmatch(value):
        yield call.found(GIT_GLOBAL)
    elif not key.lower().startswith("alias.") or value.startswith("!"):
        yield from call.shell(value.removeprefix("!"))
        yield call.found(GIT_HOOK)


def _clone(call: Call, arguments: list[str]) -> Iterator[Finding]:
    """Judge what talks to a remote: clone, fetch, pull, push, ls-remote."""
    options = options_of(
        arguments, Syntax("cuojb", "config upload-pack receive-pack exec")
    )
    for setting in options.values("c") + options.starting("config", 4):
        key, _, value = setting.partition("=")
        yield from _setting(call, key, value)
    yield from call.option(
        options.starting("upload-pack", 3)
        + options.starting("receive-pack", 3)
        + options.starting("exec", 3)
    )
    if any(re.match(r"(?:ext|fd)::", operand) for operand in options.operands):
        yield call.found(DYNAMIC_OPTION)
    if options.has("template"):
        yield call.found(DYNAMIC_OPTION)


def _push(call: Call, arguments: list[str]) -> Iterator[Finding]:
    yield from _clone(call, arguments)
    if any(map(_URL.match, arguments)) or "--mirror" in arguments:
        yield call.found(UPLOAD)


def _inner_command(call: Call, arguments: list[str]) -> Iterator[Finding]:
    """Judge ``bisect run`` and ``submodule foreach``."""
    words = options_of(arguments, Syntax(stops=True)).operands
    if words[:1] == ["run"]:
        yield from call.program(words[1:]) if words[1:] else ()
    elif words[:1] == ["foreach"]:
        inner = options_of(words[1:], Syntax(stops=True)).operands
        yield from call.shell(" ".join(inner))


def _rebase(call: Call, arguments: list[str]) -> Iterator[Finding]:
    options = options_of(arguments, Syntax("xsX", "exec onto strategy"))
    for script in options.values("x") + options.starting("exec", 2):
        yield from call.shell(script)


def _diff(call: Call, arguments: list[str]) -> Iterator[Finding]:
    options = options_of(arguments, Syntax("xtOS", "extcmd tool open-files-in-pager"))
    scripts = options.starting("extcmd", 3) + options.starting("open-files-in-pager", 3)
    if call.name == "git" and "grep" in call.args:
        scripts += [v for v in options.values("O") if v]
    elif {"difftool", "mergetool"} & set(call.args):
        scripts += options.values("x")
    yield from call.option(scripts)


def _filter_branch(call: Call, arguments: list[str]) -> Iterator[Finding]:
    yield call.found(DYNAMIC_OPTION)
    for before, script in pairwise(arguments):
        if before.endswith("-filter"):
            yield from call.shell(script)


def _archive(call: Call, arguments: list[str]) -> Iterator[Finding]:
    options = options_of(arguments, Syntax("o", "exec remote output prefix format"))
    yield from call.option(options.starting("exec", 3))
    for output in options.values("o"):
        yield from written(call, output)


def _send_email(call: Call, arguments: list[str]) -> Iterator[Finding]:
    long = "smtp-server to-cmd cc-cmd header-cmd sendmail-cmd"
    options = options_of(arguments, Syntax("", long))
    for name in long.split():
        for value in options.starting(name, 3):
            if "/" in value or name != "smtp-server":
                yield from call.option([value])


def _remote(call: Call, arguments: list[str]) -> Iterator[Finding]:
    if any(re.match(r"(?:ext|fd)::", argument) for argument in arguments):
        yield call.found(DYNAMIC_OPTION)
    if arguments[:1] == ["set-url"]:
        yield call.found(GIT_HOOK)


_VERBS = {
    "config": _config,
    **dict.fromkeys(("clone", "fetch", "pull", "ls-remote", "init"), _clone),
    **dict.fromkeys(("push", "send-pack"), _push),
    **dict.fromkeys(("bisect", "submodule"), _inner_command),
    "rebase": _rebase,
    **dict.fromkeys(("grep", "difftool", "mergetool"), _diff),
    "filter-branch": _filter_branch,
    "archive": _archive,
    "send-email": _send_email,
    "remote": _remote,
}

PROGRAMS = programs({"git": _git})
