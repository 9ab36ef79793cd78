"""Reads streams of ``/api/chat``: a JSON object a line, the last one ``done``.

Source: Ollama API reference, "Generate a chat message", "Streaming", "Errors".
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
from rustyclaw_http.decoding import Mender
from rustyclaw_http.encoding import encode
from rustyclaw_http.reading import Fail, text_in, tokens_in

#: Seconds in which the end of the stream may follow its last line.
END_SECONDS = 0.5


class ChatReader:
    """Turns the lines of one answer into stream events.

    :param fail: Makes an error of what the server says.
    :ivar patience: Seconds in which more may come; ``None``: any time.
    """

    def __init__(self, fail: Fail) -> None:
        self._fail = fail
        self._said, self._thought = Mender(), Mender()
        self._calls = 0
        self._last: Mapping[str, Any] | None = None
        self.patience: float | None = None

    def take(self, line: Any) -> Iterator[StreamEvent]:
        """Take the next line of the stream.

        :raises ProviderError: It is an error, or cannot be read.
        """
        if self._last is not None:
            return
        if not isinstance(line, Mapping):
            raise self._fail({"error": "network error: a line is no JSON object"})
        if line.get("error"):
            raise self._fail(line)
        message = line.get("message")
        if thought := self._thought.feed(text_in(message, "thinking")):
            yield ThinkingDelta(text=thought)
        if text := self._said.feed(text_in(message, "content")):
            yield TextDelta(text=text)
        calls = message.get("tool_calls") if isinstance(message, Mapping) else None
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, Mapping):
                yield from self._call(call)
        if line.get("done") is True:
            self._last, self.patience = line, END_SECONDS

    def finish(self) -> Iterator[StreamEvent]:
        """Yield what ends an answer; nothing if it was cut off."""
        if self._last is None:
            return
        usage = Usage(
            input_tokens=tokens_in(self._last, "prompt_eval_count"),
            output_tokens=tokens_in(self._last, "eval_count"),
        )
        if text_in(self._last, "done_reason") == "length":
            yield Finished(stop_reason="length", usage=usage)
        else:
            yield Finished(
                stop_reason="tool_calls" if self._calls else "stop", usage=usage
            )

    def _call(self, call: Mapping[str, Any]) -> Iterator[ToolCallDelta]:
        """Yield a call, which comes as a whole; its arguments are an object."""
        function = call.get("function")
        arguments = function.get("arguments") if isinstance(function, Mapping) else None
        if not isinstance(arguments, str):
            arguments = encode({} if arguments is None else arguments).decode()
        yield ToolCallDelta(
            index=self._calls,
            id=text_in(call, "id"),
            name=text_in(function, "name"),
            arguments=arguments,
        )
        self._calls += 1
