"""Reads streams of ``streamGenerateContent``.

Source: Gemini API reference, ``GenerateContentResponse``. Nothing marks the end of such
a stream but a reason to finish, after which counts may follow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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

from rustyclaw_google.signatures import Part, Signed

#: Seconds in which more may follow the reason to finish.
END_SECONDS = 2.0

_REFUSALS = {
    *("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"),
    *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"),
}
#: The status of what is not worth a second try.
_REFUSED = "INVALID_ARGUMENT"
#: Reasons that are failures of the model, and what they mean.
_FAULTS = {
    "MALFORMED_FUNCTION_CALL": "the model made a call that cannot be read",
    "MALFORMED_RESPONSE": "the model made an answer that cannot be read",
    "UNEXPECTED_TOOL_CALL": "the model called a tool that it was not given",
    "TOO_MANY_TOOL_CALLS": "the model called too many tools",
    "MISSING_THOUGHT_SIGNATURE": "a signature is missing in the request",
    "OTHER": "the model stopped for an unknown reason",
}


class GeminiReader:
    """Turns the chunks of one answer into stream events.

    :param model: Who answers; its thoughts are signed with this name.
    :param fail: Makes an error of what the vendor says.
    :ivar patience: Seconds in which more may come; ``None``: any time.
    """

    def __init__(self, fail: Fail, *, model: str) -> None:
        self._fail = fail
        self._model = model
        self._said, self._thought = Mender(), Mender()
        self._usage = Usage()
        self._calls = 0
        self._spoke = False
        self._reason = ""
        self.patience: float | None = None

    def take(self, event: ServerSentEvent) -> Iterator[StreamEvent]:
        """Take the next event of the stream.

        :raises ProviderError: It is an error, or cannot be read.
        """
        chunk = decoded(event.data, self._fail)
        if chunk.get("error"):
            raise self._fail(chunk)
        if isinstance(usage := chunk.get("usageMetadata"), Mapping):
            self._usage = _usage(usage)
        blocked = text_in(chunk.get("promptFeedback"), "blockReason")
        if blocked and not chunk.get("candidates"):
            raise self._failure(blocked, "the prompt was blocked", _REFUSED)
        if self._reason:
            return  # what is said after the end is none of it
        candidates = chunk.get("candidates")
        for candidate in candidates if isinstance(candidates, list) else ():
            if isinstance(candidate, Mapping) and not candidate.get("index"):
                yield from self._candidate(candidate)

    def finish(self) -> Iterator[StreamEvent]:
        """Yield what ends an answer; nothing if it was cut off.

        :raises ProviderError: The model failed, or its calls were withdrawn.
        """
        if not self._reason:
            return
        stop: Literal["stop", "length", "tool_calls", "refusal"] = "stop"
        if self._reason in _FAULTS and not (self._reason == "OTHER" and self._spoke):
            raise self._failure(self._reason, _FAULTS[self._reason])
        if self._reason in _REFUSALS:
            stop = "refusal"
            if self._calls:  # so that they do not run
                text = "the answer was blocked"
                raise self._failure(self._reason, text, _REFUSED)
            if not self._spoke:
                yield TextDelta(text=f"[the answer was blocked: {self._reason}]")
        elif self._reason == "MAX_TOKENS":
            stop = "length"
        elif self._calls:
            stop = "tool_calls"
        yield Finished(stop_reason=stop, usage=self._usage)

    def _candidate(self, candidate: Mapping[str, Any]) -> Iterator[StreamEvent]:
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, Mapping) else None
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, Mapping):
                yield from self._part(part)
        reason = text_in(candidate, "finishReason")
        if reason and reason != "FINISH_REASON_UNSPECIFIED":
            self._reason, self.patience = reason, END_SECONDS

    def _part(self, part: Mapping[str, Any]) -> Iterator[StreamEvent]:
        signature = text_in(part, "thoughtSignature")
        if isinstance(call := part.get("functionCall"), Mapping):
            yield self._call(call, signature)
            return
        if part.get("thought") is True:
            text, home = self._thought.feed(text_in(part, "text")), "thought"
            if text or signature:
                yield ThinkingDelta(text=text, signature=self._signed(home, signature))
            return
        text = self._said.feed(text_in(part, "text")) or _rendered(part)
        if text:
            self._spoke = self._spoke or bool(text.strip())
            yield TextDelta(text=text)
        if signature:
            home = "text" if text else "end"
            yield ThinkingDelta(signature=self._signed(home, signature))

    def _call(self, call: Mapping[str, Any], signature: str) -> ToolCallDelta:
        """Return a call; the API sends each as a whole."""
        arguments = call.get("args")
        arguments = {} if arguments is None else arguments
        index, self._calls = self._calls, self._calls + 1
        return ToolCallDelta(
            index=index,
            id=text_in(call, "id"),
            name=text_in(call, "name"),
            arguments=encode(arguments).decode(),
            signature=self._signed("call", signature),
        )

    def _signed(self, home: str, opaque: str) -> str | None:
        part: Part = home  # type: ignore[assignment]  # one of its words, see above
        signed = Signed(part=part, model=self._model, opaque=opaque)
        return signed.signature() if opaque else None

    def _failure(self, reason: str, text: str, status: str = "") -> Exception:
        message = f"{text} ({reason})"
        return self._fail({"error": {"message": message, "status": status or reason}})


def _rendered(part: Mapping[str, Any]) -> str:
    """Return a part that is no text as one: code that Google ran, and pictures."""
    code, result = part.get("executableCode"), part.get("codeExecutionResult")
    if isinstance(code, Mapping):
        language = text_in(code, "language").lower().replace("_unspecified", "")
        return f"\n```{language}\n{text_in(code, 'code').rstrip()}\n```\n"
    if isinstance(result, Mapping):
        return f"\n```\n{text_in(result, 'output').rstrip()}\n```\n"
    for key in ("inlineData", "fileData"):
        if isinstance(data := part.get(key), Mapping):
            kind = text_in(data, "mimeType") or "unknown"
            return f"[the model sent a file ({kind}) that cannot be shown]"
    return ""


def _usage(usage: Mapping[str, Any]) -> Usage:
    """Return the tokens of a call; what was cached is not counted as input too."""
    read = tokens_in(usage, "cachedContentTokenCount")
    prompt = tokens_in(usage, "promptTokenCount")
    prompt += tokens_in(usage, "toolUsePromptTokenCount")
    said = tokens_in(usage, "candidatesTokenCount")
    return Usage(
        input_tokens=max(prompt - read, 0),
        output_tokens=said + tokens_in(usage, "thoughtsTokenCount"),
        cache_read_tokens=read,
    )
