"""Streams of Chat Completions: what OpenAI sends, and what others send instead."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from rustyclaw import ProviderError, ThinkingDelta, Usage
from rustyclaw_http.decoding import ServerSentEvent
from rustyclaw_http.testing.hearing import HeardCall, Hearing, hear, request
from rustyclaw_http.testing.server import Answer, FakeVendor
from rustyclaw_openai.chat_request import ChatWriter
from rustyclaw_openai.chat_stream import ChatReader
from rustyclaw_openai.presets import OpenRouterProvider

from .conftest import Make, call_piece, chat, chunk, usage_chunk


async def heard_of(
    make: Make, vendor: FakeVendor, answer: Answer, *presets: Any, **fields: Any
) -> Hearing:
    vendor.script(answer)
    async with make(*presets, **fields) as provider:
        return await hear(provider, request())


async def test_parallel_calls(make: Make, vendor: FakeVendor) -> None:
    heard = await heard_of(
        make,
        vendor,
        chat(
            {"role": "assistant", "content": None},
            call_piece(0, "", id="call_a", name="weather"),
            call_piece(0, '{"ci'),
            call_piece(0, 'ty": "Oslo"}'),
            call_piece(1, "", id="call_b", name="weather"),
            call_piece(1, '{"city": "Rome"}'),
            finish="tool_calls",
        ),
    )
    assert heard.calls == [
        HeardCall("call_a", "weather", '{"city": "Oslo"}'),
        HeardCall("call_b", "weather", '{"city": "Rome"}'),
    ]
    assert heard.finished.stop_reason == "tool_calls"
    assert heard.finished.usage == Usage(input_tokens=20, output_tokens=5)


@pytest.mark.parametrize(
    ("pieces", "calls"),
    [
        (  # no index: each id begins a call, and the rest belongs to the last
            [
                call_piece(None, '{"a"', id="x", name="f"),
                call_piece(None, ": 1}"),
                call_piece(None, "{}", id="y", name="g"),
            ],
            [HeardCall("x", "f", '{"a": 1}'), HeardCall("y", "g", "{}")],
        ),
        (  # the same index for all
            [
                call_piece(0, "{}", id="x", name="f"),
                call_piece(0, "{}", id="y", name="f"),
            ],
            [HeardCall("x", "f", "{}"), HeardCall("y", "f", "{}")],
        ),
        (  # id and name in each piece
            [
                call_piece(0, '{"a"', id="x", name="f"),
                call_piece(0, ":1}", id="x", name="f"),
            ],
            [HeardCall("x", "f", '{"a":1}')],
        ),
        (  # arguments as an object
            [call_piece(0, {"a": 1}, id="x", name="f")],
            [HeardCall("x", "f", '{"a": 1}')],
        ),
        (  # no arguments at all
            [call_piece(0, id="x", name="f")],
            [HeardCall("x", "f", "")],
        ),
        (  # an index that somebody chose
            [call_piece(10**9, "{}", id="x", name="f")],
            [HeardCall("x", "f", "{}")],
        ),
        (  # nonsense
            [
                {"tool_calls": "x"},
                {"tool_calls": [None, 7]},
                {"tool_calls": [{"function": 1}]},
            ],
            [HeardCall("", "", "")],
        ),
    ],
)  # fmt: skip
async def test_calls_of_others(
    make: Make, vendor: FakeVendor, pieces: list[Any], calls: list[HeardCall]
) -> None:
    heard = await heard_of(make, vendor, chat(*pieces))
    assert heard.calls == calls
    assert heard.finished.stop_reason == "tool_calls"


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("model_length", "length"),
        ("content_filter", "refusal"),
        ("eos", "stop"),
    ],
)
async def test_ends(make: Make, vendor: FakeVendor, finish: str, reason: str) -> None:
    heard = await heard_of(make, vendor, chat({"content": "a"}, finish=finish))
    assert heard.finished.stop_reason == reason


async def test_a_call_that_was_cut_by_the_limit(make: Make, vendor: FakeVendor) -> None:
    piece = call_piece(0, '{"city": "Os', id="a", name="weather")
    heard = await heard_of(make, vendor, chat(piece, finish="length"))
    assert heard.finished.stop_reason == "length"


async def test_a_refusal(make: Make, vendor: FakeVendor) -> None:
    heard = await heard_of(
        make, vendor, chat({"refusal": "I can"}, {"refusal": "not."})
    )
    assert (heard.text, heard.finished.stop_reason) == ("I cannot.", "refusal")


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
async def test_thoughts(make: Make, vendor: FakeVendor, key: str) -> None:
    heard = await heard_of(
        make, vendor, chat({key: "hm"}, {key: "!"}, {"content": "a"})
    )
    assert (heard.thinking, heard.text) == ("hm!", "a")


async def test_characters_that_were_torn(make: Make, vendor: FakeVendor) -> None:
    crab = ("\ud83e", "\udd80")
    heard = await heard_of(
        make,
        vendor,
        chat(
            *({"reasoning": half} for half in crab),
            *({"content": half} for half in crab),
            call_piece(0, f'{{"a": "{crab[0]}', id="x", name="f"),
            call_piece(0, f'{crab[1]}"}}'),
        ),
    )
    assert (heard.thinking, heard.text) == ("🦀", "🦀")
    assert heard.calls[0].arguments == {"a": "🦀"}


async def test_thoughts_of_mistral(make: Make, vendor: FakeVendor) -> None:
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}, 7]}
    parts = [thought, {"type": "text", "text": "a"}, None]
    heard = await heard_of(make, vendor, chat({"content": parts}, {"content": "b"}))
    assert (heard.thinking, heard.text) == ("hm", "ab")


async def test_thoughts_of_openrouter_come_back(make: Make, vendor: FakeVendor) -> None:
    def details(**fields: Any) -> Any:
        return {"reasoning_details": [{"type": "reasoning.text", "index": 0, **fields}]}

    heard = await heard_of(
        make,
        vendor,
        chat(
            {"reasoning": "I ", **details(text="I ")},
            {"reasoning": "think", **details(text="think")},
            details(signature="sig"),
            {
                "reasoning_details": [
                    {"type": "reasoning.encrypted", "data": "x", "index": 1}
                ]
            },
            {"content": "a"},
        ),
        OpenRouterProvider,
    )
    assert heard.thinking == "I think"
    signed = heard.events[-2]
    assert isinstance(signed, ThinkingDelta)
    assert json.loads((signed.signature or "").removeprefix("openrouter:")) == [
        {"type": "reasoning.text", "index": 0, "text": "I think", "signature": "sig"},
        {"type": "reasoning.encrypted", "data": "x", "index": 1},
    ]


@pytest.mark.parametrize(
    ("usage", "found"),
    [
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 7,
                "prompt_tokens_details": {"cached_tokens": 60},
            },
            Usage(input_tokens=40, output_tokens=7, cache_read_tokens=60),
        ),
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 7,
                "prompt_tokens_details": {
                    "cached_tokens": 60,
                    "cache_write_tokens": 30,
                },
            },
            Usage(
                input_tokens=10,
                output_tokens=7,
                cache_read_tokens=60,
                cache_write_tokens=30,
            ),
        ),
        (  # DeepSeek
            {
                "prompt_tokens": 100,
                "completion_tokens": 7,
                "prompt_cache_hit_tokens": 64,
            },
            Usage(input_tokens=36, output_tokens=7, cache_read_tokens=64),
        ),
        (  # xAI counts reasoning in the total only
            {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 150},
            Usage(input_tokens=100, output_tokens=50),
        ),
        (
            {
                "prompt_tokens": -5,
                "completion_tokens": None,
                "prompt_tokens_details": 7,
            },
            Usage(),
        ),
    ],
)
async def test_usage(
    make: Make, vendor: FakeVendor, usage: dict[str, Any], found: Usage
) -> None:
    answer = Answer.sse(chunk({"content": "a"}, "stop"), usage_chunk(**usage), "[DONE]")
    assert (await heard_of(make, vendor, answer)).finished.usage == found


async def test_usage_of_groq(make: Make, vendor: FakeVendor) -> None:
    extra = {"usage": {"prompt_tokens": 9, "completion_tokens": 3}}
    answer = Answer.sse(chunk({"content": "a"}, "stop", x_groq=extra), "[DONE]")
    usage = (await heard_of(make, vendor, answer)).finished.usage
    assert usage == Usage(input_tokens=9, output_tokens=3)


# --- Streams that are not whole -------------------------------------------------

HELLO = chunk({"content": "Hello"})
HALF_CALL = chunk(call_piece(0, '{"city": "Os', id="a", name="weather"))


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (Answer.sse(HELLO), "timeout", "in the middle"),
        (Answer.sse(HELLO, end="cut"), "timeout", "broke off"),
        (Answer.sse(HELLO, end="reset"), "timeout", "broke off"),
        (Answer.sse(HELLO, end="hang"), "timeout", "fell silent"),
        (Answer.sse(HALF_CALL), "timeout", "in the middle"),
        (Answer.sse(HALF_CALL, end="reset"), "timeout", "broke off"),
        (Answer.sse(), "timeout", "in the middle"),
        (Answer(end="hang"), "timeout", "fell silent"),
        (Answer.sse(HELLO, "{broken"), "timeout", "no JSON"),
        (Answer.sse(HELLO, "[1, 2]"), "timeout", "no JSON"),
        (Answer.sse(HELLO, "[" * 100_000), "timeout", "no JSON"),
        (Answer.sse(HELLO, chunk({}, "error")), "unknown", "error"),
        (
            Answer.sse(HELLO, chunk({}, "insufficient_system_resource")),
            "overloaded",
            "insufficient_system_resource",
        ),
        (  # OpenRouter
            Answer.sse(
                HELLO,
                chunk(
                    {}, "error", error={"code": 502, "message": "Provider disconnected"}
                ),
            ),
            "timeout",
            "502: Provider disconnected",
        ),
        (
            Answer.sse(
                {"error": {"message": "Rate limit reached", "code": "rate_limit"}}
            ),
            "rate_limit",
            "Rate limit reached",
        ),
        (
            Answer.sse(
                ("error", {"message": "prompt is too long: 9 tokens > 8 maximum"})
            ),
            "context_overflow",
            "too long",
        ),
    ],
)
async def test_failures(
    make: Make, vendor: FakeVendor, answer: Answer, kind: str, words: str
) -> None:
    heard = await heard_of(make, vendor, answer, idle_timeout_seconds=0.2)
    assert heard.error is not None
    assert (heard.error.kind, heard.error.provider) == (kind, "openai")
    assert words in str(heard.error)


@pytest.mark.parametrize("end", ["eof", "cut", "reset"])
async def test_an_answer_is_whole_without_done(
    make: Make, vendor: FakeVendor, end: Any
) -> None:
    answer = Answer.sse(HELLO, chunk({}, "stop"), end=end)
    heard = await heard_of(make, vendor, answer)
    assert heard.finished.stop_reason == "stop"


async def test_a_server_that_never_hangs_up(
    make: Make, vendor: FakeVendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rustyclaw_openai.chat_stream.USAGE_SECONDS", 0.1)
    answer = Answer.sse(HELLO, chunk({}, "stop"), end="hang")
    heard = await heard_of(make, vendor, answer, idle_timeout_seconds=30)
    assert heard.finished.stop_reason == "stop"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda x: st.lists(x, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["choices", "delta", "index", "content", "tool_calls", "function", "id",
             "name", "arguments", "finish_reason", "usage", "reasoning_details", "type",
             "prompt_tokens", "prompt_tokens_details", "error", "x_groq", "text"]
        ),
        x,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=200)
@given(st.lists(JSON, max_size=4))
def test_whatever_is_sent(values: list[Any]) -> None:
    reader = ChatReader(lambda _: ProviderError("vendor"), keeps_details=True)
    try:
        for value in values:
            chunks = {"choices": [{"delta": value}], "usage": value}
            for data in (value, chunks):
                list(reader.take(ServerSentEvent(data=json.dumps(data))))
        list(reader.finish())
    except ProviderError:
        pass


def test_the_writer_has_no_state_between_requests() -> None:
    writer = ChatWriter()
    assert writer.messages(request("a")) == writer.messages(request("a"))
