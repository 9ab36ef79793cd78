"""Plays a request against a provider and keeps what was heard."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, cast

import anyio
from rustyclaw import (
    Finished,
    Message,
    ModelRequest,
    Provider,
    ProviderError,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
)


@dataclass(slots=True)
class HeardCall:
    """A tool call, put together from its pieces."""

    id: str = ""
    name: str = ""
    raw: str = ""

    @property
    def arguments(self) -> Any:
        """The decoded arguments; no text means none."""
        return json.loads(self.raw or "{}")


@dataclass(slots=True)
class Hearing:
    """What came out of one model call.

    :ivar error: How it failed; also set if `Finished` was missing.
    """

    events: list[StreamEvent] = field(default_factory=list)
    error: ProviderError | None = None

    @property
    def text(self) -> str:
        """The answer, complete or not."""
        return "".join(e.text for e in self.events if isinstance(e, TextDelta))

    @property
    def thinking(self) -> str:
        """The reasoning."""
        return "".join(e.text for e in self.events if isinstance(e, ThinkingDelta))

    @property
    def calls(self) -> list[HeardCall]:
        """The tool calls, in the order of their index."""
        calls: dict[int, HeardCall] = {}
        for event in self.events:
            if isinstance(event, ToolCallDelta):
                call = calls.setdefault(event.index, HeardCall())
                call.id = call.id or event.id
                call.name += event.name
                call.raw += event.arguments
        return [calls[index] for index in sorted(calls)]

    @property
    def finished(self) -> Finished:
        """The last event of a call that went well."""
        assert self.error is None, repr(self.error)
        last = self.events[-1]
        assert isinstance(last, Finished)
        return last


def request(text: str = "hi", **fields: Any) -> ModelRequest:
    """Return a request that says a text."""
    defaults = {"model": "m", "system": "", "messages": (Message.user(text),)}
    return ModelRequest(**{**defaults, **fields})


async def hear(
    provider: Provider, asked: ModelRequest, *, patience_seconds: float = 20.0
) -> Hearing:
    """Return what a provider answers; it must be entered.

    Every failure that is no `ProviderError` is raised.
    """
    heard = Hearing()
    stream = cast("AsyncGenerator[StreamEvent, None]", provider.stream(asked))
    with anyio.fail_after(patience_seconds):
        async with aclosing(stream):
            try:
                async for event in stream:
                    heard.events.append(event)
            except ProviderError as exc:
                heard.error = exc
    if heard.error is None:
        finished = [event for event in heard.events if isinstance(event, Finished)]
        if not finished:
            heard.error = ProviderError("the answer was cut off", kind="timeout")
        else:
            assert finished == heard.events[-1:], "`Finished` comes once, and last"
    return heard
