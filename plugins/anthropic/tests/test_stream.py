"""Streams of the Messages API."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from rustyclaw import Finished, ProviderError, ThinkingDelta, Usage
from rustyclaw_anthropic.stream import MessageReader
from rustyclaw_http.decoding import ServerSentEvent
from rustyclaw_http.testing.hearing import HeardCall, Hearing, hear, request
from rustyclaw_http.testing.server import Answer, FakeVendor

from .conftest import Make, answer, call, end, redacted, start, stream, text, thought


async def heard_of(
    make: Make, vendor: FakeVendor, given: Answer, **fields: Any
) -> Hearing:
    vendor.script(given)
    async with make(**fields) as provider:
        return await hear(provider, request())


async def test_an_answer(make: Make, vendor: FakeVendor) -> None:
    cached = {"cache_read_input_tokens": 800, "cache_creation_input_tokens": 90}
    given = stream(start(**cached), *text("Hel", "lo"), *end(output_tokens=7))
    heard = await heard_of(make, vendor, given)
    assert heard.text == "Hello"
    assert heard.finished == Finished(
        stop_reason="stop",
        usage=Usage(
            input_tokens=20,
            output_tokens=7,
            cache_read_tokens=800,
            cache_write_tokens=90,
        ),
    )


async def test_counts_at_the_end_win(make: Make, vendor: FakeVendor) -> None:
    given = stream(start(), *text("a"), *end(input_tokens=31, output_tokens=9))
    usage = (await heard_of(make, vendor, given)).finished.usage
    assert (usage.input_tokens, usage.output_tokens) == (31, 9)


async def test_thoughts_and_parallel_calls(make: Make, vendor: FakeVendor) -> None:
    given = answer(
        thought("I must ", "look."),
        redacted("b2lua29pbms=", index=1),
        text("Let me see.", index=2),
        call(3, "toolu_1", "weather", '{"city":', ' "Oslo"}'),
        thought("And there.", index=4, sign="Zz9"),
        call(5, "toolu_2", "weather", '{"city": "Rome"}'),
        reason="tool_use",
    )
    heard = await heard_of(make, vendor, given)

    assert heard.thinking == "I must look.And there."
    assert heard.text == "Let me see."
    assert heard.calls == [
        HeardCall("toolu_1", "weather", '{"city": "Oslo"}'),
        HeardCall("toolu_2", "weather", '{"city": "Rome"}'),
    ]
    assert heard.finished.stop_reason == "tool_calls"
    signed = [
        (event.signature, event.redacted)
        for event in heard.events
        if isinstance(event, ThinkingDelta) and event.signature
    ]
    assert signed == [
        ("anthropic:m:Eq1", False),
        ("anthropic:m:b2lua29pbms=", True),
        ("anthropic:m:Zz9", False),
    ]


async def test_a_thought_that_is_not_shown_is_signed(
    make: Make, vendor: FakeVendor
) -> None:
    heard = await heard_of(make, vendor, answer(thought(), text("a", index=1)))
    assert heard.thinking == ""
    assert heard.events[0] == ThinkingDelta(signature="anthropic:m:Eq1")


@pytest.mark.parametrize(
    ("reason", "stop"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("tool_use", "tool_calls"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "refusal"),
        ("something_new", "stop"),
    ],
)
async def test_ends(make: Make, vendor: FakeVendor, reason: str, stop: str) -> None:
    heard = await heard_of(make, vendor, answer(text("a"), reason=reason))
    assert heard.finished.stop_reason == stop


async def test_no_room_for_any_answer(make: Make, vendor: FakeVendor) -> None:
    given = answer(reason="model_context_window_exceeded")
    heard = await heard_of(make, vendor, given)
    assert heard.error is not None
    assert heard.error.kind == "context_overflow"


async def test_a_model_that_declines(make: Make, vendor: FakeVendor) -> None:
    heard = await heard_of(make, vendor, answer(reason="refusal"))
    assert heard.text == "[the model declined to answer]"
    assert heard.finished.stop_reason == "refusal"
    given = answer(call(0, "toolu_1", "weather", "{}"), reason="refusal")
    heard = await heard_of(make, vendor, given)
    assert heard.error is not None  # so that the call does not run
    assert (heard.error.kind, heard.error.retryable) == ("format", False)


async def test_a_call_that_was_cut_by_the_limit(make: Make, vendor: FakeVendor) -> None:
    given = answer(call(0, "toolu_1", "weather", '{"city": "Os'), reason="max_tokens")
    heard = await heard_of(make, vendor, given)
    assert heard.finished.stop_reason == "length"


async def test_a_character_in_two_pieces(make: Make, vendor: FakeVendor) -> None:
    heard = await heard_of(make, vendor, answer(text("a\ud83e", "\udd80b")))
    assert heard.text == "a🦀b"


async def test_news_is_ignored(make: Make, vendor: FakeVendor) -> None:
    news = [
        {"type": "ping"},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "new"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "new_delta"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "news"},
    ]
    given = stream(start(), *news, *text("a", index=1), *end())
    assert (await heard_of(make, vendor, given)).text == "a"


async def test_a_call_that_comes_at_once(make: Make, vendor: FakeVendor) -> None:
    begin, stop = call(0, "toolu_1", "weather")
    begin["content_block"]["input"] = {"city": "Oslo"}
    given = stream(start(), begin, stop, *end())
    heard = await heard_of(make, vendor, given)
    assert heard.calls == [HeardCall("toolu_1", "weather", '{"city": "Oslo"}')]
    assert heard.finished.stop_reason == "tool_calls"


def fault(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


BEGUN = [start(), *text("Hello")[:2]]
HALF = [start(), *call(0, "toolu_1", "weather", '{"city": "Os')[:2]]


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        (stream(*BEGUN), "timeout", "in the middle"),
        (stream(*BEGUN, end="cut"), "timeout", "broke off"),
        (stream(*BEGUN, end="reset"), "timeout", "broke off"),
        (stream(*BEGUN, end="hang"), "timeout", "fell silent"),
        (stream(*HALF), "timeout", "in the middle"),
        (stream(*HALF, end="reset"), "timeout", "broke off"),
        (stream(start(), *text("a"), end()[0]), "timeout", "in the middle"),
        (Answer.sse("{"), "timeout", "no JSON object"),
        (stream(*BEGUN, fault("overloaded_error", "Over")), "overloaded", "Over"),
        (stream(*BEGUN, fault("api_error", "Oops")), "timeout", "Oops"),
        (stream(fault("rate_limit_error", "Slow")), "rate_limit", "Slow"),
        (
            stream(fault("invalid_request_error", "prompt is too long: 9 tokens > 5")),
            "context_overflow",
            "too long",
        ),
        (Answer.json(fault("overloaded_error", "Over")), "overloaded", "Over"),
        (Answer(delay_seconds=3), "timeout", "fell silent"),
    ],
)  # fmt: skip
async def test_failures(
    make: Make, vendor: FakeVendor, given: Answer, kind: str, words: str
) -> None:
    heard = await heard_of(make, vendor, given, idle_timeout_seconds=0.2)
    assert heard.error is not None
    assert heard.error.kind == kind, heard.error
    assert words in str(heard.error)


async def test_a_slow_answer_ends_in_time(make: Make, vendor: FakeVendor) -> None:
    def drip() -> Any:
        while True:
            yield b": still here\n\n"
            yield 0.05

    heard = await heard_of(make, vendor, Answer(chunks=drip()), total_timeout_seconds=1)
    assert heard.error is not None
    assert "did not finish" in str(heard.error)


TYPES = st.sampled_from(
    ["message_start", "content_block_start", "content_block_delta", "error",
     "content_block_stop", "message_delta", "message_stop", "ping", ""]
)  # fmt: skip
WORDS = st.sampled_from(
    ["text", "thinking", "redacted_thinking", "tool_use", "text_delta", "x",
     "input_json_delta", "signature_delta", "thinking_delta", "refusal"]
)  # fmt: skip
FIELDS = st.sampled_from(
    ["index", "content_block", "delta", "type", "text", "partial_json", "signature",
     "message", "usage", "input_tokens", "stop_reason", "input", "id", "data"]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.integers() | WORDS,
    lambda x: st.lists(x, max_size=2) | st.dictionaries(FIELDS, x, max_size=4),
    max_leaves=8,
)


@settings(max_examples=200)
@given(
    st.lists(st.tuples(TYPES, st.dictionaries(FIELDS, JSON, max_size=4)), max_size=6)
)
def test_whatever_is_sent(sent: list[tuple[str, Any]]) -> None:
    reader = MessageReader(lambda _: ProviderError("vendor"), model="m")
    try:
        for kind, fields in sent:
            fields = {**fields, "type": kind}
            list(reader.take(ServerSentEvent(data=json.dumps(fields))))
        list(reader.finish())
    except ProviderError:
        pass
