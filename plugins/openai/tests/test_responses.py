"""The Responses API: requests as they arrive, and streams as they are read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from rustyclaw import (
    File,
    Image,
    Message,
    ModelRequest,
    ProviderError,
    Text,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolResult,
    ToolSchema,
    Usage,
)
from rustyclaw_http.decoding import ServerSentEvent
from rustyclaw_http.testing.hearing import HeardCall, Hearing, hear, request
from rustyclaw_http.testing.server import Answer, FakeVendor
from rustyclaw_openai.responses_request import Reasoning, items
from rustyclaw_openai.responses_stream import ResponsesReader

from .conftest import Make, call_item, reasoning_item, responses, text_item

PNG = Image(data=b"\x89PNG\r\n\x1a\n", media_type="image/png")
PDF = File(data=b"%PDF-1.7", media_type="application/pdf", name="a.pdf")
WEATHER = ToolSchema(name="weather", description="w", parameters={"type": "object"})


async def heard_of(
    make: Make,
    vendor: FakeVendor,
    answer: Answer,
    asked: ModelRequest | None = None,
    **fields: Any,
) -> Hearing:
    vendor.script(answer)
    async with make(api="responses", **fields) as provider:
        return await hear(provider, asked or request(model="gpt-5.6"))


# --- What is sent ---------------------------------------------------------------


async def test_all_fields(make: Make, vendor: FakeVendor) -> None:
    asked = request(
        model="gpt-5.6",
        system="Be brief.",
        tools=(WEATHER,),
        thinking="high",
        max_tokens=99,
        temperature=0.5,
    )
    await heard_of(make, vendor, responses(*text_item("a")), asked)

    assert vendor.requests[0].target == "/v1/responses"
    assert vendor.requests[0].json == {
        "model": "gpt-5.6",
        "instructions": "Be brief.",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}],
        "stream": True,
        "store": False,
        "max_output_tokens": 99,
        "reasoning": {"effort": "high", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "tools": [
            {
                "type": "function",
                "name": "weather",
                "description": "w",
                "parameters": {"type": "object", "properties": {}},
                "strict": False,
            }
        ],
    }


@pytest.mark.parametrize(
    ("model", "thinking", "fields", "reasoning"),
    [
        ("gpt-5.6", "off", {}, {"effort": "none"}),
        ("gpt-5", "off", {}, {"effort": "minimal", "summary": "auto"}),
        ("o3", "off", {}, {"effort": "low", "summary": "auto"}),
        ("o3", "xhigh", {}, {"effort": "high", "summary": "auto"}),
        ("gpt-5.6", "low", {"reasoning_summary": "none"}, {"effort": "low"}),
        ("gpt-4o", "high", {}, None),
    ],
)
async def test_thinking(
    make: Make,
    vendor: FakeVendor,
    model: str,
    thinking: str,
    fields: Any,
    reasoning: Any,
) -> None:
    asked = request(model=model, thinking=thinking, max_tokens=1, temperature=0.5)
    await heard_of(make, vendor, responses(*text_item("a")), asked, **fields)
    body = vendor.requests[0].json
    assert body.get("reasoning") == reasoning
    assert ("temperature" in body) == (reasoning is None)
    assert body["max_output_tokens"] == 16


def signed(model: str = "m", id: str = "rs_1", text: str = "hm") -> Thinking:
    reasoning = Reasoning(id=id, encrypted="gAAAA", model=model)
    return Thinking(text=text, signature=reasoning.signature())


def written(*messages: Message, model: str = "m", sees: bool = True) -> list[Any]:
    return items(ModelRequest(model=model, system="", messages=messages), sees=sees)


def foreign(signature: str) -> Thinking:
    return Thinking(text="x", signature=signature)


def assistant(*blocks: Any) -> Message:
    return Message(role="assistant", content=blocks)


CALL = ToolCall(id="call_1", name="weather", arguments={"city": "Zürich"})


def test_a_conversation() -> None:
    result = ToolResult(text="rain", call_id="call_1", name="weather", media=(PNG,))
    user, reasoning, text, call, output = written(
        Message.user("look", PNG, PDF),
        assistant(signed(), Text(text="Let me see."), CALL),
        Message(role="tool", content=(result,)),
    )
    kinds = [part["type"] for part in user["content"]]
    assert kinds == ["input_text", "input_image", "input_file"]
    assert reasoning == {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "hm"}],
        "encrypted_content": "gAAAA",
    }
    assert text == {"role": "assistant", "content": "Let me see."}
    assert (call["type"], call["call_id"]) == ("function_call", "call_1")
    assert json.loads(call["arguments"]) == {"city": "Zürich"}
    assert (output["type"], output["call_id"]) == ("function_call_output", "call_1")
    assert [part["type"] for part in output["output"]] == ["input_text", "input_image"]


@pytest.mark.parametrize(
    ("message", "kinds"),
    [
        (assistant(signed(), CALL), ["reasoning", "function_call"]),
        (assistant(signed(), Text(text="a")), ["reasoning", "assistant"]),
        (assistant(Text(text="a"), signed()), ["assistant"]),
        (assistant(signed("other"), CALL), ["function_call"]),
        (assistant(foreign("sig"), CALL), ["function_call"]),
        (assistant(foreign("responses:["), CALL), ["function_call"]),
        (assistant(foreign("responses:3"), CALL), ["function_call"]),
        (assistant(Thinking(text="x"), CALL), ["function_call"]),
        (assistant(signed(), signed(id="rs_2"), CALL), ["reasoning", "function_call"]),
    ],
)  # fmt: skip
def test_reasoning_without_what_it_led_to_is_left_out(
    message: Message, kinds: list[str]
) -> None:
    assert [item.get("type") or item["role"] for item in written(message)] == kinds


def test_what_a_model_cannot_see() -> None:
    (user,) = written(Message.user("look", PNG), sees=False)
    assert "cannot see" in user["content"][1]["text"]


# --- What comes back ------------------------------------------------------------


async def test_an_answer(make: Make, vendor: FakeVendor) -> None:
    heard = await heard_of(make, vendor, responses(*text_item("Hel", "lo")))
    assert heard.text == "Hello"
    assert heard.finished.stop_reason == "stop"
    assert heard.finished.usage == Usage(
        input_tokens=12, output_tokens=5, cache_read_tokens=8
    )


async def test_thoughts_and_calls(make: Make, vendor: FakeVendor) -> None:
    answer = responses(
        *reasoning_item(0, "First.", "Second."),
        *text_item("Let me see.", index=1),
        *call_item(2, "call_a", "weather", '{"city":', ' "Oslo"}'),
        *call_item(3, "call_b", "weather", whole='{"city": "Rome"}'),
    )
    heard = await heard_of(make, vendor, answer)

    assert heard.thinking == "First.\n\nSecond."
    assert heard.text == "Let me see."
    assert heard.calls == [
        HeardCall("call_a", "weather", '{"city": "Oslo"}'),
        HeardCall("call_b", "weather", '{"city": "Rome"}'),
    ]
    assert heard.finished.stop_reason == "tool_calls"
    (signature,) = [
        e.signature
        for e in heard.events
        if isinstance(e, ThinkingDelta) and e.signature
    ]
    assert Reasoning.of(Thinking(text="", signature=signature)) == Reasoning(
        id="rs_0", encrypted="gAAAA-secret", model="gpt-5.6"
    )


async def test_calls_that_interleave(make: Make, vendor: FakeVendor) -> None:
    first, second = call_item(0, "a", "f", "{", "}"), call_item(1, "b", "g", "{", "}")
    mixed = [event for pair in zip(first, second, strict=True) for event in pair]
    heard = await heard_of(make, vendor, responses(*mixed))
    assert heard.calls == [HeardCall("a", "f", "{}"), HeardCall("b", "g", "{}")]


@pytest.mark.parametrize(
    ("reason", "stop"), [("max_output_tokens", "length"), ("content_filter", "refusal")]
)
async def test_incomplete(
    make: Make, vendor: FakeVendor, reason: str, stop: str
) -> None:
    details = {"incomplete_details": {"reason": reason}}
    answer = responses(*text_item("a"), status="incomplete", **details)
    assert (await heard_of(make, vendor, answer)).finished.stop_reason == stop


async def test_a_refusal(make: Make, vendor: FakeVendor) -> None:
    refusal = {"type": "response.refusal.delta", "output_index": 0, "delta": "No."}
    heard = await heard_of(make, vendor, responses(refusal))
    assert (heard.text, heard.finished.stop_reason) == ("No.", "refusal")


async def test_unknown_events_are_ignored(make: Make, vendor: FakeVendor) -> None:
    news = {"type": "response.web_search_call.searching", "output_index": 0}
    heard = await heard_of(make, vendor, responses(news, *text_item("a")))
    assert heard.text == "a"


FAULT = {"type": "error", "message": "Oops"}
HELLO = {"type": "response.output_text.delta", "output_index": 0, "delta": "Hello"}


def failed(code: str, message: str) -> Any:
    error = {"code": code, "message": message}
    return {"type": "response.failed", "response": {"status": "failed", "error": error}}


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (Answer.sse(HELLO), "timeout", "in the middle"),
        (Answer.sse(HELLO, end="reset"), "timeout", "broke off"),
        (Answer.sse(HELLO, end="hang"), "timeout", "fell silent"),
        (Answer.sse(*call_item(0, "a", "f", '{"x')[:2]), "timeout", "in the middle"),
        (Answer.sse(HELLO, "{"), "timeout", "no JSON"),
        (Answer.sse(HELLO, failed("server_error", "Oops")), "timeout", "Oops"),
        (Answer.sse(failed("rate_limit_exceeded", "Slow down")), "rate_limit", "Slow"),
        (
            Answer.sse(failed("context_length_exceeded", "Your input exceeds")),
            "context_overflow",
            "exceeds",
        ),
        (
            Answer.sse(("error", {**FAULT, "code": "insufficient_quota"})),
            "billing",
            "Oops",
        ),
        (
            Answer.sse({"error": {**FAULT, "code": "invalid_api_key"}}),
            "auth",
            "Oops",
        ),
        (Answer.sse({"error": {"message": "Overloaded"}}), "overloaded", "Overloaded"),
    ],
)  # fmt: skip
async def test_failures(
    make: Make, vendor: FakeVendor, answer: Answer, kind: str, words: str
) -> None:
    heard = await heard_of(make, vendor, answer, idle_timeout_seconds=0.2)
    assert heard.error is not None
    assert heard.error.kind == kind, heard.error
    assert words in str(heard.error)


TYPES = st.sampled_from(
    [
        "response.output_item.added",
        "response.output_item.done",
        "response.function_call_arguments.delta",
        "response.output_text.delta",
        "response.reasoning_summary_part.added",
        "response.completed",
        "response.failed",
        "error",
    ]
)
JSON = st.recursive(
    st.none() | st.integers() | st.sampled_from(["function_call", "reasoning", "x"]),
    lambda x: st.lists(x, max_size=2)
    | st.dictionaries(
        st.sampled_from(
            ["item", "response", "delta", "output_index", "type", "usage", "call_id",
             "arguments", "encrypted_content", "incomplete_details", "reason", "error"]
        ),
        x,
        max_size=4,
    ),
    max_leaves=10,
)  # fmt: skip


@settings(max_examples=200)
@given(st.lists(st.tuples(TYPES, JSON), max_size=6))
def test_whatever_is_sent(sent: list[tuple[str, Any]]) -> None:
    reader = ResponsesReader(lambda _: ProviderError("vendor"), model="m")
    try:
        for kind, value in sent:
            fields = value if isinstance(value, dict) else {"item": value}
            fields = {"response": value, "item": value, **fields, "type": kind}
            list(reader.take(ServerSentEvent(data=json.dumps(fields))))
        list(reader.finish())
    except ProviderError:
        pass
