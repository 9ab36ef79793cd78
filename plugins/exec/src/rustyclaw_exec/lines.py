"""Reads what stands between commands: blanks, comments, lines, redirections.

Here-documents live here too: they are announced on one line and begin on the next.
"""

from __future__ import annotations

import re
from abc import abstractmethod

from rustyclaw_exec.scanner import Scanner, Unparsable
from rustyclaw_exec.syntax import HereDocument, Literal, Redirect, Script, Word

#: Words and operators that end a list of commands.
CLOSERS = frozenset(
    {"then", "else", "elif", "fi", "do", "done", "esac", "}", ";;", ";&", ")"}
)

_RESERVED = re.compile(r"[a-z]+(?=[\s;&|<>()]|$)|[{}!](?=[\s;&|<>()]|$)")
_REDIRECT = re.compile(
    r"(\d*)(<<<|<<-|<<|<>|<&|<(?!\()|>>|>&|>\||>(?!\())|()(&>>|&>)", re.ASCII
)


class LineScanner(Scanner):
    """Lines over the words of `Scanner`."""

    def __init__(self, text: str, depth: int = 0) -> None:
        super().__init__(text, depth)
        self._pending: list[HereDocument] = []
        self._outer_pending = False

    def close(self) -> None:
        """Check that no here-document is still waiting for its body."""
        if self._pending:
            raise Unparsable("a here-document is not closed")

    def nested(self) -> Script:
        """Parse up to and over the ``)`` that closes a substitution."""
        waiting, outer = self._pending, self._outer_pending
        self._pending, self._outer_pending = [], bool(waiting) or outer
        script = self.script()
        self.expect(")")
        self.close()
        self._pending, self._outer_pending = waiting, outer
        return script

    @abstractmethod
    def script(self) -> Script:
        """Parse commands up to a closing word, which is left in place."""

    # --- Between commands -----------------------------------------------------

    def blanks(self) -> None:
        """Skip blanks, line continuations and a comment."""
        while character := self.peek():
            if character in " \t":
                self.position += 1
            elif self.at("\\\n"):
                self.position += 2
            elif character == "#":
                end = self.text.find("\n", self.position)
                self.position = end if end >= 0 else len(self.text)
            else:
                return

    def newlines(self) -> None:
        """Skip line ends, and read the here-documents that begin after one."""
        self.blanks()
        while self.at("\n"):
            self._end_of_line()
            self.blanks()

    def _end_of_line(self) -> None:
        self.position += 1
        if self._outer_pending:
            raise Unparsable("shells differ on where this here-document begins")
        waiting, self._pending = self._pending, []
        for heredoc in waiting:
            heredoc.body = self._heredoc_body(heredoc)

    def _heredoc_body(self, heredoc: HereDocument) -> Word:
        lines: list[str] = []
        while True:
            if self.position >= len(self.text):
                raise Unparsable("a here-document is not closed")
            end = self.text.find("\n", self.position)
            end = end if end >= 0 else len(self.text)
            line = self.text[self.position : end]
            self.position = end + 1
            if heredoc.strip:
                line = line.lstrip("\t")
            continues = bool(lines) and _continues(lines[-1]) and not heredoc.quoted
            if line == heredoc.delimiter and not continues:
                break
            if continues and (lines[-1][:-1] + line).endswith(heredoc.delimiter):
                raise Unparsable("a line continuation meets the end of a here-document")
            lines.append(line)
        body = "".join(line + "\n" for line in lines)
        if heredoc.quoted:
            return Word((Literal(body, True),))
        return type(self)(body, self.depth + 1).soft_text()

    def expect(self, token: str) -> None:
        """Step over an operator that must come next."""
        self.blanks()
        if not self.at(token):
            raise Unparsable(f"{token!r} is missing")
        self.position += len(token)

    def reserved(self) -> str:
        """Return the reserved word or closing operator at the position."""
        if self.at(";;"):
            return ";;"
        if self.at(";&"):
            return ";&"
        if self.at(")"):
            return ")"
        found = _RESERVED.match(self.text, self.position)
        return found[0] if found else ""

    def take(self, word: str) -> None:
        """Step over a reserved word that must come next, on any line."""
        self.newlines()
        if self.reserved() != word:
            raise Unparsable(f"{word!r} is missing")
        self.position += len(word)

    def needed_word(self) -> Word:
        """Read a word that must come next."""
        word = self.word()
        if word is None:
            raise Unparsable("a word is missing")
        return word

    # --- Redirections ---------------------------------------------------------

    def redirect(self) -> Redirect | None:
        """Read a redirection; ``None`` if none begins here."""
        found = _REDIRECT.match(self.text, self.position)
        if found is None:
            return None
        self.position = found.end()
        operator, descriptor = found[2] or found[4], found[1] or ""
        if self.at("\\\n"):
            raise Unparsable("a line continuation splits an operator")
        self.blanks()
        target = self.needed_word()
        text = target.literal
        if operator in ("<&", ">&") and text and text[0] == "-" and text != "-":
            raise Unparsable("shells differ on text after a closed descriptor")
        if len(descriptor) > 1:
            raise Unparsable("shells differ on descriptors over 9")
        if operator not in ("<<", "<<-"):
            return Redirect(operator, target, descriptor)
        if text is None:
            raise Unparsable("the end of a here-document is no plain word")
        document = HereDocument(
            text, quoted=target.bare is None, strip=operator == "<<-"
        )
        self._pending.append(document)
        return Redirect(operator, target, descriptor, document)


def _continues(line: str) -> bool:
    """Return whether a line ends in a backslash that is not itself escaped."""
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1
