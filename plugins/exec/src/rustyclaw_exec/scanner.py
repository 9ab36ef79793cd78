"""Reads shell words: quoting, expansions, substitutions.

It accepts what dash and bash read alike and refuses what they read differently:
a judge that guesses which shell is meant can be lied to. ``Unparsable`` makes the
policy ask an operator.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod

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

#: Nested substitutions, groups and operands; deeper text is refused.
MAX_DEPTH = 24

_METACHARACTERS = frozenset(" \t\n;&|<>()")
_NAME = re.compile(r"[A-Za-z_]\w*|\d|[@*#?$!-]", re.ASCII)
_BRACED_NAME = re.compile(r"[A-Za-z_]\w*|\d+|[@*#?$!-]", re.ASCII)
_OPERATOR = re.compile(r":[-=+?]|##?|%%?|//|/#|/%|\^\^?|,,?|[-=+?/@:]")
_ANSI_ESCAPE = re.compile(
    r"\\(?:x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{1,4})|U([0-9A-Fa-f]{1,8})"
    r"|([0-7]{1,3})|c(.)|(.))",
    re.DOTALL,
)
#: Text that means nothing special wherever a word may stand.
_PLAIN = re.compile(r"[\w./,=@%+~^:-]+", re.ASCII)
_ANSI_LETTERS = dict(zip("abeEfnrtv", "\a\b\x1b\x1b\f\n\r\t\v", strict=True))


class Unparsable(Exception):
    """The text is not shell, or not the same shell to everybody."""


class Scanner(ABC):
    """A position in a text, and how to read one word from there."""

    def __init__(self, text: str, depth: int = 0) -> None:
        if depth > MAX_DEPTH:
            raise Unparsable("it is nested too deeply")
        self.text = text
        self.position = 0
        self.depth = depth

    @abstractmethod
    def nested(self) -> Script:
        """Parse up to and over the ``)`` that closes a substitution."""

    @abstractmethod
    def parse(self) -> Script:
        """Parse the whole text."""

    def peek(self, ahead: int = 0) -> str:
        """Return the character at the position, or nothing at the end."""
        at = self.position + ahead
        return self.text[at] if at < len(self.text) else ""

    def at(self, prefix: str) -> bool:
        """Return whether the text goes on with ``prefix``."""
        return self.text.startswith(prefix, self.position)

    # --- Words ----------------------------------------------------------------

    def word(self) -> Word | None:
        """Read a word; ``None`` if none begins here."""
        start = self.position
        parts: list[Part] = []
        while character := self.peek():
            if character in "<>" and self.peek(1) == "(":
                self.position += 2
                script = self._enclosed()
                parts.append(Substitution(script, "<" if character == "<" else ">"))
            elif character in _METACHARACTERS:
                break
            else:
                self._unquoted(parts)
        return Word(merged(parts)) if self.position > start and parts else None

    def _unquoted(self, parts: list[Part]) -> None:
        """Read one piece of a word outside of double quotes."""
        character = self.peek()
        if character == "'":
            end = self.text.find("'", self.position + 1)
            if end < 0:
                raise Unparsable("a single quote is not closed")
            parts.append(Literal(self.text[self.position + 1 : end], True))
            self.position = end + 1
        elif character == '"':
            self._double_quoted(parts)
        elif character == "\\":
            self._escape(parts)
        elif character == "$":
            self._dollar(parts, quoted=False)
        elif character == "`":
            parts.append(self._backticks(quoted=False))
        else:
            self._plain(parts, quoted=False)

    def _plain(self, parts: list[Part], *, quoted: bool) -> None:
        run = _PLAIN.match(self.text, self.position)
        text = run[0] if run else self.peek()
        parts.append(Literal(text, quoted))
        self.position += len(text)

    def _escape(self, parts: list[Part]) -> None:
        escaped = self.peek(1)
        if not escaped:
            raise Unparsable("it ends in a backslash")
        if escaped != "\n":  # a line continuation leaves nothing behind
            parts.append(Literal(escaped, True))
        self.position += 2

    def _double_quoted(self, parts: list[Part]) -> None:
        self.position += 1
        parts.append(Literal("", True))  # `""` is a word of its own
        while self.peek() != '"':
            self._soft(parts, escapable='$`"\\')
        self.position += 1

    def _soft(self, parts: list[Part], escapable: str) -> None:
        """Read one piece of double-quoted text or of a here-document."""
        character = self.peek()
        if not character:
            raise Unparsable("a double quote is not closed")
        if character == "$":
            self._dollar(parts, quoted=True)
        elif character == "`":
            parts.append(self._backticks(quoted=True))
        elif character == "\\" and self.peek(1) == "\n":
            self.position += 2
        elif character == "\\" and self.peek(1) and self.peek(1) in escapable:
            parts.append(Literal(self.peek(1), True))
            self.position += 2
        else:
            self._plain(parts, quoted=True)

    def soft_text(self) -> Word:
        """Read the whole text as the body of an unquoted here-document."""
        parts: list[Part] = []
        while self.peek():
            self._soft(parts, escapable="$`\\")
        return Word(merged(parts))

    # --- Expansions -----------------------------------------------------------

    def _dollar(self, parts: list[Part], *, quoted: bool) -> None:
        following = self.peek(1)
        if following == "\\" and self.peek(2) == "\n":
            raise Unparsable("a line continuation splits an operator")
        if following == "(":
            parts.append(self._parenthesis(quoted=quoted))
        elif following == "{":
            parts.append(self._braced(quoted=quoted))
        elif following == "[":
            raise Unparsable("`$[` is arithmetic only in some shells")
        elif following == "'" and not quoted:
            parts += [Dialect(), Literal(self._ansi(), True)]
        elif following == '"' and not quoted:
            parts.append(Dialect())
            self.position += 1
        elif name := _NAME.match(self.text, self.position + 1):
            parts.append(Variable(name[0], quoted=quoted))
            self.position = name.end()
        else:
            parts.append(Literal("$", quoted))
            self.position += 1

    def _ansi(self) -> str:
        end = self.text.find("'", self.position + 2)
        body = self.text[self.position + 2 : end]
        if end < 0 or body.endswith("\\"):
            # For dash the `\'` ends the string; for bash it does not.
            raise Unparsable("a `$'` string is open or holds an escaped quote")
        self.position = end + 1
        return _ANSI_ESCAPE.sub(_ansi_character, body)

    def _parenthesis(self, *, quoted: bool) -> Part:
        start = self.position
        if self.text.startswith("\\\n", start + 2):
            raise Unparsable("a line continuation splits an operator")
        if self.peek(2) == "(":
            self.position += 3
            if (parts := self._arithmetic()) is not None:
                return Arithmetic(parts)
        self.position = start + 2
        return Substitution(self._enclosed(), quoted=quoted)

    def _enclosed(self) -> Script:
        self._descend()
        script = self.nested()
        self.depth -= 1
        return script

    def _descend(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unparsable("it is nested too deeply")

    def _arithmetic(self) -> tuple[Part, ...] | None:
        """Read up to ``))``; ``None`` if it is a substitution after all."""
        parts: list[Part] = []
        self._descend()
        level = 0
        while not (level == 0 and self.at("))")):
            character = self.peek()
            if character in ("", "'", '"', "\\"):
                raise Unparsable("an arithmetic expansion is not closed")
            if character == "(":
                level += 1
            elif character == ")":
                level -= 1
            if level < 0:
                self.depth -= 1
                return None
            self._soft(parts, escapable="")
        self.position += 2
        self.depth -= 1
        return merged(parts)

    def _braced(self, *, quoted: bool) -> Variable:
        self.position += 2
        self._descend()
        operator = ""
        if self.at("#") and self.peek(1) != "}":
            operator = "#length"
            self.position += 1
        elif self.at("!"):
            operator = "!"
            self.position += 1
        name = _BRACED_NAME.match(self.text, self.position)
        if name is None:
            raise Unparsable("a `${` expansion names no variable")
        self.position = name.end()
        parts: list[Part] = []
        if self.at("["):
            self._operand(parts, "]", quoted=quoted)
        if found := _OPERATOR.match(self.text, self.position):
            operator = operator or found[0]
            self.position = found.end()
            if operator == "@" and self.peek() not in "QEAaKkUuL}":
                raise Unparsable("`${name@P}` runs the commands in a value")
            self._operand(parts, "}", quoted=quoted)
        elif self.at("}"):
            self.position += 1
        else:
            raise Unparsable("a `${` expansion is unknown or not closed")
        self.depth -= 1
        operand = Word(merged(parts)) if parts or operator else None
        return Variable(name[0], operator, operand, quoted)

    def _operand(self, parts: list[Part], end: str, *, quoted: bool) -> None:
        while self.peek() != end:
            if not self.peek():
                raise Unparsable("a `${` expansion is not closed")
            if not quoted:
                if self.at("<(") or self.at(">("):
                    raise Unparsable("a process substitution hides in a `${`")
                self._unquoted(parts)
            elif self.peek() in "'\"":
                raise Unparsable("shells differ on quotes in a quoted `${`")
            else:
                self._soft(parts, escapable='$`"\\}')
        self.position += 1

    def _backticks(self, *, quoted: bool) -> Substitution:
        body = []
        self.position += 1
        while (character := self.peek()) != "`":
            if not character:
                raise Unparsable("a backtick is not closed")
            if character == "\\":
                self.position += 1
                if quoted and self.peek() == '"':
                    raise Unparsable("shells differ on quotes in quoted backticks")
                body.append("" if self.peek() in ("$", "`", "\\") else "\\")
            body.append(self.peek())
            self.position += 1
        self.position += 1
        inner = type(self)("".join(body), self.depth + 1)
        return Substitution(inner.parse(), quoted=quoted)


def merged(parts: list[Part]) -> tuple[Part, ...]:
    """Join neighbouring literals of the same quoting."""
    joined: list[Part] = []
    run: list[str] = []
    for index, part in enumerate(parts):
        following = parts[index + 1] if index + 1 < len(parts) else None
        if not isinstance(part, Literal):
            joined.append(part)
            continue
        run.append(part.text)
        if not (isinstance(following, Literal) and following.quoted == part.quoted):
            joined.append(Literal("".join(run), part.quoted))
            run = []
    return tuple(joined)


def _ansi_character(match: re.Match[str]) -> str:
    hexadecimal = match[1] or match[2] or match[3]
    if hexadecimal or match[4]:
        code = int(hexadecimal, 16) if hexadecimal else int(match[4], 8)
        if not 0 < code < 0xD800:  # the judge's own marks live above
            raise Unparsable("a `$'` string spells an odd character")
        return chr(code)
    if match[5]:
        return chr(ord(match[5]) & 0x1F)
    letter = match[6]
    return _ANSI_LETTERS.get(letter, letter if letter in "\\'\"?" else "\\" + letter)
