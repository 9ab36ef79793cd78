"""Hides the quoted parts of a text, so that patterns never look inside them."""

from __future__ import annotations

import re

#: Stand in patterns for a hidden part: any, or one that was in backticks or a fence.
QUOTED = "\x00[qcf]\\d+\x00"
CODE = "\x00[cf]\\d+\x00"

_PARTS = re.compile(
    r"```(?:[\w+.#-]*\n)?(?P<f>.*?)\n?```"
    r"|`(?P<c>[^`\n]+)`"
    r'|"(?P<q1>[^"]*)"'
    r"|“(?P<q2>[^“”]*)”"
    r"|(?<!\w)'(?P<q3>[^'\n]*)'(?!\w)",
    re.DOTALL,
)
_TYPOGRAPHIC = str.maketrans(
    {
        "\N{LEFT SINGLE QUOTATION MARK}": "'",
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
        "\N{EN DASH}": "-",
        "\N{MINUS SIGN}": "-",
        "\N{MULTIPLICATION SIGN}": "*",
        "\N{DIVISION SIGN}": "/",
    }
)
_MARK = re.compile("\x00([qcf])(\\d+)\x00")


class Quotes:
    """The quoted parts of a message, and the message with marks in their place.

    Understood are double, single and typographic quotes, backticks and fenced
    blocks. An apostrophe within a word opens nothing.

    :ivar masked: The text, where ``"..."`` has become a mark and all other white
        space except line breaks a single space.
    """

    def __init__(self, text: str) -> None:
        self._parts: list[tuple[str, str]] = []  # as written, and what is inside
        masked = _PARTS.sub(self._hide, text.replace("\x00", "").replace("\r\n", "\n"))
        self.masked = re.sub(r"[^\S\n]+", " ", masked)

    def _hide(self, match: re.Match[str]) -> str:
        kind = match.lastgroup or "q"
        self._parts.append((match[0], match[kind]))
        return f"\x00{kind[0]}{len(self._parts) - 1}\x00"

    def restore(self, masked: str) -> str:
        """Return a masked text as it was written, quotes included."""
        return _MARK.sub(lambda mark: self._parts[int(mark[2])][0], masked)

    def bare(self, masked: str) -> str:
        """Return what is meant: a text that is one quotation loses its quotes."""
        masked = masked.strip()
        mark = _MARK.fullmatch(masked)
        return self._parts[int(mark[2])][1] if mark else self.restore(masked)


def plain(text: str) -> str:
    """Return a text of the same length with plain dashes, apostrophes and signs."""
    return text.translate(_TYPOGRAPHIC)


def is_fence(masked: str) -> bool:
    """Return whether a masked text is one fenced block and nothing else."""
    mark = _MARK.fullmatch(masked.strip())
    return mark is not None and mark[1] == "f"


def is_quoted(masked: str) -> bool:
    """Return whether a masked text is one quotation and nothing else."""
    return _MARK.fullmatch(masked.strip()) is not None
