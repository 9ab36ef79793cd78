"""Package managers of languages: what they fetch from an address, they also run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from rustyclaw_exec.call import Call
from rustyclaw_exec.options import Syntax, options_of
from rustyclaw_exec.rules.catalog import GATEWAY, REMOTE_PACKAGE
from rustyclaw_exec.tables import programs
from rustyclaw_exec.values import OPAQUE, names
from rustyclaw_exec.verdict import Finding

_ADDRESS = re.compile(
    r"(?:\S*@\s*)?(?:git\+|https?:|ssh:|git:|ftp:|svn\+|hg\+|bzr\+|github:|gitlab:)|git@"
)
#: What npm and its like take for a repository on GitHub.
_SHORTHAND = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(?:#.*)?")
_SETTINGS = re.compile(
    r".*(?:registry|index-url|shell|prefix|trusted-host|script|proxy).*"
)
_OWN = re.compile(r"rustyclaw\b", re.I)
#: A package with a version or of a stranger's repository: not the project's own tool.
_FOREIGN_TOOL = re.compile(r".+@|[^@].*/")
_NODE = names("npm pnpm yarn bun")
_INSTALLS = frozenset({"install", "add", "i", "exec", "dlx", "x", "run", "get", "tool"})


def _install(call: Call) -> Iterator[Finding]:
    """Judge installers: names from an index pass, addresses ask."""
    words = call.args
    if words[:1] in (("dlx",), ("exec",), ("x",), ("create",)):
        yield from _run_package(replace(call, args=words[1:]))
    if words[:2] == ("config", "set") and any(map(_SETTINGS.fullmatch, words[2:3])):
        yield call.found(REMOTE_PACKAGE)
    if not _INSTALLS.intersection(words[:3]):
        if words[:1] == ("uninstall",) and any(map(_OWN.match, words[1:])):
            yield call.found(GATEWAY)
        return
    for word in words:
        value = word.partition("=")[2] if word.startswith("-") else word
        shorthand = call.name in _NODE and _SHORTHAND.fullmatch(value)
        if _ADDRESS.match(value) or " @ " in value or shorthand:
            yield call.found(REMOTE_PACKAGE)
        elif _OWN.match(value):
            yield call.found(GATEWAY)
    if any(
        w.startswith(("--index-url", "--extra-index", "-i", "--git")) for w in words
    ):
        yield call.found(REMOTE_PACKAGE)


def _run_package(call: Call) -> Iterator[Finding]:
    """Judge ``npx`` and its like, which fetch a program and run it."""
    syntax = Syntax("pc", "package call from with python", stops=True)
    options = options_of(call.args, syntax)
    for script in options.values("c", "call"):
        yield from call.option([script])
    for package in (
        options.values("p", "package", "from", "with") + options.operands[:1]
    ):
        foreign = _FOREIGN_TOOL.match(package) or _ADDRESS.match(package)
        if foreign or OPAQUE.search(package) or options.has("y", "yes"):
            yield call.found(REMOTE_PACKAGE)


def _go(call: Call) -> Iterator[Finding]:
    if call.args[:1] in (("run",), ("install",), ("get",)):
        for word in call.args[1:]:
            if "@" in word and not word.startswith("-"):
                yield call.found(REMOTE_PACKAGE)
    for name in ("-exec", "-toolexec"):
        if any(a.lstrip("-").startswith(name[1:]) for a in call.args if a[:1] == "-"):
            yield call.found(REMOTE_PACKAGE)


def _deno(call: Call) -> Iterator[Finding]:
    if any(_ADDRESS.match(a) or a.startswith(("npm:", "jsr:")) for a in call.args):
        yield call.found(REMOTE_PACKAGE)


PROGRAMS = programs(
    {
        "pip npm pnpm yarn bun uv pipx cargo gem poetry pdm conda mamba composer "
        "easy_install luarocks cpan cpanm opam stack cabal helm krew": _install,
        "npx bunx pnpx uvx": _run_package,
        "go": _go,
        "deno": _deno,
    }
)
