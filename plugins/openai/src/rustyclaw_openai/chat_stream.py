"""Reads streams of the Chat Completions API, and of all who imitate it.

Source: OpenAI API reference, "chat completion chunk object"; what other vendors do
differently stands beside the code that bears it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
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

from rustyclaw_openai.chat_request import DETAILS_MARK

#: Seconds in which the usage may follow the end of an answer, and the end of the
#: stream its last event.
USAGE_SECONDS, END_SECONDS = 5.0, 0.5

_STOPS = {
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",  # Mistral
    "content_filter": "refusal",
    "refusal": "refusal",
}
#: Ends that are failures: of OpenRouter and Mistral, of DeepSeek.
_FAULTS = {"error", "insufficient_system_resource"}


@dataclass(slots=True)
class _Call:
    id: str = ""
    name: str = ""
    mender: Mender = field(default_factory=Mender)


class ChatReader:
    """Turns the chunks of one answer into stream events.

    :param fail: Makes an error of what the vendor says.
    :param keeps_details: Keep OpenRouter's ``reasoning_details`` for the next request.
    :ivar patience: Seconds in which more may come; ``None``: any time.
    """

    def __init__(self, fail: Fail, *, keeps_details: bool = False) -> None:
        self._fail = fail
        self._details: list[dict[str, Any]] | None = [] if keeps_details else None
        self._calls: dict[int, _Call] = {}
        self._said, self._thought = Mender(), Mender()
        self._usage = Usage()
        self._reason = ""
        self._refused = False
        self._done = False
        self.patience: float | None = None

    def take(self, event: ServerSentEvent) -> Iterator[StreamEvent]:
        """Take the next event of the stream.

        :raises ProviderError: It is an error, or cannot be read.
        """
        if self._done:
            return
        if event.data.strip() == "[DONE]":
            self._done, self.patience = True, END_SECONDS
            return
        chunk = decoded(event.data, self._fail)
        if chunk.get("error") or event.event == "error":
            raise self._fail(chunk)
        extra = chunk.get("x_groq")
        usage = chunk.get("usage") or (
            extra.get("usage") if isinstance(extra, dict) else None
        )
        if isinstance(usage, dict):
            self._usage = usage_of(usage)
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and not choice.get("index"):
                yield from self._choice(choice, chunk)

    def finish(self) -> Iterator[StreamEvent]:
        """Yield what ends an answer; nothing if it was cut off."""
        if not (self._reason or self._done):
            return
        if self._details:
            yield ThinkingDelta(signature=DETAILS_MARK + json.dumps(self._details))
        reason = _STOPS.get(self._reason, "stop")
        if self._calls and reason == "stop":  # some say "stop" all the same
            reason = "tool_calls"
        if self._refused:
            reason = "refusal"
        yield Finished(stop_reason=reason, usage=self._usage)  # type: ignore[arg-type]  # from the table above

    def _choice(
        self, choice: Mapping[str, Any], chunk: Mapping[str, Any]
    ) -> Iterator[StreamEvent]:
        delta = choice.get("delta")
        if isinstance(delta, dict):
            yield from self._delta(delta)
        reason = text_in(choice, "finish_reason")
        if reason in _FAULTS:
            raise self._fail(choice if "error" in choice else {"error": reason})
        if reason:
            self._reason, self.patience = reason, USAGE_SECONDS

    def _delta(self, delta: Mapping[str, Any]) -> Iterator[StreamEvent]:
        # DeepSeek, vLLM and xAI say `reasoning_content`, Groq and OpenRouter
        # `reasoning`; who says both says the same.
        thought = text_in(delta, "reasoning_content") or text_in(delta, "reasoning")
        if thought:
            yield ThinkingDelta(text=self._thought.feed(thought))
        if self._details is not None:
            self._keep(delta.get("reasoning_details"))
        content = delta.get("content")
        if isinstance(content, list):
            yield from _parts(content)
        elif isinstance(content, str) and content:
            yield TextDelta(text=self._said.feed(content))
        if refusal := text_in(delta, "refusal"):
            self._refused = True
            yield TextDelta(text=refusal)
        calls = delta.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, dict):
                yield from self._call(call, call.get("function"))
        if isinstance(legacy := delta.get("function_call"), dict):
            yield from self._call({"index": 0}, legacy)

    def _call(self, call: Mapping[str, Any], function: Any) -> Iterator[ToolCallDelta]:
        """Yield a piece of a call.

        Several servers leave the index out, give all calls the same one, repeat the
        name in each piece, or send the arguments as an object.
        """
        function = function if isinstance(function, dict) else {}
        call_id, name = text_in(call, "id"), text_in(function, "name")
        arguments = function.get("arguments")
        if isinstance(arguments, dict):
            arguments = json.dumps(arguments)
        index = self._index(call.get("index"), call_id, name)
        known = self._calls.get(index)
        if known is None:
            known = self._calls[index] = _Call()
        yield ToolCallDelta(
            index=index,
            id="" if known.id else call_id,
            name="" if known.name else name,
            arguments=known.mender.feed(
                arguments if isinstance(arguments, str) else ""
            ),
        )
        known.id, known.name = known.id or call_id, known.name or name

    def _index(self, given: Any, call_id: str, name: str) -> int:
        """Return the place of the call that a piece belongs to."""
        following = max(self._calls, default=-1) + 1
        if isinstance(given, int):
            known = self._calls.get(given)
            others = known and known.id and call_id and call_id != known.id
            if not (others and name):
                return given
        same = [
            i for i, known in self._calls.items() if call_id and known.id == call_id
        ]
        if same:
            return same[0]
        return following if call_id or name or not self._calls else following - 1

    def _keep(self, details: Any) -> None:
        """Add pieces of ``reasoning_details``; texts of one entry come in pieces."""
        kept = self._details
        if kept is None or not isinstance(details, list):
            return
        for piece in details:
            if not isinstance(piece, dict):
                continue
            last = kept[-1] if kept else {}
            places = (last.get("type"), last.get("index"))
            if kept and places == (piece.get("type"), piece.get("index")):
                for key, value in piece.items():
                    if key in ("text", "summary", "data") and isinstance(value, str):
                        last[key] = f"{last.get(key) or ''}{value}"
                    elif value is not None:
                        last[key] = value
            else:
                kept.append(dict(piece))


def _parts(content: list[Any]) -> Iterator[StreamEvent]:
    """Yield content that comes in parts, as Mistral's reasoning models send it."""
    for part in content:
        if not isinstance(part, dict):
            continue
        if part.get("type") == "thinking":
            inner = part.get("thinking")
            for piece in inner if isinstance(inner, list) else ():
                if isinstance(piece, dict) and (text := text_in(piece, "text")):
                    yield ThinkingDelta(text=text)
        elif text := text_in(part, "text"):
            yield TextDelta(text=text)


def usage_of(usage: Mapping[str, Any]) -> Usage:
    """Return the tokens of a call; what was cached is not counted as input too."""
    prompt = tokens_in(usage, "prompt_tokens")
    details = usage.get("prompt_tokens_details")
    read = tokens_in(details, "cached_tokens")
    read = read or tokens_in(usage, "prompt_cache_hit_tokens")  # DeepSeek
    written = tokens_in(details, "cache_write_tokens")  # OpenRouter
    said = tokens_in(usage, "completion_tokens")
    total = tokens_in(usage, "total_tokens")
    return Usage(
        input_tokens=max(prompt - read - written, 0),
        output_tokens=max(
            said, total - prompt
        ),  # xAI leaves reasoning out of the first
        cache_read_tokens=read,
        cache_write_tokens=written,
    )
