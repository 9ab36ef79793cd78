"""What every program is checked for: credentials, devices, hidden subscripts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from rustyclaw_exec.call import Call
from rustyclaw_exec.expansion import SECRET_NAME
from rustyclaw_exec.rules.catalog import (
    CONTAINER,
    DISK_READ,
    EXFILTRATION,
    GATEWAY,
    REMOTE_SHELL,
    SECRET_READ,
    SECRET_TREE,
    SECRET_VARIABLE,
)
from rustyclaw_exec.rules.destroy import find_roots
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
#: Programs that look at devices, not at what is on them, or have rules of their own.
_DEVICE_VIEWERS = names(
    "ls stat test [ lsblk file echo fdisk sfdisk parted blkid smartctl hdparm df mount "
    "findmnt udevadm lsof fuser wipefs"
)
#: The last operand of these is written, not read.
_WRITES_LAST = names("cp mv ln install")
_TREE_READERS = names(
    "grep egrep fgrep rg ag ack tar bsdtar zip 7z cp rsync scp strings cpio"
)
_SUBSCRIPT = re.compile(r"\w+\[")
_LONGEST_PATH = 4096
_SEPARATORS = re.compile(r"[=@:<,]")


def candidates(argument: str) -> Iterator[str]:
    """Return the parts of an argument that may be paths."""
    argument = argument.removeprefix("file://")
    yield argument.partition(":")[0]
    for found in _SEPARATORS.finditer(argument):
        rest = argument[found.end() : found.end() + _LONGEST_PATH].removeprefix("//")
        yield rest.partition(":")[0]


def is_secret(call: Call, argument: str) -> bool:
    """Return whether an argument names a credential."""
    places = call.judge.places
    return any(
        places.secret(target)
        for part in candidates(argument)
        for target in call.targets(part)
    )


def check_arguments(call: Call) -> Iterator[Finding]:
    """Judge what the arguments of any program touch."""
    for argument in call.args:
        if re.search(r"/(?:dev|inet\d?)/(?:tcp|udp)/", argument):
            yield call.found(REMOTE_SHELL)
        if "docker.sock" in argument:
            yield call.found(CONTAINER)
        if _SUBSCRIPT.match(argument) and re.search(r"\$\(|`", argument):
            # Shells evaluate the subscript of a name even when it was quoted.
            yield from call.shell(f': "{argument}"')
        yield from _devices(call, argument)
    carries = call.name in NETWORKED - RESOLVERS
    readable = _readable(call)
    if call.name in ("sftp", "lftp", "ftp"):  # their commands come as input
        readable += call.input.text.split()
    if any(is_secret(call, argument) for argument in readable):
        yield call.found(EXFILTRATION if carries else SECRET_READ)
    if carries and any(_carries_secret(call, argument) for argument in readable):
        yield call.found(EXFILTRATION)
    if reads_tree(call):
        yield call.found(SECRET_TREE)


def _carries_secret(call: Call, argument: str) -> bool:
    """Return whether a file that may be sent holds accounts or collected secrets."""
    for part in candidates(argument):
        content = call.judge.content(part)
        if content is not None and "secret" in content.tags:
            return True
        if part in ("/etc/passwd", "/etc/group"):
            return True
    return False


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
    if call.name in _DEVICE_VIEWERS:
        return
    for target in call.targets(argument):
        if call.judge.places.place(target) == "device" and target.path != "/dev":
            yield call.found(DISK_READ)


def reads_tree(call: Call) -> bool:
    """Return whether a call reads a whole tree in which credentials lie."""
    if call.name not in _TREE_READERS:
        return False
    flags = "".join(a for a in call.args if re.fullmatch(r"-\w+|--rec\w*", a))
    if call.name in ("grep", "egrep", "fgrep", "cp", "scp", "zip") and not (
        set("rRa") & set(flags)
    ):
        return False
    return any(
        call.judge.places.holds_secrets(target)
        for operand in call.args
        if operand and not operand.startswith("-")
        for target in call.targets(operand)
    )


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


_SECRET_LIKE = re.compile(
    r"\.(?:pem|key)$|id_[rde]|wallet|credential|secret|passw|token|\.env", re.IGNORECASE
)


def _finds_secret(call: Call) -> Iterator[Finding]:
    """Judge ``find -name id_rsa``: looking for credentials by name."""
    roots = find_roots(call.args)
    wide = any(
        call.judge.places.holds_secrets(target)
        for root in roots
        for target in call.targets(root)
    )
    named = ("-name", "-iname", "-path")
    for before, wanted in pairwise(call.args):
        named_there = any(is_secret(call, f"{root}/{wanted}") for root in roots)
        suspect = named_there or (wide and _SECRET_LIKE.search(wanted))
        if before in named and suspect:
            yield call.found(SECRET_READ)


def _prints_variable(call: Call) -> Iterator[Finding]:
    if any(map(SECRET_NAME.search, call.args)):
        yield call.found(SECRET_VARIABLE)


def _gateway(call: Call) -> Iterator[Finding]:
    if call.args not in (("--version",), ("-V",), ("--help",), ("-h",)):
        yield call.found(GATEWAY)


PROGRAMS = programs(
    {
        " ".join(_SECRET_CALLS): _shows_secret,
        "find fd locate": _finds_secret,
        "printenv": _prints_variable,
        "rustyclaw": _gateway,
    }
)
