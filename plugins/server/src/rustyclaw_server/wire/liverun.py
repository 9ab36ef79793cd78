"""A run, as the clients of a gateway see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import anyio

if TYPE_CHECKING:
    from rustyclaw import RunResult

#: Between two assistant messages of a run.
BREAK = "\n\n"

StopReason = Literal["rpc", "stop", "timeout"]


@dataclass(slots=True, kw_only=True)
class LiveRun:
    """A run that clients may hear of, until some minutes after its end.

    :param key: The full session key.
    :param raw_key: The key as the client wrote it, which some events repeat.
    :param tool_conns: Connections that are told of its tools.
    :param verbose: ``full`` shows them the results as well.
    """

    run_id: str
    key: str
    raw_key: str = ""
    tool_conns: set[str] = field(default_factory=set)
    verbose: str = "off"
    reasoning: str = "off"
    started_at: int = 0
    ended_at: int = 0
    error: str = ""
    result: RunResult | None = None
    aborted: str = ""
    done: anyio.Event = field(default_factory=anyio.Event)
    _called_at: dict[str, int] = field(default_factory=dict)
    _seq: int = 0
    _pieces: list[str] = field(default_factory=list)
    _unsent: list[str] = field(default_factory=list)
    _earlier: list[str] = field(default_factory=list)
    _thoughts: list[str] = field(default_factory=list)
    _begins_anew: bool = False
    _sent_at: float = 0.0

    @property
    def text(self) -> str:
        """What the current assistant message says so far."""
        return "".join(self._pieces)

    @property
    def whole(self) -> str:
        """What the run has said so far, in all of its assistant messages."""
        return BREAK.join(filter(None, (*self._earlier, self.text)))
