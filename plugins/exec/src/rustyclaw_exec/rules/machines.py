"""Other machines and containers: what runs there, and what they are shown of here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from rustyclaw_exec.call import Call
from rustyclaw_exec.options import Syntax, options_of
from rustyclaw_exec.rules.catalog import (
    CONTAINER,
    DYNAMIC_OPTION,
    DYNAMIC_SCRIPT,
    EXFILTRATION,
    GATEWAY,
    SECRET_READ,
    TUNNEL,
    UPLOAD,
)
from rustyclaw_exec.tables import programs
from rustyclaw_exec.verdict import Finding

_SSH_RUNS = re.compile(
    r"\s*(?:ProxyCommand|LocalCommand|KnownHostsCommand|PKCS11Provider|SecurityKeyProvider"
    r"|Include|PermitLocalCommand|RemoteCommand)[\s=]+(.*)",
    re.IGNORECASE | re.DOTALL,
)


def _ssh(call: Call) -> Iterator[Finding]:
    syntax = Syntax("BbcDEeFIiJLlmOopQRSWw", stops=True)
    options = options_of(call.args, syntax)
    for setting in options.values("o"):
        if found := _SSH_RUNS.match(setting):
            yield from call.option([found[1]])
    if options.has("F") and call.name == "ssh":
        yield call.found(DYNAMIC_OPTION)
    if call.name in ("scp", "sftp") and options.has("S", "D"):
        yield from call.option(options.values("S", "D"))
    if call.name != "ssh":
        return
    if options.has("R", "L", "D", "w"):
        yield call.found(TUNNEL)
    if call.stdin is not None:
        secret = "secret" in call.stdin.tags
        yield call.found(EXFILTRATION if secret else UPLOAD)
    # After the host, options may go on; what follows them is the remote command.
    remote = options_of(options.operands[1:], syntax)
    if remote.operands:
        yield from call.shell(" ".join(remote.operands))
    elif call.stdin is not None:
        yield from call.judge.judge_shell(call.stdin, None)


_CONTAINER_ESCAPE = re.compile(
    r"--privileged(?:=true)?|(?:--(?:pid|ipc|uts|userns|cgroupns)=)?host"
    r"|(?:--cap-add=)?(?:CAP_)?(?:ALL|(?:SYS|DAC|NET)_[A-Z_]+)|.*unconfined"
    r"|(?:--device=)?/dev/.*|.*docker\.sock.*"
    r"|(?:-v|.*=)?/(?:etc|root|home|var|proc|sys|dev|boot|usr|run)?/?:.*"
    r"|.*(?:source|src)=/(?:etc|root|home|var|proc|sys)?(?:,.*)?"
)
_CONTAINER_OPTIONS = Syntax(
    "abcehlmpuvw",
    "name env volume workdir user publish entrypoint network mount memory cpus label "
    "env-file hostname platform pull gpus shm-size tmpfs ulimit restart add-host",
    stops=True,
)


def _container(call: Call) -> Iterator[Finding]:
    words = list(call.args)
    if words[:1] in (["-H"], ["--host"]):
        yield call.found(DYNAMIC_OPTION)
    for before, word in pairwise(["", *words]):
        host_network = word == "host" and before in ("--network", "--net")
        if (_CONTAINER_ESCAPE.fullmatch(word) and not host_network) or _opens_home(
            call, word
        ):
            yield call.found(CONTAINER)
        elif before and word.startswith("rustyclaw"):
            yield call.found(GATEWAY)
    verb = next((w for w in words[:3] if w in ("run", "exec", "create")), "")
    if verb:
        rest = words[words.index(verb) + 1 :]
        inner = options_of(rest, _CONTAINER_OPTIONS).operands[1:]
        yield from call.program(inner)


def _opens_home(call: Call, word: str) -> bool:
    """Return whether a volume shows the container somebody's home."""
    source, colon, _ = (word.partition("=")[2] or word).partition(":")
    return colon == ":" and any(
        call.judge.places.place(target) in ("root", "home", "above", "state")
        for target in call.targets(source)
        if source[:1] in ("/", "~")
    )


def _kubectl(call: Call) -> Iterator[Finding]:
    words = set(call.args)
    if words & {"get", "describe", "view"} and words & {"secret", "secrets", "--raw"}:
        yield call.found(SECRET_READ)
    if "apply" in words and any("://" in w for w in words):
        yield call.found(DYNAMIC_SCRIPT)
    if "--" in call.args:
        yield from call.program(call.args[call.args.index("--") + 1 :])


def _escape(call: Call) -> Iterator[Finding]:
    yield call.found(CONTAINER)


PROGRAMS = programs(
    {
        "ssh scp sftp autossh": _ssh,
        "docker podman nerdctl lxc-attach": _container,
        "kubectl oc": _kubectl,
        "nsenter chroot runc ctr crictl lxc": _escape,
    }
)
