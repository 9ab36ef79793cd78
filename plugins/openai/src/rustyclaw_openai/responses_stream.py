"""Reads streams of the Responses API.

Source: OpenAI API reference, "Streaming events" of Responses. The stream ends with
``response.completed``, ``.incomplete`` or ``.failed``; unknown events are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rustyclaw import (
    Finished,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
)
from rustyclaw_http.decoding import Mender, ServerSentEvent
from rustyclaw_http.reading import Fail, decoded, text_in, tokens_in

from rustyclaw_openai.chat_stream import END_SECONDS
from rustyclaw_openai.responses_request import Reasoning


class ResponsesReader:
    """Turns the events of one response into stream events.

    :param model: Who answers; its reasoning is signed with this name.
    :param fail: Makes an error of what the vendor says.
    :ivar patience: Seconds in which more may come; ``None``: any time.
    """

    def __init__(self, fail: Fail, *, model: str) -> None:
        self._fail = fail
        self._model = model
        self._calls: dict[int, str] = {}
        self._said, self._thought = Mender(), Mender()
        self._refused = False
        self._finished: Finished | None = None
        self.patience: float | None = None

    def take(self, event: ServerSentEvent) -> Iterator[StreamEvent]:
        """Take the next event of the stream.

        :raises ProviderError: It is an error, or cannot be read.
        """
        if self._finished or event.data.strip() == "[DONE]":
            return
        fields = decoded(event.data, self._fail)
        match text_in(fields, "type") or event.event:
            case "response.output_text.delta":
                yield TextDelta(text=self._said.feed(text_in(fields, "delta")))
            case "response.refusal.delta":
                self._refused = True
                yield TextDelta(text=text_in(fields, "delta"))
            case "response.reasoning_summary_text.delta" | (
                "response.reasoning_text.delta"
            ):
                yield ThinkingDelta(text=self._thought.feed(text_in(fields, "delta")))
            case "response.reasoning_summary_part.added":
                if fields.get("summary_index"):
                    yield ThinkingDelta(text="\n\n")
            case "response.output_item.added":
                yield from self._item(fields)
            case "response.function_call_arguments.delta":
                yield from self._arguments(fields, text_in(fields, "delta"))
            case "response.output_item.done":
                yield from self._item_done(fields)
            case "response.completed" | "response.incomplete":
                self._end(fields.get("response"))
            case "response.failed" | "error":
                response = fields.get("response")
                raise self._fail(response if isinstance(response, Mapping) else fields)
            case "message" if "error" in fields:
                raise self._fail(fields)

    def finish(self) -> Iterator[StreamEvent]:
        """Yield what ends an answer; nothing if it was cut off."""
        if self._finished:
            yield self._finished

    def _item(self, fields: Mapping[str, Any]) -> Iterator[StreamEvent]:
        item, index = fields.get("item"), tokens_in(fields, "output_index")
        if text_in(item, "type") == "function_call" and index not in self._calls:
            self._calls[index] = ""
            call_id = text_in(item, "call_id") or text_in(item, "id")
            yield ToolCallDelta(index=index, id=call_id, name=text_in(item, "name"))

    def _arguments(
        self, fields: Mapping[str, Any], piece: str
    ) -> Iterator[StreamEvent]:
        index = tokens_in(fields, "output_index")
        if index in self._calls and piece:
            self._calls[index] += piece
            yield ToolCallDelta(index=index, arguments=piece)

    def _item_done(self, fields: Mapping[str, Any]) -> Iterator[StreamEvent]:
        """Yield what a finished item adds to its pieces."""
        item = fields.get("item")
        kind = text_in(item, "type")
        if kind == "function_call":
            yield from self._item(fields)
            whole = text_in(item, "arguments")
            if not self._calls[tokens_in(fields, "output_index")]:
                yield from self._arguments(fields, whole)
        elif kind == "reasoning" and (secret := text_in(item, "encrypted_content")):
            item_id = text_in(item, "id")
            reasoning = Reasoning(id=item_id, encrypted=secret, model=self._model)
            yield ThinkingDelta(signature=reasoning.signature())

    def _end(self, response: Any) -> None:
        fields = response if isinstance(response, Mapping) else {}
        reason = text_in(fields.get("incomplete_details"), "reason")
        stop: Any = "tool_calls" if self._calls else "stop"
        if reason:
            stop = "refusal" if reason == "content_filter" else "length"
        elif self._refused:
            stop = "refusal"
        self._finished = Finished(stop_reason=stop, usage=_usage(fields.get("usage")))
        self.patience = END_SECONDS


def _usage(usage: Any) -> Usage:
    given = tokens_in(usage, "input_tokens")
    details = usage.get("input_tokens_details") if isinstance(usage, Mapping) else None
    read = tokens_in(details, "cached_tokens")
    written = tokens_in(details, "cache_write_tokens")
    return Usage(
        input_tokens=max(given - read - written, 0),
        output_tokens=tokens_in(usage, "output_tokens"),
        cache_read_tokens=read,
        cache_write_tokens=written,
    )
