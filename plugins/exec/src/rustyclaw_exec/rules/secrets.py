"""What every program is checked for: credentials, devices, hidden subscripts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from rustyclaw_exec.call import Call
from rustyclaw_exec.rules.catalog import (
    CONTAINER,
    DISK_READ,
    EXFILTRATION,
    GATEWAY,
    REMOTE_SHELL,
    SECRET_READ,
    SECRET_TREE,
)
from rustyclaw_exec.rules.network import NETWORKED, RESOLVERS
from rustyclaw_exec.tables import programs
from rustyclaw_exec.values import GLOB, names
from rustyclaw_exec.verdict import Finding

#: Programs whose arguments are words rather than files.
_TALKATIVE = names("echo printf : true false expr seq sleep kill basename dirname")
#: Programs that only look at, or set, what stands beside a file's content.
_OUTSIDE_ONLY = names(
    "test [ [[ chmod chown chgrp touch mkdir rmdir rm unlink stat shred"
)
#: The last operand of these is written, not read.
_WRITES_LAST = names("cp mv ln install")
_TREE_READERS = names(
    "grep egrep fgrep rg ag ack tar bsdtar zip 7z cp rsync scp strings cpio"
)
_SUBSCRIPT = re.compile(r"\w+\[")
_SEPARATORS = re.compile(r"[=@:<,]")


def candidates(argument: str) -> Iterator[str]:
    """Return the parts of an argument that may be paths."""
    argument = argument.removeprefix("file://")
    yield argument
    for found in _SEPARATORS.finditer(argument[:4096]):
        yield argument[found.end() :].removeprefix("//")
    if ":" in argument:
        yield argument.partition(":")[0]


def is_secret(call: Call, argument: str) -> bool:
    """Return whether an argument names a credential."""
    places = call.judge.places
    return any(
        places.secret(target, cwd)
        for part in candidates(argument)
        for cwd in call.judge.cwds
        for target in (places.locate(part, cwd),)
    )


def check_arguments(call: Call) -> Iterator[Finding]:
    """Judge what the arguments of any program touch."""
    for argument in call.args:
        if "/dev/tcp/" in argument or "/dev/udp/" in argument:
            yield call.found(REMOTE_SHELL)
        if "docker.sock" in argument:
            yield call.found(CONTAINER)
        if _SUBSCRIPT.match(argument) and re.search(r"\$\(|`", argument):
            # Shells evaluate the subscript of a name even when it was quoted.
            yield from call.shell(f': "{argument}"')
        yield from _devices(call, argument)
    readable = _readable(call)
    if any(is_secret(call, argument) for argument in readable):
        carries = call.name in NETWORKED - RESOLVERS
        yield call.found(EXFILTRATION if carries else SECRET_READ)
    if call.name in _TREE_READERS:
        yield from _trees(call)


def _readable(call: Call) -> list[str]:
    """Return the arguments whose content the program reads."""
    if call.name in _OUTSIDE_ONLY:
        return []
    if call.name in _TALKATIVE:
        return [argument for argument in call.args if GLOB.search(argument)]
    arguments = list(call.args)
    if call.name in _WRITES_LAST and len(arguments) > 1:
        arguments.pop()
    if call.name in ("ssh", "scp", "sftp", "rsync"):  # a key to log in with
        own = {i + 1 for i, a in enumerate(arguments) if a in ("-i", "-F")}
        arguments = [a for i, a in enumerate(arguments) if i not in own]
    if call.name == "git" and "-m" in arguments:
        del arguments[arguments.index("-m") + 1 : arguments.index("-m") + 2]
    return arguments


def _devices(call: Call, argument: str) -> Iterator[Finding]:
    if call.name in ("ls", "stat", "test", "[", "lsblk", "file", "echo"):
        return
    for target in call.targets(argument):
        if call.judge.places.place(target) == "device" and target.path != "/dev":
            yield call.found(DISK_READ)


def _trees(call: Call) -> Iterator[Finding]:
    flags = "".join(a for a in call.args if re.fullmatch(r"-\w+|--rec\w*", a))
    if call.name in ("grep", "egrep", "fgrep", "cp", "scp", "zip") and not (
        set("rRa") & set(flags)
    ):
        return
    operands = [a for a in call.args if not a.startswith("-")]
    for operand in operands:
        if operand and any(
            call.judge.places.holds_secrets(t) for t in call.targets(operand)
        ):
            yield call.found(SECRET_TREE)


# --- Tools that show secrets --------------------------------------------------


def _shows(*verbs: str) -> re.Pattern[str]:
    return re.compile("|".join(verbs))


_SECRET_CALLS = {
    "gpg": _shows("--export-secret", "--export-sec"),
    "gpg2": _shows("--export-secret", "--export-sec"),
    "gh": _shows("auth token", "auth status .*(-t|--show-token)"),
    "git": _shows(r"credential (fill|get)", "credential-"),
    "aws": _shows("configure (get|export)", "secretsmanager get", "sts get-session"),
    "gcloud": _shows(
        "auth (print|application-default print)", "secrets versions access"
    ),
    "az": _shows("account get-access-token", "keyvault secret show"),
    "vault": _shows("(kv get|read|token)"),
    "op": _shows("(item get|read|signin)"),
    "pass": _shows(r"(show|-c|[\w/]+)"),
    "bw": _shows("(get|unlock|list)"),
    "security": _shows("(find|dump|export)-?"),
    "secret-tool": _shows("(lookup|search)"),
    "npm": _shows("token", "config get .*_auth"),
    "heroku": _shows("(auth:token|config)"),
    "kubectl": _shows("config view .*--raw"),
    "ssh-keygen": _shows(".*-y"),
    "ssh-add": _shows("-L"),
}


def _shows_secret(call: Call) -> Iterator[Finding]:
    pattern = _SECRET_CALLS[call.name]
    if pattern.match(" ".join(call.args)):
        yield call.found(SECRET_READ)


def _finds_secret(call: Call) -> Iterator[Finding]:
    """Judge ``find -name id_rsa``: looking for credentials by name."""
    for before, argument in pairwise(call.args):
        if before in ("-name", "-iname", "-path") and is_secret(call, argument):
            yield call.found(SECRET_READ)


def _gateway(call: Call) -> Iterator[Finding]:
    if call.args not in (("--version",), ("-V",), ("--help",), ("-h",)):
        yield call.found(GATEWAY)


PROGRAMS = programs(
    {
        " ".join(_SECRET_CALLS): _shows_secret,
        "find fd locate": _finds_secret,
        "rustyclaw": _gateway,
    }
)
