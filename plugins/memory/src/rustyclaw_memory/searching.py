"""Finds words in notes: without case and accents, and inside of longer words."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

MAX_TERMS = 32
PREVIEW_CHARS = 160


def terms_of(query: str) -> list[str]:
    """Return the words of a query; there may be none."""
    printable = "".join(
        " " if unicodedata.category(char) in ("Cc", "Cs") else char for char in query
    )
    return printable.split()[:MAX_TERMS]


def match_expression(terms: Sequence[str], operator: str) -> str:
    """Return an FTS5 expression in which no character of a term is syntax."""
    quoted = ('"' + term.replace('"', '""') + '"' for term in terms)
    return f" {operator} ".join(quoted)


def fold(text: str) -> str:
    """Return a text without differences in case, accents and width."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(c for c in decomposed if not unicodedata.combining(c)).casefold()


def holds(text: str, folded_terms: Sequence[str]) -> bool:
    """Return whether all terms occur in a text, inside of words too."""
    folded = fold(text)
    return all(term in folded for term in folded_terms)


def preview(value: str, terms: Sequence[str]) -> str:
    """Return one line of a value, from around the first term that is in it."""
    start = max(0, _first_place(value, terms) - PREVIEW_CHARS // 4)
    line = " ".join(value[start : start + PREVIEW_CHARS].split())
    before = "…" if start else ""
    after = "…" if start + PREVIEW_CHARS < len(value) else ""
    return f"{before}{line}{after}"


def _first_place(value: str, terms: Sequence[str]) -> int:
    folded = fold(value)
    places = [folded.find(fold(term)) for term in terms]
    place = min((place for place in places if place >= 0), default=0)
    if value.isascii() or not place:
        return place
    ends = list(accumulate(len(fold(char)) for char in value))
    return bisect_right(ends, place)  # the first letter that reaches beyond
