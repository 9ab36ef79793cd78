"""Reads shell commands: lists, pipelines, compounds, redirections.

A recursive descent over the grammar that POSIX gives, plus the parts of bash that
models write (``<<<``, ``<(...)``, ``&>``, arrays, ``function``). Whatever is left
over is `Unparsable`; docs/decisions/0010-exec-grammar.md says why no library does
this.
"""

from __future__ import annotations

import re

from rustyclaw_exec.lines import CLOSERS, LineScanner
from rustyclaw_exec.scanner import Unparsable
from rustyclaw_exec.syntax import (
    Assign,
    Background,
    Chain,
    Compound,
    Function,
    Literal,
    Node,
    Part,
    Pipeline,
    Redirect,
    Script,
    Simple,
    Word,
)

_OPENERS = frozenset({"{", "if", "while", "until", "for", "select", "case", "function"})
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)\+?=|([A-Za-z_]\w*)\[", re.ASCII)
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
#: ``((...))`` is arithmetic for bash and two subshells for dash; only text that
#: is short of every way to smuggle a command is taken.
_PLAIN_ARITHMETIC = re.compile(
    r"\(\((?:[\w\s+*/%=!?:,<>-]|\$\w|\$\{\w+\}|&&|\|\|)*\)\)", re.ASCII
)
_LOOP_ARITHMETIC = re.compile(
    r"\(\((?:[\w\s+*/%=!?:,<>;()-]|\$\w|\$\{\w+\}|&&|\|\|)*?\)\)", re.ASCII
)
_DECLARING = frozenset({"declare", "export", "local", "readonly", "typeset"})


def parse(text: str) -> Script:
    """Parse a whole script.

    :raises Unparsable: The text is no shell, or shells disagree about it.
    """
    return Parser(text).parse()


class Parser(LineScanner):
    """Commands over the lines of `LineScanner`."""

    def parse(self) -> Script:
        """Parse the whole text."""
        script = self.script()
        if self.peek():
            raise Unparsable(f"{self.peek()!r} is not expected here")
        self.close()
        return script

    # --- Lists ----------------------------------------------------------------

    def script(self) -> Script:
        """Parse commands up to a closing word, which is left in place."""
        nodes: list[Node] = []
        while True:
            self.newlines()
            if not self.peek() or self.reserved() in CLOSERS:
                return Script(tuple(nodes))
            node = self._chain()
            self.blanks()
            if self.at("&") and not self.at("&&"):
                self.position += 1
                node = Background(node)
            elif self.at(";") and not self.at(";;") and not self.at(";&"):
                self.position += 1
            elif self.peek() not in ("", "\n") and self.reserved() not in CLOSERS:
                raise Unparsable(f"{self.peek()!r} is not expected here")
            nodes.append(node)

    def _chain(self) -> Node:
        first = self._pipeline()
        rest: list[tuple[str, Node]] = []
        while True:
            self.blanks()
            operator = self.text[self.position : self.position + 2]
            if operator not in ("&&", "||"):
                return Chain(first, tuple(rest)) if rest else first
            self.position += 2
            self.newlines()
            rest.append((operator, self._pipeline()))

    def _pipeline(self) -> Node:
        self.blanks()
        if self.reserved() == "!":
            self.position += 1
            self.blanks()
        stages = [self._command()]
        while True:
            self.blanks()
            if not self.at("|") or self.at("||"):
                return Pipeline(tuple(stages)) if len(stages) > 1 else stages[0]
            self.position += 2 if self.at("|&") else 1
            self.newlines()
            stages.append(self._command())

    # --- Commands -------------------------------------------------------------

    def _command(self) -> Node:
        self.blanks()
        word = self.reserved()
        if word in ("time", "coproc") and self._compound_follows(len(word)):
            self.position += len(word)
            self.blanks()
            word = self.reserved()
        if self.at("((") and not _PLAIN_ARITHMETIC.match(self.text, self.position):
            raise Unparsable("`((` is arithmetic only in some shells")
        if not self.at("(") and word not in _OPENERS:
            if word in CLOSERS:
                raise Unparsable(f"{word!r} is not expected here")
            return self._simple()
        self._descend()
        node = self._function() if word == "function" else self._compound(word)
        self.depth -= 1
        return node

    def _compound_follows(self, ahead: int) -> bool:
        start = self.position
        self.position += ahead
        self.blanks()
        follows = self.at("(") or self.reserved() in _OPENERS
        self.position = start
        return follows

    def _compound(self, word: str) -> Node:
        node: Compound
        if not word:
            self.position += 1
            node = Compound("subshell", (self.script(),))
            self.expect(")")
        else:
            self.position += len(word)
            if word == "{":
                node = Compound("group", (self.script(),))
                self.take("}")
            elif word == "if":
                node = Compound("if", self._if_bodies())
            elif word == "case":
                node = self._case()
            elif word in ("for", "select"):
                node = self._for()
            else:
                node = Compound("loop", (self.script(), self._do()))
        redirects = []
        self.blanks()
        while (redirect := self.redirect()) is not None:
            redirects.append(redirect)
            self.blanks()
        return Compound(node.kind, node.bodies, node.words, node.name, tuple(redirects))

    def _do(self) -> Script:
        self.take("do")
        body = self.script()
        self.take("done")
        return body

    def _if_bodies(self) -> tuple[Script, ...]:
        bodies = [self.script()]
        self.take("then")
        bodies.append(self.script())
        while self.reserved() == "elif":
            self.take("elif")
            bodies.append(self.script())
            self.take("then")
            bodies.append(self.script())
        if self.reserved() == "else":
            self.take("else")
            bodies.append(self.script())
        self.take("fi")
        return tuple(bodies)

    def _for(self) -> Compound:
        self.blanks()
        if self.at("(("):
            header = _LOOP_ARITHMETIC.match(self.text, self.position)
            if header is None:
                raise Unparsable("this `for ((` is not understood")
            self.position = header.end()
            self.blanks()
            if self.at(";"):
                self.position += 1
            return Compound("loop", (self._do(),))
        name = _NAME.match(self.text, self.position)
        if name is None:
            raise Unparsable("a `for` names no variable")
        self.position = name.end()
        self.newlines()
        words: list[Word] = []
        if self.reserved() == "in":
            self.position += 2
            self.blanks()
            while (word := self.word()) is not None:
                words.append(word)
                self.blanks()
        self.blanks()
        if self.at(";"):
            self.position += 1
        return Compound("for", (self._do(),), tuple(words), name[0])

    def _case(self) -> Compound:
        self.blanks()
        words = [self.needed_word()]
        self.take("in")
        bodies: list[Script] = []
        self.newlines()
        while self.reserved() != "esac":
            if self.at("("):
                self.position += 1
                self.blanks()
            words.append(self.needed_word())
            self.blanks()
            while self.at("|"):
                self.position += 1
                self.blanks()
                words.append(self.needed_word())
                self.blanks()
            self.expect(")")
            bodies.append(self.script())
            if self.reserved() in (";;", ";&"):
                self.position += 3 if self.at(";;&") else 2
            elif self.reserved() != "esac":
                raise Unparsable("a `case` is not closed")
            self.newlines()
        self.position += len("esac")
        return Compound("case", tuple(bodies), tuple(words))

    def _function(self) -> Node:
        self.position += len("function")
        self.blanks()
        name = self.needed_word().literal
        self.blanks()
        if self.at("("):
            self.position += 1
            self.expect(")")
        return self._function_body(name)

    def _function_body(self, name: str | None) -> Node:
        self.newlines()
        if name is None or not (self.at("(") or self.reserved() in _OPENERS):
            raise Unparsable("a function has no plain name or no body")
        return Function(name, self._command())

    # --- Simple commands ------------------------------------------------------

    def _simple(self) -> Node:
        assigns: list[Assign] = []
        words: list[Word] = []
        redirects: list[Redirect] = []
        while True:
            self.blanks()
            redirect = self.redirect()
            if redirect is not None:
                redirects.append(redirect)
                continue
            if self.at("(") and len(words) == 1 and not assigns and not redirects:
                self.position += 1
                self.expect(")")
                self._descend()
                node = self._function_body(words[0].bare)
                self.depth -= 1
                return node
            word = self.word()
            if word is None:
                break
            declares = bool(words) and words[0].bare in _DECLARING
            assign = self._assignment(word) if declares or not words else None
            if any(r.operator.startswith("&") for r in redirects):
                # For dash `a &>f b` are two commands, for bash it is one.
                raise Unparsable("shells differ on words after `&>`")
            if assign is None or (declares and not assign.items):
                words.append(word)
            else:
                assigns.append(assign)
        if words and words[0].bare in _OPENERS | CLOSERS:
            raise Unparsable("a reserved word is split over two lines")
        if not (assigns or words or redirects):
            raise Unparsable("a command is missing")
        return Simple(tuple(assigns), tuple(words), tuple(redirects))

    def _assignment(self, word: Word) -> Assign | None:
        first = word.parts[0]
        if not isinstance(first, Literal) or first.quoted:
            return None
        found = _ASSIGNMENT.match(first.text)
        if found is None:
            return None
        if found[2]:
            # ``name[...]=value``: keep the whole, its subscript may run commands.
            return Assign(found[2], word) if _has_equals(word) else None
        rest = first.text[found.end() :]
        value: tuple[Part, ...] = word.parts[1:]
        if rest:
            value = (Literal(rest), *value)
        appends = found[0].endswith("+=")
        if value or not self.at("("):
            return Assign(found[1], Word(value), appends=appends)
        self.position += 1
        items: list[Word] = []
        self.newlines()
        while (item := self.word()) is not None:
            items.append(item)
            self.newlines()
        self.expect(")")
        return Assign(found[1], Word(()), tuple(items))


def _has_equals(word: Word) -> bool:
    return any(isinstance(p, Literal) and "]=" in p.text for p in word.parts)
