"""The shape of a shell script: what `grammar` reads and `walker` judges.

Every value is frozen. Words keep their quoting apart, because whether a ``*`` or
a ``~`` is quoted decides what a shell makes of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal as OneOf

_ACTIVE = frozenset("*?[{")

# --- Words --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Literal:
    """Text that stands for itself; unquoted text may hold ``* ? [ { ~``."""

    text: str
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Variable:
    """``$name`` or ``${name<operator>operand}``."""

    name: str
    operator: str = ""
    operand: Word | None = None
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Substitution:
    """``$(...)`` and backticks (``$``), ``<(...)`` and ``>(...)``."""

    script: Script
    kind: OneOf["$", "<", ">"] = "$"
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """``$((...))`` with the expansions in it."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Dialect:
    """Marks ``$'..'`` and ``$".."``, which bash and dash read differently."""


Part = Literal | Variable | Substitution | Arithmetic | Dialect


@dataclass(frozen=True, slots=True)
class Word:
    """One word, before any expansion."""

    parts: tuple[Part, ...]

    @property
    def literal(self) -> str | None:
        """The text, if nothing but text is in the word."""
        if all(isinstance(part, Literal) for part in self.parts):
            return "".join(p.text for p in self.parts if isinstance(p, Literal))
        return None

    @property
    def dynamic(self) -> bool:
        """Whether an expansion or a pattern decides what the word says."""
        return self.literal is None or any(
            isinstance(part, Literal)
            and not part.quoted
            and part.text not in ("[", "[[", "{", "}")
            and not _ACTIVE.isdisjoint(part.text)
            for part in self.parts
        )

    @property
    def bare(self) -> str | None:
        """The text, if it is literal and no part of it was quoted."""
        if any(isinstance(part, Literal) and part.quoted for part in self.parts):
            return None
        return self.literal


# --- Commands -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Assign:
    """``name=value`` or ``name+=value``; ``items`` holds the words of an array."""

    name: str
    value: Word
    items: tuple[Word, ...] = ()
    appends: bool = False


@dataclass(slots=True, eq=False)
class HereDocument:
    """A here-document; ``body`` is read only once its line has ended."""

    delimiter: str
    quoted: bool
    strip: bool
    body: Word = field(default_factory=lambda: Word(()))


@dataclass(frozen=True, slots=True)
class Redirect:
    """A redirection; ``document`` is set for ``<<`` and ``<<-``."""

    operator: str
    target: Word
    descriptor: str = ""
    document: HereDocument | None = None


@dataclass(frozen=True, slots=True)
class Simple:
    """Assignments, words and redirections: the unit that rules judge."""

    assigns: tuple[Assign, ...] = ()
    words: tuple[Word, ...] = ()
    redirects: tuple[Redirect, ...] = ()


@dataclass(frozen=True, slots=True)
class Pipeline:
    """``a | b``: the output of each stage is the input of the next."""

    stages: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """``a && b || c``: each operator with the node after it."""

    first: Node
    rest: tuple[tuple[str, Node], ...]


@dataclass(frozen=True, slots=True)
class Background:
    """``a &``."""

    node: Node


@dataclass(frozen=True, slots=True)
class Compound:
    """A subshell, group, condition or loop.

    :param kind: ``subshell``, ``group``, ``if``, ``loop``, ``for`` or ``case``.
    :param bodies: The scripts inside, conditions included, in source order.
    :param words: The list of a ``for``; the subject and patterns of a ``case``.
    :param name: The variable of a ``for``.
    """

    kind: OneOf["subshell", "group", "if", "loop", "for", "case"]
    bodies: tuple[Script, ...]
    words: tuple[Word, ...] = ()
    name: str = ""
    redirects: tuple[Redirect, ...] = ()


@dataclass(frozen=True, slots=True)
class Function:
    """``name() body``."""

    name: str
    body: Node


Node = Simple | Pipeline | Chain | Background | Compound | Function


@dataclass(frozen=True, slots=True)
class Script:
    """Commands one after another."""

    nodes: tuple[Node, ...] = field(default=())
