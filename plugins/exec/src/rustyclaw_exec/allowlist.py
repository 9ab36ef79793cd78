"""The stricter mode: only listed programs, with ordinary operands, run unasked.

A command passes only if a shell would run it as the literal words that stand there:
no variable, pattern, substitution or redirection, so that what was judged is what
runs. Programs that can run others are looked at more closely.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from rustyclaw_exec.commands import program_name
from rustyclaw_exec.grammar import parse
from rustyclaw_exec.options import Syntax, options_of
from rustyclaw_exec.paths import Places
from rustyclaw_exec.rules.catalog import NOT_LISTED
from rustyclaw_exec.rules.interpreters import SHELLS
from rustyclaw_exec.scanner import Unparsable
from rustyclaw_exec.syntax import Chain, Literal, Node, Pipeline, Redirect, Simple, Word
from rustyclaw_exec.values import names
from rustyclaw_exec.verdict import Finding

#: Sub-commands of git that only look, or only record what is there.
_GIT_VERBS = names(
    "status diff log show branch grep commit add blame rev-parse ls-files describe tag "
    "shortlog reflog cat-file ls-tree rev-list merge-base name-rev for-each-ref "
    "show-ref count-objects version remote stash whatchanged diff-tree diff-index "
    "check-ignore"
)
#: Options of those that write, delete, run or open something.
_GIT_REFUSED = re.compile(
    r"--(?:o(?:u(?:t(?:p(?:u(?:t)?)?)?)?)?|ext\S*|open\S*|textconv|no-index|exec\S*|edit\S*"
    r"|delete\S*|force\S*|move\S*|copy\S*|am\S*|interactive|patch|pathspec-from-file|file"
    r"|template|fixup\S*|squash\S*|reedit\S*|gpg\S*|track\S*|set-up\S*|unset-up\S*"
    r"|contents|batch\S*|filters|show-sig\S*|upload-pack|config\S*|paginate|no-verify)(?:=.*)?"
)
_GIT_ARGUMENTS = {
    "branch": re.compile(
        r"-[avvrl]+|--(?:list|all|remotes|show-current|verbose|contains)"
    ),
    "tag": re.compile(r"-[ln]\d*|--(?:list|sort=\S+|contains)|-n"),
    "remote": re.compile(r"-v|show|get-url|origin|upstream"),
    "stash": re.compile(r"list|show|-p|--stat|stash@\{\d+\}"),
    "reflog": re.compile(r"show|-\d+|HEAD|--oneline"),
}
_GIT_SHORT_REFUSED = {
    "grep": "O",
    "commit": "eFCctpi",
    "add": "ipe",
    "diff": "O",
    "log": "O",
}
_PYTHON_PLAIN = re.compile(r"-[VbBdEIOsSuvq]+|--version|--help|-h")
_SPECIAL_FOLDERS = re.compile(r"/(?:dev|proc|sys)(?:/|$)")


class Allowlist:
    """The programs that may run unasked.

    :param entries: Names (``git``), names with first arguments (``git status``), or
        patterns of absolute paths (``/opt/tools/*``).
    :param trusted_dirs: Folders in which a bare or absolute name may lie.
    """

    def __init__(self, entries: Sequence[str], trusted_dirs: Sequence[str]) -> None:
        self._patterns = [e for e in entries if e.startswith("/")]
        self._words = [e.split() for e in entries if not e.startswith("/")]
        self._folders = frozenset(folder.rstrip("/") for folder in trusted_dirs)

    def judge(self, command: str, places: Places, cwd: str) -> Iterator[Finding]:
        """Yield a finding for each part of a command that is not listed."""
        try:
            script = parse(command)
        except Unparsable:
            return  # the walker has reported it
        for node in script.nodes:
            yield from self._node(node, places, cwd)
        if not script.nodes:
            yield Finding(NOT_LISTED, command)

    def _node(self, node: Node, places: Places, cwd: str) -> Iterator[Finding]:
        if isinstance(node, Pipeline):
            for stage in node.stages:
                yield from self._node(stage, places, cwd)
        elif isinstance(node, Chain):
            for part in (node.first, *(following for _, following in node.rest)):
                yield from self._node(part, places, cwd)
        elif not isinstance(node, Simple):
            yield Finding(NOT_LISTED, type(node).__name__.lower())
        else:
            words = [_plain(word) for word in node.words]
            known = [word for word in words if word is not None]
            discards = all(map(_discards, node.redirects))
            if (
                node.assigns
                or not discards
                or len(known) < len(words)
                or not known
                or not self._lists(known)
                or not _is_ordinary(known, places, cwd)
            ):
                yield Finding(NOT_LISTED, " ".join(known))

    def _lists(self, words: list[str]) -> bool:
        folder, slash, name = words[0].rpartition("/")
        if slash and any(fnmatchcase(words[0], p) for p in self._patterns):
            return "/../" not in words[0]
        if slash and folder not in self._folders:
            return False
        return any([name, *words[1:]][: len(entry)] == entry for entry in self._words)


def _plain(word: Word) -> str | None:
    """Return the text of a word that no shell would change."""
    for part in word.parts:
        if not isinstance(part, Literal):
            return None
        if not part.quoted and re.search(r"[*?\[{]|^~|[=:]~", part.text):
            return None
    return word.literal


def _discards(redirect: Redirect) -> bool:
    """Return whether a redirection only throws output away or joins it."""
    target = _plain(redirect.target)
    if redirect.operator == ">&":
        return target is not None and target.isdigit()
    return redirect.operator in (">", ">>", "&>") and target == "/dev/null"


def _is_ordinary(words: list[str], places: Places, cwd: str) -> bool:
    """Return whether a listed program is used in a way that its entry meant."""
    name = program_name(words[0])
    arguments = words[1:]
    if any(_SPECIAL_FOLDERS.match(a) for a in arguments) and name != "ls":
        return False
    if name == "git":
        return _git_is_ordinary(arguments)
    if name == "python":
        return _script_is_own(arguments, places, cwd, _PYTHON_PLAIN)
    if name in SHELLS or name in ("perl", "ruby", "node", "php", "lua"):
        return _script_is_own(arguments, places, cwd, re.compile(r"--version"))
    return True


def _git_is_ordinary(arguments: list[str]) -> bool:
    if not arguments or arguments[0] not in _GIT_VERBS:
        return arguments == ["--version"]
    verb, rest = arguments[0], arguments[1:]
    if any(map(_GIT_REFUSED.fullmatch, rest)):
        return False
    if verb == "stash" and not rest:
        return False
    if verb in _GIT_ARGUMENTS:
        return all(map(_GIT_ARGUMENTS[verb].fullmatch, rest))
    letters = {name for name, _ in options_of(rest, Syntax("mSGn")).pairs}
    if verb == "commit" and "m" not in letters and "message" not in letters:
        return False  # it would open an editor
    return not letters & set(_GIT_SHORT_REFUSED.get(verb, "o"))


def _script_is_own(
    arguments: list[str], places: Places, cwd: str, harmless: re.Pattern[str]
) -> bool:
    """Return whether an interpreter runs a script of the workspace."""
    if arguments and harmless.fullmatch(arguments[0]) and len(arguments) == 1:
        return True
    if not arguments or arguments[0].startswith("-"):
        return False
    return places.place(places.locate(arguments[0], cwd)) == "inside"
