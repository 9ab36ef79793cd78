"""What a run reports: events while it goes on, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from rustyclaw.messages import (
    Media,
    Message,
    StopReason,
    Target,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    ToolResult,
    ToolSchema,
    Usage,
)

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectSendStream


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What a caller wants of one run, beside the message.

    :param run_id: Chosen by the caller; default: a new one.
    :param model: ``provider/model``, instead of the session's.
    :param thinking: A level, instead of the session's.
    :param system: Added to the system prompt.
    :param timeout_seconds: A shorter deadline than the config's.
    :param max_tokens: A shorter longest answer than the config's.
    :param temperature: Instead of the config's.
    :param history: Messages to put before this one, into a session that is new.
    :param tools: Tools of the caller. When the model calls one of them the run ends;
        `RunResult.calls` has the calls, and the next message may hold their results.
    """

    run_id: str = ""
    model: str | None = None
    thinking: str | None = None
    system: str = ""
    timeout_seconds: float | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    history: tuple[Message, ...] = ()
    tools: tuple[ToolSchema, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """A user's message for a run that outlives the process which was asked for it.

    :param session: The full key.
    :param options: With a run id, and without ``history`` and ``tools``: nobody is
        left to answer the calls of a caller's tools.
    :param target: The chat that the answer is sent to as well.
    """

    session: str
    message: Message
    options: RunOptions
    target: Target | None = None

    @property
    def run_id(self) -> str:
        """The id of the run, which a later one keeps."""
        return self.options.run_id

    @property
    def source(self) -> str:
        """What the transcript knows the message by."""
        return f"run:{self.run_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveRun:
    """A run in progress; ``started_at`` in seconds since the epoch."""

    run_id: str
    session_key: str
    channel: str
    started_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunError:
    """Why a run failed.

    :param kind: ``context_overflow``, ``compaction_failure``, ``provider_error``,
        ``auth_failure``, ``tool_error``, ``timeout``, ``role_ordering``,
        ``image_size``, ``retry_limit``, ``storage`` or ``internal``.
    """

    kind: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """How a run ended; ``usage`` is summed over all of its model calls.

    :param model: ``provider/model`` that gave the last answer.
    :param thinking: The level at which it did, if it is not the one asked.
    :param calls: Calls of the caller's own tools, which it is to answer.
    """

    run_id: str
    session_key: str
    text: str = ""
    media: tuple[Media, ...] = ()
    stop_reason: StopReason = "stop"
    usage: Usage = field(default_factory=Usage)
    model: str = ""
    thinking: str = ""
    tool_calls: int = 0
    calls: tuple[ToolCall, ...] = ()
    compactions: int = 0
    seconds: float = 0.0
    aborted: bool = False
    error: RunError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """The first event of a run."""

    run_id: str
    session_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStarted:
    """A tool is running."""

    call: ToolCall


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolEnded:
    """A tool has answered, or was refused."""

    call: ToolCall
    result: ToolResult
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Compacted:
    """Older messages were replaced by a summary; sizes are estimates."""

    tokens_before: int
    tokens_after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """The last event of a run, whatever happened."""

    result: RunResult


RunEvent = (
    RunStarted
    | TextDelta
    | ThinkingDelta
    | ToolStarted
    | ToolEnded
    | Compacted
    | RunEnded
)


@dataclass(slots=True)
class Reports:
    """Tells the events of one run to all who watch, and to the one who waits for it.

    :param watchers: Called with each event; must be quick.
    :param events: Where the one who waits reads.
    """

    watchers: Sequence[Callable[[RunEvent], None]] = ()
    events: MemoryObjectSendStream[RunEvent] | None = None

    async def emit(self, event: RunEvent) -> None:
        """Tell an event; wait for a reader who is slow."""
        if not self.offer(event):
            await self.insist(event)

    def offer(self, event: RunEvent) -> bool:
        """Tell an event; return ``False`` if the reader has no room: then `insist`."""
        for watcher in self.watchers:
            watcher(event)
        try:
            if self.events is not None:
                self.events.send_nowait(event)
        except anyio.WouldBlock:
            return False
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # the reader has left
        return True

    async def insist(self, event: RunEvent) -> None:
        """Wait until the reader takes an event, or leaves."""
        if self.events is not None:
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                await self.events.send(event)
