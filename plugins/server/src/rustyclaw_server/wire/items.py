"""What a run works on, as protocol 4 shows it: one item for each call of a tool.

Streams ``item`` and ``command_output`` of ``agent`` events, as captured from OpenClaw
2026.5.12. A command of a shell is shown twice: as a call, and as a command.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rustyclaw_server.wire.frames import clean

if TYPE_CHECKING:
    from rustyclaw import ToolCall, ToolResult

_SHELLS = frozenset({"exec"})

#: A stream and its data.
Shown = tuple[str, dict[str, Any]]


def begun(call: ToolCall, started_at: int) -> Iterator[Shown]:
    """Yield what tells that a call has begun; times in milliseconds."""
    for kind in _kinds(call):
        facts = _item(call, kind, "start", "running")
        yield "item", facts | {"startedAt": started_at}


def ended(
    call: ToolCall, result: ToolResult, started_at: int, ended_at: int, shows: bool
) -> Iterator[Shown]:
    """Yield what tells that a call has ended.

    :param shows: With what it has answered.
    """
    status = "failed" if result.is_error else "completed"
    times = {"startedAt": started_at, "endedAt": ended_at}
    output = clean(result.text)
    for kind in _kinds(call):
        facts = _item(call, kind, "end", status) | times
        if kind == "command" and shows:
            facts["summary"] = output
        yield "item", facts
        if kind == "command" and shows:
            facts = _item(call, kind, "end", status)
            for name in ("kind", "meta"):
                del facts[name]
            facts |= {"output": output, "durationMs": ended_at - started_at}
            if isinstance(code := result.details.get("exit_code"), int):
                facts["exitCode"] = code
            yield "command_output", facts


def hint(call: ToolCall) -> str:
    """Return what a call is about, in a few words for a line of a log."""
    values = (v for v in call.arguments.values() if isinstance(v, str) and v)
    return next(values, call.name)[:80]


def _kinds(call: ToolCall) -> tuple[str, ...]:
    return ("tool", "command") if call.name in _SHELLS else ("tool",)


def _item(call: ToolCall, kind: str, phase: str, status: str) -> dict[str, Any]:
    name = call.name if kind == "tool" else kind
    return {
        "itemId": f"{kind}:{call.id}",
        "phase": phase,
        "kind": kind,
        "title": f"{name} {hint(call)}",
        "status": status,
        "name": call.name,
        "meta": hint(call),
        "toolCallId": call.id,
    }
