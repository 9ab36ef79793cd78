"""Splits a request into steps and finds out what each of them asks for.

Lines, numbered points, ``;`` and "and then" always begin a new step. A full stop, a
comma or an "and" do so only where the words behind it are a request by themselves, so
that "list the files and folders" stays one. Quotations are never looked into.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from rustyclaw_offline.intents import TABLE, Intent
from rustyclaw_offline.patterns import END, POLITE
from rustyclaw_offline.quoting import Quotes, is_fence, is_quoted, plain

#: A text of more steps is not a request but something that was pasted.
MAX_STEPS = 20
_MAX_STEP_CHARS = 1000

_LIST_MARK = re.compile(r"^ ?(?:[-*•]|\d{1,3}[.)]) ")
_THEN = re.compile(
    r"([,.;!?] ?(?:and )?(?:then|after that|afterwards),? "
    r"| and (?:then|after that|afterwards),? )",
    re.IGNORECASE,
)
_SEMICOLON = re.compile(r"(; ?)")
_SENTENCE = re.compile(r"((?<=[.!?]) )")
_AND = re.compile(r"(, (?:and )?(?:also )?| and (?:also )?| then )", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A step that was understood.

    :param takes_line: It ends in unquoted words, which may contain "and".
    """

    intent: Intent
    arguments: Mapping[str, Any]
    takes_line: bool = False

    @property
    def is_open_command(self) -> bool:
        """Whether it is a command line without quotes, where ``;`` has a meaning."""
        return self.takes_line and self.intent.tool == "exec"


def plan(text: str) -> list[Action | None]:
    """Return what each step of a request asks for; ``None`` was not understood.

    The list is empty if the text cannot be a request.
    """
    quotes = Quotes(text)
    actions: list[Action | None] = []
    for step in split(quotes):
        action = understand(step, quotes)
        if action is None and step.endswith(":"):
            continue  # "please do the following:"
        actions.append(_resolved(action, actions))
        if len(actions) > MAX_STEPS:
            return []
    serious = [a for a in actions if a is None or not a.intent.is_filler]
    return serious or actions[:1]


def split(quotes: Quotes) -> Iterator[str]:
    """Yield the masked steps of a request."""
    lines: list[str] = []
    for line in quotes.masked.split("\n"):
        if lines and is_fence(line):
            lines[-1] += f" {line.strip()}"  # the block belongs to what announced it
        elif line.strip():
            lines.append(_LIST_MARK.sub("", f" {line}", count=1).strip())
    for line in lines:
        if len(line) > _MAX_STEP_CHARS:
            yield line
        else:
            yield from _steps_of(line, quotes)


def _steps_of(line: str, quotes: Quotes) -> Iterator[str]:
    def cut(
        text: str,
        separator: re.Pattern[str],
        allowed: Callable[[Action | None, Action | None], bool],
    ) -> list[str]:
        first, *rest = separator.split(text)
        steps = [first]
        for mark, piece in zip(rest[::2], rest[1::2], strict=True):
            if allowed(understand(steps[-1], quotes), understand(piece, quotes)):
                steps.append(piece)
            else:
                steps[-1] += mark + piece
        return steps

    for part in cut(line, _THEN, lambda left, right: True):
        for clause in cut(part, _SEMICOLON, _after_semicolon):
            for sentence in cut(clause, _SENTENCE, _after_sentence):
                for step in cut(sentence, _AND, _between_words):
                    if step.strip():
                        yield step


def _after_semicolon(left: Action | None, right: Action | None) -> bool:
    return left is None or not left.is_open_command


def _after_sentence(left: Action | None, right: Action | None) -> bool:
    return right is not None and _after_semicolon(left, right)


def _between_words(left: Action | None, right: Action | None) -> bool:
    return left is not None and right is not None and not left.takes_line


def understand(step: str, quotes: Quotes) -> Action | None:
    """Return what a masked step asks for: the first row of the table that fits."""
    step = step.strip()
    if len(step) > _MAX_STEP_CHARS:
        return None
    for intent in TABLE:
        for pattern in intent.patterns:
            match = _compiled(pattern).fullmatch(plain(step))
            if match is None:
                continue
            groups = {
                name: step[slice(*match.span(name))]  # as it was written
                for name, value in match.groupdict().items()
                if value is not None
            }
            arguments = intent.build({k: quotes.bare(v) for k, v in groups.items()})
            if arguments is not None:
                takes_line = any(
                    name in intent.free and not is_quoted(words)
                    for name, words in groups.items()
                )
                return Action(intent=intent, arguments=arguments, takes_line=takes_line)
    return None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(f"{POLITE}(?:{pattern}){END}", re.IGNORECASE)


def _resolved(action: Action | None, earlier: list[Action | None]) -> Action | None:
    """Replace "it" by the file that an earlier step named."""
    if action is None or action.arguments.get("path") != "it":
        return action
    for before in reversed(earlier):
        if before is not None and "path" in before.arguments:
            path = before.arguments["path"]
            return replace(action, arguments={**action.arguments, "path": path})
    return None
