"""What a summary carries word for word, whatever the model has written.

It stands behind the model's text in blocks such as ``<pinned-facts>``. The next
compaction reads the lasting ones back from there; the model never gets to see these.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rustyclaw import Message, Text, Thinking, ToolCall, ToolResult

from rustyclaw_compaction.wording import one_line

PINNED, READ, MODIFIED = "pinned-facts", "read-files", "modified-files"
RULES, FAILURES, RECENT = "workspace-critical-rules", "tool-failures", "recent-turns"

_BLOCK = re.compile(
    rf"^<({PINNED}|{READ}|{MODIFIED}|{RULES}|{FAILURES}|{RECENT})>\n(.*?)\n</\1>$",
    re.MULTILINE | re.DOTALL,
)
_TAG = re.compile(
    rf"</?(?:{PINNED}|{READ}|{MODIFIED}|{RULES}|{FAILURES}|{RECENT})>", re.IGNORECASE
)
_FILES_CHARS = 900
_FAILURE_CHARS, _MOST_FAILURES = 240, 8
_TURN_CHARS = 600
_READING = re.compile(r"(^|_)(read|view|cat)(_|$)", re.IGNORECASE)
_WRITING = re.compile(r"(^|_)(write|edit|append|patch|create)(_|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """A summary, taken apart.

    :param body: The model's own words, and the turns that were quoted after them.
    """

    body: str
    pinned: tuple[str, ...] = ()
    read: frozenset[str] = frozenset()
    modified: frozenset[str] = frozenset()


def take_apart(summary: str) -> Carried:
    """Return what an earlier summary carries."""
    blocks: dict[str, list[str]] = {}
    for match in _BLOCK.finditer(summary):
        blocks.setdefault(match[1], []).extend(match[2].splitlines())

    def lines(name: str) -> Iterator[str]:
        plain = (line.removeprefix("- ").strip() for line in blocks.get(name, ()))
        return (line for line in plain if line and not line.startswith("[..."))

    recent = "\n".join(blocks.get(RECENT, ()))
    body = _BLOCK.sub("", summary).strip()
    return Carried(
        body="\n\n".join(filter(None, (body, recent))),
        pinned=tuple(lines(PINNED)),
        read=frozenset(lines(READ)),
        modified=frozenset(lines(MODIFIED)),
    )


def without_blocks(text: str) -> str:
    """Return what a model wrote without anything that looks like a block of ours."""
    return _harmless(_BLOCK.sub("", text)).strip()


def block(name: str, lines: Iterable[str]) -> str:
    """Return a block; nothing if it has no lines."""
    text = _harmless("\n".join(lines)).strip()
    return f"<{name}>\n{text}\n</{name}>" if text else ""


def _harmless(text: str) -> str:
    """Return a text in which no tag of ours is a tag.

    It is not taken out: what stands around it could then become one.
    """
    return _TAG.sub(lambda match: f"({match[0][1:-1]})", text)


# --- Facts that were pinned ---------------------------------------------------------


def pinned(messages: Sequence[Message], markers: Sequence[str]) -> Iterator[str]:
    """Yield what the user wrote behind one of the markers, line by line."""
    wanted = tuple(marker.lower() for marker in markers if marker.strip())
    for message in messages if wanted else ():
        for line in message.text.splitlines() if message.role == "user" else ():
            text = line.strip()
            marker = next((m for m in wanted if text.lower().startswith(m)), None)
            if marker is not None and (fact := text[len(marker) :].strip()):
                yield fact


def limited(facts: Iterable[str], most: int) -> list[str]:
    """Return facts once each, the oldest first, as many of the newest as fit."""
    unique = dict.fromkeys(_harmless(" ".join(fact.split())) for fact in facts)
    kept: list[str] = []
    for fact in filter(None, reversed(unique)):
        most -= len(fact) + 3
        if most < 0:
            break
        kept.append(fact)
    return kept[::-1]


# --- What tools did -----------------------------------------------------------------


def failures(messages: Sequence[Message]) -> list[str]:
    """Return a line for each tool call that failed, with a last one for the rest."""
    failed = {b.call_id: b for b in _results(messages) if b.is_error}
    lines = [_failure(result) for result in failed.values()]
    more = len(lines) - _MOST_FAILURES
    return [*lines[:_MOST_FAILURES], *([f"...and {more} more"] if more > 0 else [])]


def _failure(result: ToolResult) -> str:
    facts = []
    for key, name in (("status", "status"), ("exit_code", "exitCode")):
        value = result.details.get(key)
        if isinstance(value, int | str) and not isinstance(value, bool):
            facts.append(f"{name}={one_line(str(value), 40)}")
    state = f" ({' '.join(facts)})" if facts else ""
    text = one_line(result.text, _FAILURE_CHARS) or "failed (no output)"
    return f"- {result.name or 'tool'}{state}: {text}"


def files(messages: Sequence[Message]) -> tuple[set[str], set[str]]:
    """Return the paths that tools have read, and those they wrote or edited."""
    failed = {b.call_id for b in _results(messages) if b.is_error}
    read, modified = set[str](), set[str]()
    for message in messages:
        for call in message.tool_calls:
            path = call.arguments.get("path") or call.arguments.get("file_path")
            if not isinstance(path, str) or call.id in failed:
                continue
            if _WRITING.search(call.name):
                modified.add(one_line(path, 300))
            elif _READING.search(call.name):
                read.add(one_line(path, 300))
    return read, modified


def listed(paths: Iterable[str]) -> list[str]:
    """Return paths, sorted, as many as fit, and how many do not."""
    left, lines = _FILES_CHARS, list[str]()
    ordered = sorted(paths)
    for place, path in enumerate(ordered):
        left -= len(path) + 1
        if left < 0:
            return [*lines, f"[... and {len(ordered) - place} more]"]
        lines.append(path)
    return lines


def _results(messages: Sequence[Message]) -> Iterator[ToolResult]:
    for message in messages:
        for item in message.content:
            if isinstance(item, ToolResult):
                yield item


# --- The last turns -----------------------------------------------------------------


def quote(message: Message) -> str:
    """Return a line that quotes a message of the user or the assistant."""
    others = [
        f"[calls {b.name}]"
        if isinstance(b, ToolCall)
        else f"[{type(b).__name__.lower()}]"
        for b in message.content
        if not isinstance(b, Text | Thinking | ToolResult)
    ]
    text = " ".join(filter(None, (one_line(message.text, _TURN_CHARS), *others)))
    return f"- {message.role.capitalize()}: {text}"


def fits_a_quote(message: Message) -> bool:
    """Return whether a quote says all that a message says."""
    plain = all(isinstance(b, Text) for b in message.content)
    return plain and len(" ".join(message.text.split())) <= _TURN_CHARS
