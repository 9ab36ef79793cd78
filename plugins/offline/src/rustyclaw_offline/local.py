"""What the assistant answers by itself, without a tool."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from rustyclaw import ModelRequest

from rustyclaw_offline import arithmetic

if TYPE_CHECKING:
    from rustyclaw_offline.intents import Intent

Found = Mapping[str, Any]

#: The distribution that brings a tool.
HOMES = {
    "file_list": "rustyclaw-files",
    "read_file": "rustyclaw-files",
    "write_file": "rustyclaw-files",
    "edit_file": "rustyclaw-files",
    "exec": "rustyclaw-exec",
    "memory_get": "rustyclaw-memory",
    "memory_set": "rustyclaw-memory",
    "memory_list": "rustyclaw-memory",
    "memory_search": "rustyclaw-memory",
}
HONESTY = (
    "I am the offline assistant of rustyclaw: a set of fixed rules, not a language "
    "model. I understand simple English requests and do them with the gateway's tools."
)
REAL_MODEL = (
    "For a real conversation, install a provider, for example "
    "`pip install rustyclaw-anthropic`, and name it in the config."
)
_PROMPT_TIME = re.compile(
    r"(?:current|local) (?:date and )?time(?: is)?:? (?P<time>[^\n]{4,60})", re.I
)
_PROMPT_ZONE = re.compile(r"Today is [^\n(]{4,60}\((?P<zone>[\w+/-]{1,40})\)")


def greet(found: Found, request: ModelRequest) -> str:
    """Answer a greeting."""
    return f"Hello! {HONESTY} Say `help` to see what I can do."


def accept_thanks(found: Found, request: ModelRequest) -> str:
    """Answer thanks."""
    return "You are welcome."


def introduce(found: Found, request: ModelRequest) -> str:
    """Say honestly who answers."""
    return f"{HONESTY} {REAL_MODEL}"


def calculate(found: Found, request: ModelRequest) -> str:
    """Answer with the value of an expression, or why it has none."""
    expression = found["expression"].strip()
    try:
        return f"`{expression}` is {arithmetic.calculate(expression)}"
    except ArithmeticError as exc:
        return f"I cannot calculate `{expression}`: {exc}."


def cannot_append(found: Found, request: ModelRequest) -> str:
    """Say that there is no tool that adds to a file."""
    return (
        "I have no tool that adds to the end of a file. I can write the whole file, or "
        "replace a text in it by a longer one."
    )


def tell_time(found: Found, request: ModelRequest) -> str:
    """Tell the time of the system prompt, or else of this machine's clock."""
    told = _PROMPT_TIME.search(request.system)
    if told:
        return f"It is {told['time'].strip().rstrip('.')}, as the gateway tells me."
    zone, where = _zone(request.system)
    now = utc_now().astimezone(zone)
    return (
        f"It is {now:%H:%M} on {now:%A}, {now:%Y-%m-%d} ({where}), "
        "by the clock of the machine that the gateway runs on."
    )


def utc_now() -> datetime:
    """Return the time of the system clock."""
    return datetime.now(UTC)


def _zone(system: str) -> tuple[tzinfo, str]:
    """Return the user's time zone if the system prompt names one, else UTC."""
    named = _PROMPT_ZONE.search(system)
    if named:
        try:
            return ZoneInfo(named["zone"]), named["zone"]
        except (ValueError, KeyError, OSError):  # unknown, or a folder of zones
            pass
    return UTC, "UTC"


def abilities(table: Iterable[Intent], request: ModelRequest) -> str:
    """List what can be done with the tools that are really there."""
    present = {tool.name for tool in request.tools}
    examples = [
        f"- {intent.example}"
        for intent in table
        if intent.example and (not intent.tool or intent.tool in present)
    ]
    lines = ["You can say, for example:", "", *examples, ""]
    if present:
        names = ", ".join(f"`{name}`" for name in sorted(present))
        lines.append(f"Tools that are available to me: {names}.")
    else:
        lines.append(
            "No tools are available to me; `pip install rustyclaw-files "
            "rustyclaw-exec rustyclaw-memory` brings the ones that I can use."
        )
    lines.append("Several steps may follow each other: `list files, then read a.txt`.")
    return "\n".join(lines)


def not_understood(table: Iterable[Intent], request: ModelRequest) -> str:
    """Say that a request was not understood, and what would be."""
    return (
        f"I did not understand that. {HONESTY}\n\n{abilities(table, request)}\n\n"
        f"{REAL_MODEL}"
    )
