"""Plausible values for the hooks, as the gateway would hand them over."""

from __future__ import annotations

from typing import Any

from rustyclaw.messages import (
    CompactionRequest,
    CompactionResult,
    HookContext,
    Inbound,
    Message,
    ModelRequest,
    ModelResponse,
    Outbound,
    Prompt,
    Sender,
    Sent,
    Target,
    Text,
    ToolCall,
    ToolResult,
    ToolSchema,
    Usage,
)
from rustyclaw.runs import RunResult


def _arguments() -> dict[str, dict[str, Any]]:
    question = "how is the weather?"
    target = Target(channel="test", chat_id="1")
    call = ToolCall(id="call_1", name="weather", arguments={"city": "Oslo"})
    result = ToolResult(text="rain", call_id="call_1", name="weather")
    asked, answer = Message.user(question), Message.assistant("It rains.")
    history = (
        asked,
        Message(role="assistant", content=(Text(text="Let me look."), call)),
        Message(role="tool", content=(result,)),
    )
    usage = Usage(input_tokens=120, output_tokens=8)
    inbound = Inbound(
        message_id="1", sender=Sender(id="alice"), target=target, text=question
    )
    outbound = Outbound(text="It rains.", id="out-1")
    schema = ToolSchema(
        name="weather", description="Tell the weather.", parameters={"type": "object"}
    )
    request = ModelRequest(
        model="fake", system="Be brief.", messages=history, tools=(schema,)
    )
    response = ModelResponse(
        model="fake", message=answer, stop_reason="stop", usage=usage, seconds=0.5
    )
    older = CompactionRequest(messages=history, previous_summary="", tokens=900)
    summary = CompactionResult(
        summary="It rains.", tokens_before=900, tokens_after=90, entries=3
    )
    ended = RunResult(
        run_id="run-1", session_key="agent:main:main", text="It rains.", usage=usage
    )
    return {
        "message_received": {"message": inbound},
        "session_start": {"resumed": False},
        "before_agent_start": {"prompt": Prompt(system="Be brief.", message=asked)},
        "llm_input": {"request": request},
        "llm_output": {"response": response},
        "before_tool_call": {"call": call},
        "after_tool_call": {"call": call, "result": result, "seconds": 0.1},
        "tool_result_persist": {"call": call, "result": result},
        "before_compaction": {"request": older},
        "after_compaction": {"result": summary},
        "agent_end": {"result": ended},
        "message_sending": {"target": target, "message": outbound},
        "message_sent": {
            "target": target,
            "message": outbound,
            "sent": Sent(message_id="2"),
            "error": None,
        },
        "before_reset": {"reason": "reset"},
        "session_end": {"reason": "reset"},
    }


#: The hooks with sample arguments: all but the gateway's own two.
HOOKS = tuple(_arguments())


def sample_arguments(hook: str) -> dict[str, Any]:
    """Return new arguments for one of ``HOOKS``."""
    context = HookContext(
        agent_id="main", session_key="agent:main:main", run_id="run-1", channel="test"
    )
    return {"context": context, **_arguments()[hook]}
