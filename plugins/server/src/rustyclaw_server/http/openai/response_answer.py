"""A response as it grows: its items, and the events that tell of each step.

Order and fields of the events are those of OpenAI's public API reference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from rustyclaw import RunResult, ToolCall, Usage

    from rustyclaw_server.http.answers import Refused
    from rustyclaw_server.http.openai.response_params import ResponseParams

Status = Literal["in_progress", "completed", "incomplete", "failed"]
Event = dict[str, Any]
_CUT = {"length": "max_output_tokens", "refusal": "content_filter"}


class OutputText(BaseModel):
    """Words of the agent."""

    type: Literal["output_text"] = "output_text"
    text: str
    annotations: list[Any] = Field(default_factory=list)


class OutputMessage(BaseModel):
    """What the agent says, up to its next use of a tool."""

    type: Literal["message"] = "message"
    id: str
    role: Literal["assistant"] = "assistant"
    status: Literal["in_progress", "completed", "incomplete"]
    content: list[OutputText]


class OutputCall(BaseModel):
    """A call that the caller is to answer with a ``function_call_output``."""

    type: Literal["function_call"] = "function_call"
    id: str
    call_id: str
    name: str
    arguments: str
    status: Literal["in_progress", "completed"]


class InputDetails(BaseModel):
    """Tokens that the provider remembered."""

    cached_tokens: int


class OutputDetails(BaseModel):
    """Tokens of thoughts, which are not counted apart."""

    reasoning_tokens: int = 0


class ResponseUsage(BaseModel):
    """Tokens of all model calls of the run."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class Cut(BaseModel):
    """Why an answer is not whole."""

    reason: str


class Failure(BaseModel):
    """Why there is no answer."""

    code: str
    message: str


class ResponseAnswer(BaseModel):
    """A response."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    status: Status
    error: Failure | None = None
    incomplete_details: Cut | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    model: str
    output: list[OutputMessage | OutputCall]
    parallel_tool_calls: bool = True
    previous_response_id: str | None = None
    store: bool = True
    temperature: float | None = None
    tool_choice: Any = "auto"
    tools: list[Any] = Field(default_factory=list)
    top_p: float | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    user: str | None = None
    usage: ResponseUsage | None = None


def new_answer(params: ResponseParams, created: int) -> ResponseAnswer:
    """Return the answer to a request, as it is before anything was said."""
    said = params.model_dump(mode="json", exclude_none=True)
    known = ResponseAnswer.model_fields.keys() & said.keys()
    return ResponseAnswer(
        **{name: said[name] for name in known},
        id=f"resp_{uuid4()}",
        created_at=created,
        status="in_progress",
        output=[],
    )


class Growing:
    """A response and its events."""

    def __init__(self, answer: ResponseAnswer) -> None:
        self.answer = answer
        self._open: OutputMessage | None = None
        self._number = 0

    def begin(self) -> Iterator[Event]:
        """Yield the events with which every response begins."""
        for kind in ("response.created", "response.in_progress"):
            yield self._event(kind, response=self._dump(self.answer))

    def say(self, text: str, *, begins: bool) -> Iterator[Event]:
        """Add words; they may begin a new message."""
        if begins or self._open is None:
            yield from self._close("completed")
            self._open = message = OutputMessage(
                id=f"msg_{uuid4()}", status="in_progress", content=[]
            )
            self.answer.output.append(message)
            yield self._item("response.output_item.added", message)
            message.content.append(OutputText(text=""))
            yield self._part("response.content_part.added", message)
        self._open.content[0].text += text
        yield self._text("response.output_text.delta", self._open, delta=text)

    def finish(self, result: RunResult) -> Iterator[Event]:
        """Add the calls, and end well, or before all is said."""
        answer, reason = self.answer, _CUT.get(result.stop_reason)
        yield from self._close("incomplete" if reason else "completed")
        for call in result.calls:
            yield from self._call(call)
        answer.status, answer.usage = "completed", response_usage(result.usage)
        if reason and not result.calls:
            answer.status = "incomplete"
            answer.incomplete_details = Cut(reason=reason)
        kind = f"response.{answer.status}"
        yield self._event(kind, response=self._dump(answer))

    def fail(self, refused: Refused) -> Iterator[Event]:
        """End with an error."""
        yield from self._close("incomplete")
        self.answer.status = "failed"
        self.answer.error = Failure(code="server_error", message=refused.message)
        yield self._event("response.failed", response=self._dump(self.answer))

    def _close(self, status: Literal["completed", "incomplete"]) -> Iterator[Event]:
        message, self._open = self._open, None
        if message is None:
            return
        text = message.content[0].text
        yield self._text("response.output_text.done", message, text=text)
        yield self._part("response.content_part.done", message)
        message.status = status
        yield self._item("response.output_item.done", message)

    def _call(self, call: ToolCall) -> Iterator[Event]:
        arguments = json.dumps(dict(call.arguments))
        item = OutputCall(
            id=f"fc_{uuid4()}",
            call_id=call.id,
            name=call.name,
            arguments="",
            status="in_progress",
        )
        self.answer.output.append(item)
        yield self._item("response.output_item.added", item)
        where = {"item_id": item.id, "output_index": self._place}
        kind = "response.function_call_arguments"
        yield self._event(f"{kind}.delta", **where, delta=arguments)
        yield self._event(f"{kind}.done", **where, name=item.name, arguments=arguments)
        item.arguments, item.status = arguments, "completed"
        yield self._item("response.output_item.done", item)

    @property
    def _place(self) -> int:
        return len(self.answer.output) - 1

    def _item(self, kind: str, item: BaseModel) -> Event:
        return self._event(kind, output_index=self._place, item=self._dump(item))

    def _part(self, kind: str, message: OutputMessage) -> Event:
        part = self._dump(message.content[0])
        return self._event(kind, **self._where(message), part=part)

    def _text(self, kind: str, message: OutputMessage, **facts: Any) -> Event:
        return self._event(kind, **self._where(message), **facts, logprobs=[])

    def _where(self, message: OutputMessage) -> dict[str, Any]:
        return {"item_id": message.id, "output_index": self._place, "content_index": 0}

    def _event(self, kind: str, **facts: Any) -> Event:
        event = {"type": kind, "sequence_number": self._number, **facts}
        self._number += 1
        return event

    @staticmethod
    def _dump(value: BaseModel) -> dict[str, Any]:
        return value.model_dump(mode="json")


def response_usage(usage: Usage) -> ResponseUsage:
    """Return tokens as clients of this interface know them."""
    return ResponseUsage(
        input_tokens=usage.prompt_tokens,
        input_tokens_details=InputDetails(cached_tokens=usage.cache_read_tokens),
        output_tokens=usage.output_tokens,
        output_tokens_details=OutputDetails(),
        total_tokens=usage.prompt_tokens + usage.output_tokens,
    )
