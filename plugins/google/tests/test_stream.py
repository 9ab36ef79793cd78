"""Streams of Gemini: all kinds of parts, and all reasons to finish."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from rustyclaw import (
    Finished,
    ProviderError,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
)
from rustyclaw_google.stream import GeminiReader
from rustyclaw_http.decoding import ServerSentEvent
from rustyclaw_http.testing.hearing import Hearing, hear, request
from rustyclaw_http.testing.server import Answer, FakeVendor

from .conftest import Make, answer, call, chunk, counts, stream


async def heard_of(
    make: Make, vendor: FakeVendor, given: Answer, **fields: Any
) -> Hearing:
    vendor.script(given)
    async with make(**fields) as provider:
        return await hear(provider, request())


async def test_an_answer(make: Make, vendor: FakeVendor) -> None:
    more = {"cachedContentTokenCount": 8, "thoughtsTokenCount": 30}
    usage = counts(**more, toolUsePromptTokenCount=3)
    last = chunk({"text": "lo"}, finish="STOP", usageMetadata=usage)
    heard = await heard_of(make, vendor, stream(chunk({"text": "Hel"}), last))
    assert heard.text == "Hello"
    assert heard.finished == Finished(
        usage=Usage(input_tokens=15, output_tokens=35, cache_read_tokens=8)
    )


async def test_counts_may_follow_the_end(make: Make, vendor: FakeVendor) -> None:
    last = {"usageMetadata": counts()}
    given = stream(chunk({"text": "a"}, finish="STOP"), last)
    assert (await heard_of(make, vendor, given)).finished.usage.output_tokens == 5


async def test_thoughts_calls_and_signatures(make: Make, vendor: FakeVendor) -> None:
    given = answer(
        {"text": "I must look.", "thought": True},
        {"text": "Let me see."},
        call("weather", sign="c2ln", id="fc-1", city="Oslo"),
        call("weather", city="Rome"),
    )
    heard = await heard_of(make, vendor, given)
    assert heard.events[:-1] == [
        ThinkingDelta(text="I must look."),
        TextDelta(text="Let me see."),
        ToolCallDelta(
            index=0,
            id="fc-1",
            name="weather",
            arguments='{"city": "Oslo"}',
            signature="google:call:m:c2ln",
        ),
        ToolCallDelta(index=1, name="weather", arguments='{"city": "Rome"}'),
    ]
    assert heard.finished.stop_reason == "tool_calls"


SENT = "sent a file (image/png) that cannot be shown"


@pytest.mark.parametrize(
    ("part", "events"),
    [
        (
            {"text": "a", "thoughtSignature": "c2ln"},
            [TextDelta(text="a"), ThinkingDelta(signature="google:text:m:c2ln")],
        ),
        (
            {"text": "", "thoughtSignature": "c2ln"},
            [ThinkingDelta(signature="google:end:m:c2ln")],
        ),
        ({"thoughtSignature": "c2ln"}, [ThinkingDelta(signature="google:end:m:c2ln")]),
        (
            {"text": "a", "thought": True, "thoughtSignature": "c2ln"},
            [ThinkingDelta(text="a", signature="google:thought:m:c2ln")],
        ),
        (
            {"executableCode": {"language": "PYTHON", "code": "print(1)\n"}},
            [TextDelta(text="\n```python\nprint(1)\n```\n")],
        ),
        (
            {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}},
            [TextDelta(text="\n```\n1\n```\n")],
        ),
        (
            {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}},
            [TextDelta(text=f"[the model {SENT}]")],
        ),
        (
            {"functionCall": {"name": "now"}},
            [ToolCallDelta(index=0, name="now", arguments="{}")],
        ),
        ({"videoMetadata": {}}, []),
        ({"text": ["x"]}, []),
        ("nonsense", []),
    ],
)  # fmt: skip
async def test_parts(make: Make, vendor: FakeVendor, part: Any, events: Any) -> None:
    heard = await heard_of(make, vendor, answer(part))
    assert heard.events[:-1] == events


@pytest.mark.parametrize(
    ("finish", "stop"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        *((reason, "refusal") for reason in ("SAFETY", "RECITATION", "LANGUAGE")),
        *((reason, "refusal") for reason in ("BLOCKLIST", "PROHIBITED_CONTENT")),
        *((reason, "refusal") for reason in ("SPII", "IMAGE_SAFETY")),
        ("OTHER", "stop"),
        ("SOMETHING_NEW", "stop"),
    ],
)
async def test_ends(make: Make, vendor: FakeVendor, finish: str, stop: str) -> None:
    heard = await heard_of(make, vendor, answer({"text": "a"}, finish=finish))
    assert (heard.text, heard.finished.stop_reason) == ("a", stop)


async def test_a_blocked_answer(make: Make, vendor: FakeVendor) -> None:
    heard = await heard_of(make, vendor, answer(finish="RECITATION"))
    assert heard.text == "[the answer was blocked: RECITATION]"
    assert heard.finished.stop_reason == "refusal"


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        (answer(finish="MALFORMED_FUNCTION_CALL"), "timeout", "cannot be read"),
        (answer(finish="UNEXPECTED_TOOL_CALL"), "timeout", "not given"),
        (answer(finish="MALFORMED_RESPONSE"), "timeout", "cannot be read"),
        (answer(finish="MISSING_THOUGHT_SIGNATURE"), "unknown", "signature"),
        (answer(finish="TOO_MANY_TOOL_CALLS"), "unknown", "too many tools"),
        (answer(finish="OTHER"), "unknown", "unknown reason"),
        (answer(call("exec", x=1), finish="SAFETY"), "format", "blocked (SAFETY)"),
        (
            stream({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}),
            "format",
            "the prompt was blocked (PROHIBITED_CONTENT)",
        ),
    ],
)
async def test_failures_of_the_model(
    make: Make, vendor: FakeVendor, given: Answer, kind: str, words: str
) -> None:
    heard = await heard_of(make, vendor, given)
    assert heard.error is not None
    assert (heard.error.kind, words in str(heard.error)) == (kind, True), heard.error


HELLO = chunk({"text": "Hello"})
EXHAUSTED = {"error": {"code": 429, "message": "Slow", "status": "RESOURCE_EXHAUSTED"}}
BUSY = {"error": {"code": 503, "message": "Overloaded.", "status": "UNAVAILABLE"}}


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        (stream(HELLO), "timeout", "in the middle"),
        (stream(), "timeout", "in the middle"),
        (stream(HELLO, end="cut"), "timeout", "broke off"),
        (stream(HELLO, end="reset"), "timeout", "broke off"),
        (stream(HELLO, end="hang"), "timeout", "fell silent"),
        (stream(chunk(call("exec", x=1)), end="reset"), "timeout", "broke off"),
        (stream(chunk(call("exec", x=1))), "timeout", "in the middle"),
        (stream(HELLO, "x"), "timeout", "no JSON object"),
        (Answer.sse('{"candidates": ['), "timeout", "no JSON object"),
        (stream(HELLO, EXHAUSTED), "rate_limit", "Slow"),
        (stream(HELLO, BUSY), "overloaded", "Overloaded"),
        (Answer.json([EXHAUSTED]), "rate_limit", "Slow"),
        (Answer(delay_seconds=3), "timeout", "fell silent"),
    ],
)
async def test_failures_on_the_way(
    make: Make, vendor: FakeVendor, given: Answer, kind: str, words: str
) -> None:
    heard = await heard_of(make, vendor, given, idle_timeout_seconds=0.2)
    assert heard.error is not None
    assert (heard.error.kind, words in str(heard.error)) == (kind, True), heard.error


async def test_what_follows_the_end_is_ignored(make: Make, vendor: FakeVendor) -> None:
    given = stream(chunk({"text": "a"}, finish="STOP"), HELLO, end="reset")
    assert (await heard_of(make, vendor, given)).text == "a"


async def test_other_candidates_are_ignored(make: Make, vendor: FakeVendor) -> None:
    both = chunk({"text": "a"}, finish="STOP")
    both["candidates"].append({**both["candidates"][0], "index": 1})
    assert (await heard_of(make, vendor, stream(both))).text == "a"


FIELDS = st.sampled_from(
    ["candidates", "content", "parts", "text", "thought", "thoughtSignature", "index",
     "functionCall", "name", "args", "finishReason", "usageMetadata", "error",
     "promptTokenCount", "promptFeedback", "blockReason", "inlineData", "mimeType",
     "executableCode", "code", "codeExecutionResult", "output"]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["STOP", "x", "c2ln"]),
    lambda x: st.lists(x, max_size=2) | st.dictionaries(FIELDS, x, max_size=4),
    max_leaves=8,
)


@settings(max_examples=200)
@given(st.lists(JSON, max_size=4), st.lists(JSON, max_size=4))
def test_whatever_is_sent(chunks: list[Any], parts: list[Any]) -> None:
    reader = GeminiReader(lambda _: ProviderError("vendor"), model="m")
    whole = {"candidates": [{"content": {"parts": parts}}]}
    try:
        for each in (whole, *chunks):
            list(reader.take(ServerSentEvent(data=json.dumps(each))))
        list(reader.finish())
    except ProviderError:
        pass
