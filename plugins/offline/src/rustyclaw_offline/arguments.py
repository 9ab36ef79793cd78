"""Makes the arguments of a tool out of what a pattern has found.

Each function is given the named groups of a pattern of `intents` and returns the
arguments, or ``None`` if the words do not fit after all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rustyclaw_offline.arithmetic import NotAnExpression, calculate

_WORKSPACE = ("workspace", "here", "current", "folder", "directory")
_DATE = re.compile(r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}")
_COURTESY = re.compile(r"(?:,? (?:please|for me))*(?:(?<=\w)[.?!])?$")
_MAX_KEY_WORDS = 8
_NOTE_WORDS = 6


def list_files(found: Mapping[str, str]) -> Mapping[str, Any]:
    """Return where to list, and which names; what is to be found may lie deeper."""
    path = found.get("path", ".")
    wanted: dict[str, Any] = {"path": "." if path.lower() in _WORKSPACE else path}
    pattern = found.get("pattern") or found.get("glob")
    if pattern:
        wanted["pattern"] = pattern
    if "deep" in found or "find" in found:
        wanted["recursive"] = True
    return wanted


def read_file(found: Mapping[str, str]) -> Mapping[str, Any] | None:
    """Return which file and which lines; people count lines from 1, the tool from 0."""
    path = found["path"]
    if path.endswith("/") or set(path) <= {"."} or "*" in path:
        return None
    if "first" not in found:
        return {"path": path}
    first = max(int(found["first"]), 1)
    last = max(int(found.get("last", first)), first)
    return {"path": path, "offset": first - 1, "limit": last - first + 1}


def write_file(found: Mapping[str, str]) -> Mapping[str, Any]:
    """Return which file and its new text, which is empty if none is named."""
    path, text = found["path"], found.get("content", found.get("words", ""))
    folders = {"create_dirs": True} if "/" in path else {}
    return {"path": path, "content": text, **folders}


def edit_file(found: Mapping[str, str]) -> Mapping[str, Any]:
    """Return which text becomes which other in which file."""
    return {"path": found["path"], "old_text": found["old"], "new_text": found["new"]}


def command(found: Mapping[str, str]) -> Mapping[str, Any]:
    """Return a command line; one that was not quoted loses what ends a sentence."""
    if "command" in found:
        return {"command": found["command"]}
    return {"command": _COURTESY.sub("", found["open"])}


def remember(found: Mapping[str, str]) -> Mapping[str, Any]:
    """Return a key and a value; a fact without a key gets its first words as one."""
    value = found["value"]
    key = found.get("key") or " ".join(value.split()[:_NOTE_WORDS])
    return {"key": _key(key), "value": value}


def recall(found: Mapping[str, str]) -> Mapping[str, Any] | None:
    """Return the key; a long question is not about a key."""
    key = _key(found["key"])
    return {"key": key} if key and len(key.split()) <= _MAX_KEY_WORDS else None


def expression(found: Mapping[str, str]) -> Mapping[str, Any] | None:
    """Return an expression that can be read, whether or not it has a value."""
    text = found["expression"]
    if not any(char.isdigit() for char in text) or _DATE.fullmatch(text):
        return None
    try:
        calculate(text)
    except NotAnExpression:
        return None
    except ArithmeticError:
        pass  # the answer will say why
    return {"expression": text}


def _key(text: str) -> str:
    """Return a key that is the same in "my dog is Rex" and "what is my dog"."""
    words = text.lower().split()
    while words and words[0] in ("my", "the", "our", "your", "a", "an"):
        words = words[1:]
    return " ".join(words)
