"""Puts the pieces of a model's stream together into one message."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from time import perf_counter

from rustyclaw.errors import ProviderError
from rustyclaw.messages import (
    Block,
    Finished,
    Message,
    ModelResponse,
    StreamEvent,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
)


@dataclass(slots=True)
class _Call:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


class Assembler:
    """Collects stream events. A call that was cut off never leaves it.

    :ivar malformed: Call id -> what is wrong with its arguments.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._started = perf_counter()
        self._text: list[str] = []
        self._thinking: list[Thinking] = []
        self._open_thought: list[str] = []
        self._calls: dict[int, _Call] = {}
        self._finished: Finished | None = None
        self.malformed: dict[str, str] = {}

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self._text)

    def add(self, event: StreamEvent) -> None:
        """Take the next event of the stream."""
        if isinstance(event, TextDelta):
            self._text.append(event.text)
        elif isinstance(event, ThinkingDelta):
            self._add_thought(event)
        elif isinstance(event, ToolCallDelta):
            call = self._calls.setdefault(event.index, _Call())
            call.id = call.id or event.id
            call.name += event.name
            call.arguments.append(event.arguments)
        else:
            self._finished = event

    def response(self) -> ModelResponse:
        """Return the finished call.

        :raises ProviderError: The stream ended without `Finished`.
        """
        if self._finished is None:
            raise ProviderError(
                f"the answer of {self._model} was cut off", kind="timeout"
            )
        self._close_thought(None)
        blocks: list[Block] = [*self._thinking]
        if self._text:
            blocks.append(Text(text=self.text))
        blocks += [self._call(index) for index in sorted(self._calls)]
        return ModelResponse(
            model=self._model,
            message=Message(role="assistant", content=tuple(blocks)),
            stop_reason=self._finished.stop_reason,
            usage=self._finished.usage,
            seconds=perf_counter() - self._started,
        )

    def _add_thought(self, event: ThinkingDelta) -> None:
        if event.redacted:
            self._close_thought(None)
            self._thinking.append(
                Thinking(text=event.text, signature=event.signature, redacted=True)
            )
            return
        self._open_thought.append(event.text)
        if event.signature is not None:
            self._close_thought(event.signature)

    def _close_thought(self, signature: str | None) -> None:
        if self._open_thought:
            text = "".join(self._open_thought)
            self._thinking.append(Thinking(text=text, signature=signature))
            self._open_thought = []

    def _call(self, index: int) -> ToolCall:
        piece = self._calls[index]
        call_id = piece.id or f"call_{index}"
        raw = "".join(piece.arguments)
        try:
            arguments = json.loads(raw or "{}")
            if not isinstance(arguments, dict):
                raise ValueError("they are not an object")
        except (ValueError, RecursionError) as exc:
            self.malformed[call_id] = f"the arguments are not valid JSON: {exc}"
            arguments = {}
        return ToolCall(id=call_id, name=piece.name, arguments=arguments)
