"""Expands words as a shell would, as far as that can be known before it runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import product

from rustyclaw_exec.syntax import (
    Arithmetic,
    Dialect,
    Literal,
    Part,
    Script,
    Substitution,
    Variable,
    Word,
)
from rustyclaw_exec.values import (
    LOOSE,
    MARK,
    MAX_ALTERNATIVES,
    PARENT,
    SPLIT,
    UNKNOWN,
    Flow,
    activated,
    braces_expanded,
    loose,
)

#: Names of variables that hold credentials.
SECRET_NAME = re.compile(
    r"(?:^|_)(?:API_?KEY|ACCESS_KEY|SECRET|TOKEN|PASSWORD|PASSWD|PRIVATE_KEY"
    r"|CREDENTIALS?)(?:_|$)"
)
_POSITIONAL = frozenset("0123456789@*#?$!-")
_BLANKS = re.compile(r"[ \t\n]+")
_TILDE_VALUE = re.compile(r"^[A-Za-z_]\w*=(?=~)")
#: Operators whose result is the variable or the operand.
_DEFAULTING = frozenset({":-", "-", ":=", "=", ":?", "?"})


@dataclass(slots=True)
class Expanded:
    """The alternatives of one word, and what is in them.

    :param alternatives: The fields that the word may become.
    :param tags: The tags of all flows that went into it.
    """

    alternatives: list[tuple[str, ...]]
    tags: frozenset[str] = frozenset()


@dataclass(slots=True)
class Expander:
    """Variables so far, and how to turn words into text with them.

    :param tilde: Replaces a leading ``~``.
    :param substitute: Judges a substitution and returns what it prints.
    :param on_secret: Told about each variable that is named like a credential.
    """

    tilde: Callable[[str], str]
    substitute: Callable[[Script, str], Flow]
    on_secret: Callable[[str], None]
    variables: dict[str, list[Flow]] = field(default_factory=dict)
    own_ifs: bool = False

    def assign(self, name: str, flow: Flow) -> None:
        """Add to what a variable may hold; nothing is ever forgotten."""
        values = self.variables.setdefault(name, [])
        if flow not in values:
            values.append(flow)
        if len(values) > MAX_ALTERNATIVES:
            tags = frozenset[str]().union(*(v.tags for v in values))
            self.variables[name] = [Flow(UNKNOWN, tags)]

    def append(self, name: str, flow: Flow) -> None:
        """Add to the end of whatever a variable may hold."""
        for held in list(self.variables.get(name, [Flow(UNKNOWN)])):
            self.assign(name, held + flow)

    def fields(self, word: Word) -> Expanded:
        """Expand a word of a command."""
        texts, tags = self._texts(word.parts, value=False)
        quoted = any(isinstance(p, Literal) and p.quoted for p in word.parts)
        quoted = quoted or any(getattr(p, "quoted", False) for p in word.parts)
        alternatives: dict[tuple[str, ...], None] = {}
        for text in texts:
            fields: list[str] = []
            for piece in braces_expanded(text):
                found = [f for f in piece.split(SPLIT) if f]
                fields += found or ([""] if quoted else [])
            alternatives[tuple(fields)] = None
        return Expanded(list(alternatives), tags)

    def commands(
        self, words: Iterable[Word]
    ) -> tuple[list[tuple[str, ...]], frozenset[str]]:
        """Return the argument lists that some words may become, and their tags."""
        columns = []
        tags: frozenset[str] = frozenset()
        total = 1
        for word in words:
            expanded = self.fields(word)
            columns.append(expanded.alternatives)
            tags |= expanded.tags
            total *= len(expanded.alternatives)
        if total > MAX_ALTERNATIVES:
            columns = [c if len(c) == 1 else [(UNKNOWN + LOOSE,)] for c in columns]
        rows = product(*columns)
        return [tuple(t for fields in row for t in fields) for row in rows], tags

    def values(self, word: Word) -> list[Flow]:
        """Expand the value of an assignment, or a here-document."""
        texts, tags = self._texts(word.parts, value=True)
        return [Flow(text, tags) for text in dict.fromkeys(texts)]

    def text(self, word: Word) -> Flow:
        """Expand to one text, in which what differs is unknown."""
        values = self.values(word)
        vague = [value for value in values if MARK.search(value.text)]
        if len(values) == 1 or vague:
            return (vague or values)[0]
        return Flow(UNKNOWN, values[0].tags)

    # --- Parts ----------------------------------------------------------------

    def _texts(
        self, parts: tuple[Part, ...], *, value: bool
    ) -> tuple[list[str], frozenset[str]]:
        columns: list[list[str]] = []
        tags: set[str] = set()
        for index, part in enumerate(parts):
            flows = list(self._part(part, index == 0, len(parts) == 1, value=value))
            columns.append(list(dict.fromkeys(flow.text for flow in flows)))
            tags.update(*(flow.tags for flow in flows))
        total = 1
        for column in columns:
            total *= len(column)
        if total > MAX_ALTERNATIVES:
            columns = [c if len(c) == 1 else [UNKNOWN] for c in columns]
        return ["".join(row) for row in product(*columns)], frozenset(tags)

    def _part(
        self, part: Part, first: bool, alone: bool, *, value: bool
    ) -> Iterable[Flow]:
        if isinstance(part, Literal):
            yield Flow(self._literal(part, first, alone, value=value))
        elif isinstance(part, Dialect):
            yield Flow()
        elif isinstance(part, Arithmetic):
            _, tags = self._texts(part.parts, value=True)
            yield Flow(UNKNOWN, tags)
        elif isinstance(part, Substitution):
            flow = self.substitute(part.script, part.kind)
            text = flow.text.rstrip("\n") if part.kind == "$" else flow.text
            yield self._split(Flow(text, flow.tags), value or part.quoted)
        else:
            for flow in self._variable(part):
                yield self._split(flow, value or part.quoted)

    def _literal(self, part: Literal, first: bool, alone: bool, *, value: bool) -> str:
        text = part.text
        if part.quoted:
            return text
        if first and text.startswith("~") and (alone or "/" in text):
            text = self.tilde(text)
        elif prefix := _TILDE_VALUE.match(text):
            text = prefix[0] + self.tilde(text[prefix.end() :])
        return text if value else activated(text, braces=True)

    def _split(self, flow: Flow, whole: bool) -> Flow:
        """Mark where an unquoted expansion falls into words."""
        if whole:
            return flow
        if self.own_ifs:
            return Flow(UNKNOWN + LOOSE, flow.tags)
        text = _BLANKS.sub(SPLIT, activated(flow.text, braces=False))
        return Flow(loose(text), flow.tags)

    def _variable(self, part: Variable) -> Iterable[Flow]:
        operand = self.values(part.operand) if part.operand is not None else []
        held = self.variables.get(part.name)
        if held is None:
            if part.operator != "#length":
                self._check_secret(part.name)
            held = [Flow(PARENT if part.name == "PPID" else UNKNOWN)]
            if part.name[0] not in _POSITIONAL and part.operator not in (":?", "?"):
                held.append(Flow())
        tags = frozenset[str]().union(*(v.tags for v in held))
        if not part.operator:
            return held
        if part.operator in _DEFAULTING:
            if part.operator in (":=", "="):
                for flow in operand:
                    self.assign(part.name, flow)
            return [*(v for v in held if v.text), *operand]
        if part.operator in (":+", "+"):
            return [Flow(), *operand]
        return [Flow(UNKNOWN, tags)]

    def _check_secret(self, name: str) -> None:
        if SECRET_NAME.search(name):
            self.on_secret(name)


def is_known(text: str) -> bool:
    """Return whether a text holds no mark at all."""
    return not MARK.search(text)
