"""What a run reports: events while it goes on, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field

from rustyclaw.messages import (
    Media,
    Message,
    StopReason,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    ToolResult,
    ToolSchema,
    Usage,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What a caller wants of one run, beside the message.

    :param run_id: Chosen by the caller; default: a new one.
    :param model: ``provider/model``, instead of the session's.
    :param thinking: A level, instead of the session's.
    :param system: Added to the system prompt.
    :param timeout_seconds: A shorter deadline than the config's.
    :param history: Messages to put before this one, into a session that is new.
    :param tools: Tools of the caller. When the model calls one of them the run ends;
        `RunResult.calls` has the calls, and the next message may hold their results.
    """

    run_id: str = ""
    model: str | None = None
    thinking: str | None = None
    system: str = ""
    timeout_seconds: float | None = None
    history: tuple[Message, ...] = ()
    tools: tuple[ToolSchema, ...] = ()


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
        ``auth_failure``, ``tool_error``, ``timeout``, ``role_ordering``, ``storage``
        or ``internal``.
    """

    kind: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """How a run ended; ``usage`` is summed over all of its model calls.

    :param calls: Calls of the caller's own tools, which it is to answer.
    """

    run_id: str
    session_key: str
    text: str = ""
    media: tuple[Media, ...] = ()
    stop_reason: StopReason = "stop"
    usage: Usage = field(default_factory=Usage)
    model: str = ""
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
