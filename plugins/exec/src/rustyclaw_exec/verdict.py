"""What a rule says about a command, and how findings become one verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from rustyclaw_exec.values import shown

Decision = Literal["allow", "ask", "deny"]

_DETAIL_CHARACTERS = 120


class Rule(NamedTuple):
    """One named reason not to run a command unasked; its category is the first word."""

    id: str
    decision: Literal["ask", "deny"]
    reason: str


class Finding(NamedTuple):
    """A rule that a command broke, and the part of the command that did it."""

    rule: Rule
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What may happen to a command.

    :param rule: Id of the rule that decided; empty if the command is allowed.
    :param reason: For people and models: the rule's reason and the offending part.
    """

    decision: Decision
    rule: str = ""
    reason: str = ""


ALLOWED = Verdict("allow")


def verdict_of(findings: Iterable[Finding]) -> Verdict:
    """Return the verdict of the gravest finding, the first among equals."""
    gravest: Finding | None = None
    for finding in findings:
        if gravest is None or (
            finding.rule.decision == "deny" and gravest.rule.decision == "ask"
        ):
            gravest = finding
    if gravest is None:
        return ALLOWED
    return Verdict(
        gravest.rule.decision,
        gravest.rule.id,
        f"{gravest.rule.reason}: {printable(gravest.detail)!r}",
    )


def printable(text: str) -> str:
    """Return a short text in which no character can hide."""
    text = shown(text)
    if len(text) > _DETAIL_CHARACTERS:
        text = text[: _DETAIL_CHARACTERS - 1] + "…"
    return "".join(
        c
        if c.isprintable() and (c.isascii() or c.isalnum() or c == "…")
        else ascii(c)[1:-1]
        for c in text
    )
