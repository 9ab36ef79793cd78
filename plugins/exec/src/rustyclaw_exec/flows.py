"""What a command prints, and which files it fills, as far as that can be known."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rustyclaw_exec.call import Call
from rustyclaw_exec.options import Syntax, options_of
from rustyclaw_exec.rules.destroy import find_roots
from rustyclaw_exec.rules.interpreters import SHELLS
from rustyclaw_exec.rules.network import FETCHERS, SOCKETS
from rustyclaw_exec.rules.secrets import is_secret, reads_tree
from rustyclaw_exec.values import BELOW, OUTPUT, STAR, UNKNOWN, Flow, names

_REMOTE = FETCHERS | SOCKETS | names("ssh openssl scp gh aws gsutil rclone")
_WORDY = names("echo printf : true false test [ [[ export set")
_WATCHERS = names("pgrep pidof ps grep egrep rg lsof fuser ss netstat cat awk")
_GATEWAY = re.compile(r"rustyclaw|18789")
#: Programs that print set-up for the shell that called them; `eval` may run it.
_SETUP = re.compile(
    r"ssh-agent(?: -[sck])?|direnv hook \w+|(?:py|rb|nod|j|go)env init.*"
    r"|pyenv virtualenv-init.*|(?:/\S+/)?brew shellenv|starship init \w+"
    r"|zoxide init \w+|opam env|fnm env.*|(?:conda|mamba) shell\.\w+ \w+"
    r"|mise (?:activate|env).*|minikube .*docker-env|docker-machine env \S+"
    r"|dircolors(?: -b)?(?: \S+)?|lesspipe|keychain .*--eval.*|luarocks path.*"
    r"|register-python-argcomplete \w+|thefuck --alias"
)
_LISTS_NAMES = names("fd fdfind locate")
_TEMPORARY_FILE = "/tmp/tmp.XXXXXXXXXX"  # noqa: S108  a name to reason about


def printed_by(call: Call) -> Flow:
    """Return what a call prints."""
    tags = _tags(call)
    text = _text(call)
    if text is None:
        text = OUTPUT
    return Flow(text, tags)


def _text(call: Call) -> str | None:
    if call.name == "echo":
        return _echo(call)
    if call.name == "printf":
        return _printf(call)
    if call.name in ("cat", "tee"):
        return _cat(call)
    if call.name == "find":
        return "\n".join(f"{root}/{BELOW}" for root in find_roots(call.args))
    if call.name == "ls":
        return STAR
    if call.name in _LISTS_NAMES or (call.name == "git" and "ls-files" in call.args):
        return BELOW
    if call.name in ("grep", "rg", "egrep") and re.search(
        r"-\w*l", " ".join(call.args)
    ):
        roots = [a for a in call.args if a.startswith(("/", "~", ".."))]
        return "\n".join(f"{root}/{BELOW}" for root in roots) or BELOW
    if call.name == "mktemp":
        return _TEMPORARY_FILE
    if call.name == "pwd" and len(call.judge.cwds) == 1:
        return call.judge.cwds[0] or None
    return "" if call.name in (":", "true", "false") else None


def _echo(call: Call) -> str | None:
    words = list(call.args)
    while words and re.fullmatch(r"-[neE]+", words[0]):
        words.pop(0)
    text = " ".join(words)
    return None if "\\" in text else text + "\n"  # shells differ on escapes


def _printf(call: Call) -> str | None:
    if not call.args or call.args[0].startswith("-"):
        return None
    form, items = call.args[0], list(call.args[1:])
    if re.search(r"%(?![s%d])|\\(?![nt\\])", form):
        return None
    form = form.replace("\\n", "\n").replace("\\t", "\t").replace("\\\\", "\\")
    text = ""
    while True:
        pieces = re.split(r"(%[s%d])", form)
        filled = [
            ("%" if p == "%%" else (items.pop(0) if items else ""))
            if p[:1] == "%"
            else p
            for p in pieces
        ]
        text += "".join(filled)
        if not items or len(pieces) == 1 or len(text) > 8192:
            return text


def _cat(call: Call) -> str | None:
    operands = [a for a in call.args if not re.match(r"-.", a)]
    if call.name == "tee" or not operands:
        return call.input.text
    parts = [
        call.stdin if path == "-" else call.judge.content(path) for path in operands
    ]
    if any(part is None for part in parts):
        return None
    return "".join(part.text for part in parts if part is not None)


def _tags(call: Call) -> frozenset[str]:
    tags = set(call.tags | call.input.tags)
    for argument in call.args:
        known = call.judge.content(argument)
        if known is not None:
            tags |= known.tags
    if call.name in _REMOTE:
        tags.add("remote")
    if call.name not in _WORDY and any(is_secret(call, a) for a in call.args):
        tags.add("secret")
    if reads_tree(call):
        tags.add("secret")
    if call.name in ("env", "printenv", "set", "export", "declare", "history"):
        arguments = [a for a in call.args if not a.startswith("-")]
        if not arguments or call.name == "printenv":
            tags.add("secret")
    if call.name in SHELLS and not any(re.match(r"-\w*c", a) for a in call.args):
        tags.add("shell")
    if call.name in _WATCHERS and _GATEWAY.search(call.text):
        tags.add("gateway")
    if _SETUP.fullmatch(call.text):
        return frozenset({"setup"})
    return frozenset(tags - {"setup"})


def filled_by(call: Call) -> Iterator[tuple[str, Flow]]:
    """Yield the files that a call fills, each with its content."""
    remote = Flow(OUTPUT, frozenset({"remote"}))
    if call.name == "tee":
        for path in options_of(call.args, Syntax()).operands:
            yield path, call.input
    elif call.name in FETCHERS:
        letter = "O" if call.name == "wget" else "o"
        options = options_of(call.args, Syntax(letter + "dHXAeuTFPb", "output"))
        given = options.values(letter) + options.starting("output", 3)
        given += options.values("output-document")
        for path in given:
            yield path, remote
        if not given and (call.name in ("wget", "aria2c", "axel") or options.has("O")):
            for url in options.operands:
                yield url.partition("?")[0].rstrip("/").rpartition("/")[2], remote
    elif call.name in ("scp", "sftp", "rsync") and len(call.args) > 1:
        for source in call.args[:-1]:
            if ":" in source:
                yield call.args[-1], remote
                name = source.rpartition(":")[2].rpartition("/")[2]
                yield f"{call.args[-1]}/{name}", remote
    elif call.name in ("cp", "mv", "ln", "install") and len(call.args) > 1:
        operands = options_of(call.args, Syntax("tm")).operands
        content = call.judge.content(operands[0]) if operands else None
        if content is not None:
            yield operands[-1], content
    elif call.name == "dd":
        for argument in call.args:
            if argument.startswith("of="):
                yield argument[3:], Flow(UNKNOWN, call.input.tags)
