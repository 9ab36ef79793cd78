"""Finds characters that hide in a text or imitate others."""

from __future__ import annotations

import re
import unicodedata

_INVISIBLE = re.compile("[\u115f\u1160\u2800\u3164\uffa0\u034f\U000e0100-\U000e01ef]")
_SUSPECT_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})
_JOINER = "\u200d"


def is_spoofed(text: str) -> bool:
    """Return whether a text holds control, invisible or odd blank characters."""
    if text.isascii() and text.isprintable():
        return False
    if _INVISIBLE.search(text):
        return True
    previous = ""
    for character in text:
        suspect = (
            character not in " \t\n"
            and unicodedata.category(character) in _SUSPECT_CATEGORIES
        )
        if suspect and not (character == _JOINER and _is_pictorial(previous)):
            return True
        previous = character
    return False


def _is_pictorial(character: str) -> bool:
    """Return whether a joiner after this character makes one picture of two."""
    return bool(character) and (
        character == "\ufe0f" or unicodedata.category(character) in ("So", "Sk")
    )
