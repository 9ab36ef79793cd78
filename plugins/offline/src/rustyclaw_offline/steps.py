"""What the offline models can do, one small value for each kind of step.

The assistant and the scripts both answer with a tuple of these, and the provider
plays them as stream events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

#: The kinds of `ProviderError`.
ErrorKind = Literal[
    "rate_limit",
    "overloaded",
    "auth",
    "auth_permanent",
    "billing",
    "context_overflow",
    "timeout",
    "format",
    "model_not_found",
    "retry_limit",
    "unknown",
]


@dataclass(frozen=True, slots=True)
class Say:
    """Stream a text."""

    text: str


@dataclass(frozen=True, slots=True)
class Think:
    """Stream a thought, if the request wants thinking."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """Call a tool. ``number`` is unique within the user's turn and makes the id."""

    number: int
    tool: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Fail:
    """Raise a `ProviderError`."""

    kind: ErrorKind
    message: str


@dataclass(frozen=True, slots=True)
class Hang:
    """Stay silent for a while, as a stalled connection does."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Delay:
    """Change the pause between two pieces of the answer, from here on."""

    milliseconds: float


Step = Say | Think | Call | Fail | Hang | Delay
