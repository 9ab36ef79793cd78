"""Reads streams of the Messages API.

Source: Anthropic API reference, "Streaming messages". The stream ends with
``message_stop``; unknown events, blocks and deltas are ignored, as documented.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rustyclaw import (
    Finished,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
)
from rustyclaw_http.decoding import Mender, ServerSentEvent
from rustyclaw_http.encoding import encode
from rustyclaw_http.reading import Fail, decoded, text_in, tokens_in

from rustyclaw_anthropic.messages import Signed

#: Seconds in which the end of the stream may follow its last event.
END_SECONDS = 0.5

_STOPS: dict[str, Literal["stop", "length", "tool_calls", "refusal"]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
}
#: What people read when the model says nothing but that it will not.
DECLINED = "[the model declined to answer]"
_INVALID = "invalid_request_error"
#: A limit like others, if something was said; else the prompt alone is too long.
_OVERFLOW = "model_context_window_exceeded"
_COUNTS = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_input_tokens",
    "cache_write_tokens": "cache_creation_input_tokens",
}


@dataclass(slots=True)
class _Block:
    kind: str
    signature: str = ""
    started: bool = False
    mender: Mender = field(default_factory=Mender)


class MessageReader:
    """Turns the events of one answer into stream events.

    :param model: Who answers; its thoughts are signed with this name.
    :param fail: Makes an error of what the vendor says.
    :ivar patience: Seconds in which more may come; ``None``: any time.
    """

    def __init__(self, fail: Fail, *, model: str) -> None:
        self._fail = fail
        self._model = model
        self._blocks: dict[int, _Block] = {}
        self._counts: dict[str, int] = {}
        self._reason = ""
        self._called = False
        self._spoke = False
        self._done = False
        self.patience: float | None = None

    def take(self, event: ServerSentEvent) -> Iterator[StreamEvent]:
        """Take the next event of the stream.

        :raises ProviderError: It is an error, or cannot be read.
        """
        if self._done:
            return
        fields = decoded(event.data, self._fail)
        match text_in(fields, "type") or event.event:
            case "content_block_start":
                yield from self._begin(fields)
            case "content_block_delta":
                yield from self._delta(fields)
            case "content_block_stop":
                yield from self._close(tokens_in(fields, "index"))
            case "message_start":
                message = fields.get("message")
                if isinstance(message, Mapping):
                    self._count(message.get("usage"))
            case "message_delta":
                self._count(fields.get("usage"))
                reason = text_in(fields.get("delta"), "stop_reason")
                self._reason = reason or self._reason
            case "message_stop":
                self._done, self.patience = True, END_SECONDS
            case "error":
                raise self._fail(fields)

    def finish(self) -> Iterator[StreamEvent]:
        """Yield what ends an answer; nothing if it was cut off.

        :raises ProviderError: There was no room for an answer, or it was withdrawn.
        """
        if not self._done:
            return
        for index in list(self._blocks):
            yield from self._close(index)
        stop = _STOPS.get(self._reason, "stop")
        if stop == "stop" and self._called:
            stop = "tool_calls"
        if self._reason == _OVERFLOW and not self._spoke:
            raise self._fail({"error": {"type": self._reason, "message": self._reason}})
        if stop == "refusal":
            yield from self._refuse()
        counts = {own: self._counts.get(theirs, 0) for own, theirs in _COUNTS.items()}
        yield Finished(stop_reason=stop, usage=Usage(**counts))

    def _refuse(self) -> Iterator[StreamEvent]:
        """Say that the model declined, if nobody else does; its calls do not count.

        :raises ProviderError: It had asked for a tool before.
        """
        if self._called:
            text = "declined in the middle of its answer (refusal)"
            raise self._fail({"error": {"type": _INVALID, "message": text}})
        if not self._spoke:
            yield TextDelta(text=DECLINED)

    def _begin(self, fields: Mapping[str, Any]) -> Iterator[StreamEvent]:
        """Take the beginning of a block, which may hold a part of it."""
        index, block = tokens_in(fields, "index"), fields.get("content_block")
        yield from self._close(index)
        begun = self._blocks[index] = _Block(text_in(block, "type"))
        match begun.kind:
            case "text":
                yield from self._grow(begun, text_in(block, "text"))
            case "thinking":
                begun.signature = text_in(block, "signature")
                yield from self._grow(begun, text_in(block, "thinking"))
            case "redacted_thinking":
                begun.signature = text_in(block, "data")
            case "tool_use":
                self._called = self._spoke = True
                call_id, name = text_in(block, "id"), text_in(block, "name")
                yield ToolCallDelta(index=index, id=call_id, name=name)
                whole = block.get("input") if isinstance(block, Mapping) else None
                if whole and isinstance(whole, Mapping):
                    begun.started = True
                    arguments = encode(whole).decode()
                    yield ToolCallDelta(index=index, arguments=arguments)

    def _delta(self, fields: Mapping[str, Any]) -> Iterator[StreamEvent]:
        index, delta = tokens_in(fields, "index"), fields.get("delta")
        kind = text_in(delta, "type")
        homes = {"text_delta": "text", "thinking_delta": "thinking"}
        block = self._blocks.get(index)
        if block is None:  # its beginning was not sent, or not understood
            block = self._blocks[index] = _Block(homes.get(kind, ""))
        match kind:
            case "text_delta" if block.kind == "text":
                yield from self._grow(block, text_in(delta, "text"))
            case "thinking_delta" if block.kind == "thinking":
                yield from self._grow(block, text_in(delta, "thinking"))
            case "signature_delta" if block.kind == "thinking":
                block.signature += text_in(delta, "signature")
            case "input_json_delta" if block.kind == "tool_use" and not block.started:
                piece = block.mender.feed(text_in(delta, "partial_json"))
                if piece:
                    yield ToolCallDelta(index=index, arguments=piece)

    def _grow(self, block: _Block, text: str) -> Iterator[StreamEvent]:
        piece = block.mender.feed(text)
        self._spoke = self._spoke or bool(piece)
        if piece and block.kind == "text":
            yield TextDelta(text=piece)
        elif piece:
            yield ThinkingDelta(text=piece)

    def _close(self, index: int) -> Iterator[StreamEvent]:
        """Sign a thought that is whole."""
        block = self._blocks.pop(index, None)
        if block is None or not block.signature:
            return
        signed = Signed(model=self._model, opaque=block.signature)
        redacted = block.kind == "redacted_thinking"
        yield ThinkingDelta(signature=signed.signature(), redacted=redacted)

    def _count(self, usage: Any) -> None:
        """Take the counts, which are those of the whole answer each time."""
        for name in _COUNTS.values():
            if isinstance(usage, Mapping) and isinstance(usage.get(name), int):
                self._counts[name] = tokens_in(usage, name)
