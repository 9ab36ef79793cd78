"""A gateway in small: asks the provider, answers its calls, asks again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import aclosing
from typing import Any

import pytest
from rustyclaw import (
    Finished,
    Message,
    ModelRequest,
    Provider,
    StreamEvent,
    Text,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    ToolSchema,
)
from rustyclaw_offline.provider import OfflineProvider

TOOLS = (
    "exec",
    "edit_file",
    "file_list",
    "memory_get",
    "memory_list",
    "memory_search",
    "memory_set",
    "read_file",
    "write_file",
)
Answer = Callable[[ToolCall], ToolResult]


def schemas(names: Iterable[str]) -> tuple[ToolSchema, ...]:
    """Return schemas as a gateway sends them."""
    return tuple(
        ToolSchema(name=name, description=name, parameters={"type": "object"})
        for name in names
    )


async def events_of(provider: Provider, request: ModelRequest) -> list[StreamEvent]:
    """Return the events of one model call."""
    async with aclosing(provider.stream(request)) as stream:  # type: ignore[type-var]  # it is a generator
        return [event async for event in stream]


def assembled(events: Iterable[StreamEvent]) -> Message:
    """Put events together into the message that they stream."""
    text = ""
    calls: dict[int, list[str]] = {}
    for event in events:
        if isinstance(event, TextDelta):
            text += event.text
        elif isinstance(event, ToolCallDelta):
            parts = calls.setdefault(event.index, ["", "", ""])
            parts[0] += event.id
            parts[1] += event.name
            parts[2] += event.arguments
    blocks = [Text(text=text)] if text else []
    return Message(
        role="assistant",
        content=(
            *blocks,
            *(
                ToolCall(id=call_id, name=name, arguments=json.loads(arguments))
                for call_id, name, arguments in calls.values()
            ),
        ),
    )


class Chat:
    """A conversation with a provider.

    :ivar rounds: The calls of each model call of the last turn.
    :ivar events: The events of the last turn.
    """

    def __init__(self, provider: Provider, model: str = "assistant") -> None:
        self.provider = provider
        self.model = model
        self.system = "You are rustyclaw."
        self.tools: tuple[str, ...] = TOOLS
        self.thinking = "off"
        self.answer: Answer = lambda call: ToolResult(text=f"{call.name} did it")
        self.messages: list[Message] = []
        self.rounds: list[tuple[ToolCall, ...]] = []
        self.events: list[StreamEvent] = []

    @property
    def request(self) -> ModelRequest:
        """The next model call."""
        return ModelRequest(
            model=self.model,
            system=self.system,
            messages=tuple(self.messages),
            tools=schemas(self.tools),
            thinking=self.thinking,
        )

    @property
    def calls(self) -> list[tuple[str, dict[str, Any]]]:
        """Names and arguments of all calls of the last turn."""
        return [(c.name, dict(c.arguments)) for calls in self.rounds for c in calls]

    @property
    def thoughts(self) -> list[str]:
        """The thoughts of the last turn."""
        return [event.text for event in self.events if isinstance(event, ThinkingDelta)]

    async def say(self, text: str) -> str:
        """Say something, answer all calls, and return the final answer."""
        self.messages.append(Message.user(text))
        self.rounds, self.events = [], []
        while True:
            message = await self.step()
            if not message.tool_calls:
                return message.text
            assert len(self.rounds) < 50, "the assistant never ends"
            self.give(*map(self.answer, message.tool_calls))

    async def step(self) -> Message:
        """Make one model call."""
        events = await events_of(self.provider, self.request)
        assert isinstance(events[-1], Finished)
        assert sum(isinstance(event, Finished) for event in events) == 1
        message = assembled(events)
        reason = "tool_calls" if message.tool_calls else "stop"
        assert events[-1].stop_reason == reason
        self.events += events
        self.messages.append(message)
        if message.tool_calls:
            self.rounds.append(message.tool_calls)
        return message

    def give(self, *results: ToolResult) -> None:
        """Add the results of the calls that were made last."""
        for call, result in zip(self.rounds[-1], results, strict=True):
            block = ToolResult(
                text=result.text,
                is_error=result.is_error,
                media=result.media,
                call_id=call.id,
                name=call.name,
            )
            self.messages.append(Message(role="tool", content=(block,)))


@pytest.fixture
def chat() -> Chat:
    """Return a conversation with the assistant, with all tools that it can drive."""
    return Chat(OfflineProvider())
