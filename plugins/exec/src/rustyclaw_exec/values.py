"""What a word may become: text with marks where the text is not known.

The marks are private-use characters, which a command itself may not contain
(rule ``spoof.characters``), so nobody can forge one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Any text at all: an unknown variable, an argument of a function.
UNKNOWN = "\ue000"
#: What a command printed.
OUTPUT = "\ue001"
#: A relative path below what stands before it: what ``find`` hands on.
BELOW = "\ue002"
#: Unquoted ``*``, ``?`` and the ``[`` of ``[...]``.
STAR, ONE, CLASS = "\ue003", "\ue004", "\ue00a"
#: After an unknown text that was not quoted: it may be several words.
LOOSE = "\ue00b"
#: Where an unquoted expansion is split into several words.
SPLIT = "\ue005"
#: Unquoted ``{ , }``.
OPEN, COMMA, CLOSE = "\ue006", "\ue007", "\ue008"
#: ``$PPID``: the process that runs the tools.
PARENT = "\ue009"

#: Text that is decided only when the command runs.
OPAQUE = re.compile(f"[{UNKNOWN}{OUTPUT}{BELOW}{PARENT}{LOOSE}]")
_VAGUE = re.compile(f"[{UNKNOWN}{OUTPUT}]")
GLOB = re.compile(f"[{STAR}{ONE}{CLASS}]")
MARK = re.compile("[\ue000-\ue00b]")

_SHOWN = str.maketrans(
    {
        UNKNOWN: "…",
        OUTPUT: "…",
        BELOW: "…",
        STAR: "*",
        ONE: "?",
        CLASS: "[",
        SPLIT: " ",
        OPEN: "{",
        COMMA: ",",
        CLOSE: "}",
        PARENT: "$PPID",
        LOOSE: "",
    }
)
_MARKS = {"*": STAR, "?": ONE, "{": OPEN, ",": COMMA, "}": CLOSE}
_CLASS = re.compile(r"\[(?=[^\]/]+\])")

#: Characters of a flow beyond which its text is forgotten.
_LONG = 65_536
#: More alternatives than this make a word unknown.
MAX_ALTERNATIVES = 12


@dataclass(frozen=True, slots=True)
class Flow:
    """What a command prints, or what a variable holds.

    :param tags: Where it came from: ``remote``, ``secret``, ``shell`` (what an
        interpreter printed), ``gateway`` (facts about this process), ``setup``
        (a tool's own shell set-up, such as ``ssh-agent -s``).
    """

    text: str = ""
    tags: frozenset[str] = frozenset()

    def __add__(self, other: Flow) -> Flow:
        return Flow(self.text + other.text, self.tags | other.tags)

    @property
    def short(self) -> Flow:
        """The flow, without its text if that is too long to be worth reading."""
        return self if len(self.text) <= _LONG else Flow(UNKNOWN, self.tags)


NOTHING = Flow()


def names(text: str) -> frozenset[str]:
    """Return the words of a text as a set; tables are easier to read so."""
    return frozenset(text.split())


def shown(text: str) -> str:
    """Return a text with its marks spelled for a person."""
    return text.translate(_SHOWN)


def loose(text: str) -> str:
    """Mark the unknown parts of a text that a shell splits into words."""
    return _VAGUE.sub(rf"\g<0>{LOOSE}", text)


def unmatched(text: str) -> str:
    """Return a word as it stays if its patterns fit no file, as in a URL."""
    return text.replace(STAR, "*").replace(ONE, "?").replace(CLASS, "[")


def activated(text: str, *, braces: bool) -> str:
    """Mark the characters that a shell expands when they are not quoted."""
    text = _CLASS.sub(CLASS, text)
    return "".join(
        _MARKS[c] if c in "*?" or (braces and c in "{,}") else c for c in text
    )


def braces_expanded(text: str) -> list[str]:
    """Return the words that brace expansion makes of one word."""
    done: list[str] = []
    waiting = [text]
    while waiting:
        current = waiting.pop(0)
        if len(done) + len(waiting) > MAX_ALTERNATIVES:
            return [UNKNOWN]
        group = _innermost(current)
        if group is None:
            done.append(shown_braces(current))
            continue
        start, end = group
        choices = _choices(current[start + 1 : end])
        if choices:
            waiting += [current[:start] + c + current[end + 1 :] for c in choices]
        else:
            plain = current[start + 1 : end].replace(COMMA, ",")
            waiting.append(f"{current[:start]}{{{plain}}}{current[end + 1 :]}")
    return done


def shown_braces(text: str) -> str:
    """Turn brace marks that expand to nothing back into characters."""
    return text.replace(OPEN, "{").replace(COMMA, ",").replace(CLOSE, "}")


def _innermost(text: str) -> tuple[int, int] | None:
    end = text.find(CLOSE)
    while end >= 0:
        start = text.rfind(OPEN, 0, end)
        if start >= 0:
            return start, end
        end = text.find(CLOSE, end + 1)
    return None


def _choices(body: str) -> list[str]:
    if COMMA in body:
        return body.split(COMMA)
    first, dots, last = body.partition("..")
    last = last.partition("..")[0]
    if not dots or not first or not last:
        return []
    if first.isdecimal() and last.isdecimal() and len(first + last) < 8:
        low, high = sorted((int(first), int(last)))
        numbers = [str(n) for n in range(low, min(high, low + MAX_ALTERNATIVES) + 1)]
        return numbers if high - low < MAX_ALTERNATIVES else [UNKNOWN]
    if len(first) == len(last) == 1:
        low, high = sorted((ord(first), ord(last)))
        letters = [chr(c) for c in range(low, high + 1)]
        return letters if len(letters) <= MAX_ALTERNATIVES else [UNKNOWN]
    return []
