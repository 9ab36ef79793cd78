"""Puts the pieces of a model's stream together into one message."""

from __future__ import annotations

import json
from secrets import token_hex
from time import perf_counter

from rustyclaw.errors import ProviderError
from rustyclaw.messages import (
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


class Assembler:
    """Collects stream events. A call that was cut off never leaves it.

    :ivar malformed: Place of a tool call -> what is wrong with its arguments.
    """

    def __init__(self) -> None:
        self._started = perf_counter()
        self._said: list[Text | Thinking | None] = []  # in its order; None: a call
        self._open: type[Text | Thinking] | None = None
        self._pieces: list[str] = []
        self._calls: dict[int, list[ToolCallDelta]] = {}
        self._finished: Finished | None = None
        self.malformed: dict[int, str] = {}

    def add(self, event: StreamEvent) -> None:
        """Take the next event of the stream."""
        if isinstance(event, TextDelta):
            self._grow(Text, event.text)
        elif isinstance(event, ThinkingDelta):
            if event.redacted:
                self._close()
            self._grow(Thinking, event.text)
            if event.redacted or event.signature is not None:
                self._close(event.signature, event.redacted)
        elif isinstance(event, ToolCallDelta):
            if event.index not in self._calls:
                self._close()
                self._said.append(None)
            self._calls.setdefault(event.index, []).append(event)
        else:
            self._finished = event

    def said(self) -> Message:
        """Return what the model has said and thought until now, without calls."""
        self._close()
        return Message(role="assistant", content=tuple(filter(None, self._said)))

    def response(self, model: str) -> ModelResponse:
        """Return the finished call of a model.

        :raises ProviderError: The stream ended without `Finished`.
        """
        if self._finished is None:
            raise ProviderError(f"the answer of {model} was cut off", kind="timeout")
        self._close()
        calls = (self._call(*item) for item in enumerate(sorted(self._calls)))
        content = tuple(next(calls) if b is None else b for b in self._said)
        return ModelResponse(
            model=self._finished.model or model,
            thinking=self._finished.thinking,
            message=Message(role="assistant", content=content),
            stop_reason=self._finished.stop_reason,
            usage=self._finished.usage,
            seconds=perf_counter() - self._started,
        )

    def _grow(self, kind: type[Text | Thinking], piece: str) -> None:
        if self._open is not kind:
            self._close()
            self._open = kind
        self._pieces.append(piece)

    def _close(self, signature: str | None = None, redacted: bool = False) -> None:
        """End the block that grows; an empty one only counts if it is signed."""
        text = "".join(self._pieces)
        if self._open is Text and text:
            self._said.append(Text(text=text))
        elif self._open is Thinking and (text or signature or redacted):
            thought = Thinking(text=text, signature=signature, redacted=redacted)
            self._said.append(thought)
        self._open, self._pieces = None, []

    def _call(self, place: int, index: int) -> ToolCall:
        pieces = self._calls[index]
        raw = "".join(piece.arguments for piece in pieces)
        cut_off = self._finished is None or self._finished.stop_reason == "length"
        try:
            arguments = json.loads(raw if raw.strip() or cut_off else "{}")
            if not isinstance(arguments, dict):
                raise ValueError("they are not an object")
        except (ValueError, RecursionError) as exc:
            self.malformed[place] = f"the arguments are not valid JSON: {exc}"
            arguments = {}
        return ToolCall(
            id=next((p.id for p in pieces if p.id), f"call_{token_hex(6)}"),
            name="".join(piece.name for piece in pieces),
            arguments=arguments,
            signature=next((p.signature for p in pieces if p.signature), None),
        )
