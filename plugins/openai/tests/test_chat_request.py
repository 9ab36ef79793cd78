"""Requests of Chat Completions, as they arrive at the vendor."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rustyclaw import (
    Audio,
    File,
    Image,
    Message,
    ModelRequest,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    ToolSchema,
)
from rustyclaw_http.testing.hearing import hear, request
from rustyclaw_http.testing.server import FakeVendor
from rustyclaw_openai.chat_request import ChatWriter, short_id, strict9

from .conftest import KEY, Make, chat

PNG = Image(data=b"\x89PNG\r\n\x1a\n", media_type="image/png")
PDF = File(data=b"%PDF-1.7", media_type="application/pdf", name="a.pdf")
WEATHER = ToolSchema(
    name="weather",
    description="Tell the weather.",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}},
)


async def sent(
    make: Make, vendor: FakeVendor, asked: ModelRequest, **fields: Any
) -> Any:
    vendor.script(chat({"content": "ok"}))
    async with make(**fields) as provider:
        heard = await hear(provider, asked)
    assert heard.error is None, heard.error
    return vendor.requests[-1].json


async def test_all_fields(make: Make, vendor: FakeVendor) -> None:
    asked = request(
        model="gpt-4o",
        system="Be brief.",
        tools=(WEATHER,),
        max_tokens=99,
        temperature=0.5,
        extra={"user": "u1"},
    )
    body = await sent(make, vendor, asked, extra_body={"service_tier": "flex"})

    assert body == {
        "model": "gpt-4o",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hi"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 99,
        "temperature": 0.5,
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "weather",
                    "description": "Tell the weather.",
                    "parameters": WEATHER.parameters,
                },
            }
        ],
        "service_tier": "flex",
        "user": "u1",
    }
    received = vendor.requests[0]
    assert received.target == "/v1/chat/completions"
    assert received.headers["authorization"] == f"Bearer {KEY}"


async def test_models_that_think(make: Make, vendor: FakeVendor) -> None:
    asked = request(model="o3", thinking="medium", temperature=0.5, max_tokens=99)
    body = await sent(make, vendor, asked)
    assert body["reasoning_effort"] == "medium"
    assert body["max_completion_tokens"] == 99
    assert not {"temperature", "max_tokens"} & set(body)


async def test_tools_and_thinking_do_not_go_together_there(
    make: Make, vendor: FakeVendor
) -> None:
    asked = request(model="gpt-5.6", thinking="high", tools=(WEATHER,))
    assert (await sent(make, vendor, asked))["reasoning_effort"] == "none"
    asked = request(model="gpt-5", thinking="high", tools=(WEATHER,))
    assert (await sent(make, vendor, asked))["reasoning_effort"] == "high"


async def test_an_unknown_level(make: Make, vendor: FakeVendor) -> None:
    async with make() as provider:
        heard = await hear(provider, request(model="o3", thinking="hard"))
    assert heard.error is not None
    assert heard.error.kind == "format"
    assert "'hard'; use one of off, minimal" in str(heard.error)
    assert not vendor.requests


def written(*messages: Message, model: str = "m", **fields: Any) -> list[Any]:
    asked = ModelRequest(model=model, system="", messages=messages)
    return ChatWriter(**fields).messages(asked)


def test_attachments() -> None:
    note = File(data=b"x: 1", media_type="text/yaml", name="x.yaml")
    song = Audio(data=b"", media_type="audio/ogg")
    broken = Image(data=b"<svg>", media_type="image/svg+xml")
    (message,) = written(
        Message.user("look", PNG, PDF, note, song, broken), reads_pdf=True
    )

    assert message["role"] == "user"
    text, picture, pdf, *others = message["content"]
    assert text == {"type": "text", "text": "look"}
    assert picture == {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="},
    }
    assert pdf["file"]["filename"] == "a.pdf"
    assert pdf["file"]["file_data"].startswith("data:application/pdf;base64,")
    assert [part["type"] for part in others] == ["text"] * 3
    assert others[0]["text"] == "[file 'x.yaml']\nx: 1"


def test_what_a_model_cannot_take_becomes_a_note() -> None:
    (message,) = written(Message.user("look", PNG, PDF), sees=False)
    assert message["content"] == (
        "look\n\n[a picture was left out: the model cannot see]\n\n"
        "[file 'a.pdf' (application/pdf) cannot be shown]"
    )


CALLS = Message(
    role="assistant",
    content=(
        Thinking(text="hm", signature="foreign"),
        ToolCall(id="call_1", name="weather", arguments={"city": "Zürich"}),
        ToolCall(id="call_2", name="camera"),
    ),
)
RESULTS = Message(
    role="tool",
    content=(
        ToolResult(text="rain", call_id="call_1", name="weather"),
        ToolResult(is_error=True, call_id="call_2", name="camera", media=(PNG,)),
    ),
)


def test_calls_and_results() -> None:
    said, rain, camera, shown = written(CALLS, RESULTS)

    assert said["content"] is None
    first, second = said["tool_calls"]
    assert (first["id"], first["type"]) == ("call_1", "function")
    assert json.loads(first["function"]["arguments"]) == {"city": "Zürich"}
    assert second["function"] == {"name": "camera", "arguments": "{}"}
    assert "reasoning_content" not in said
    assert rain == {"role": "tool", "tool_call_id": "call_1", "content": "rain"}
    assert camera["content"] == "[the tool failed]\n(no output)"
    assert shown["role"] == "user"
    assert shown["content"][0]["text"] == "[from the tool 'camera']"
    assert shown["content"][1]["type"] == "image_url"


def test_reasoning_is_shown_again_to_deepseek() -> None:
    said, *_ = written(CALLS, RESULTS, replay="reasoning_content")
    assert said["reasoning_content"] == "hm"
    (plain,) = written(Message.assistant("hi"), replay="reasoning_content")
    assert "reasoning_content" not in plain


def test_reasoning_is_shown_again_to_openrouter() -> None:
    details = [{"type": "reasoning.encrypted", "data": "xyz", "index": 0}]
    signature = f"openrouter:{json.dumps(details)}"
    thoughts = (
        Thinking(text="", signature=signature),
        Thinking(text="", signature="openrouter:{broken"),
        Thinking(text="x", signature="foreign"),
    )
    message = Message(role="assistant", content=(*thoughts, Text(text="hi")))
    (said,) = written(message, replay="reasoning_details")
    assert said["reasoning_details"] == details


def test_a_bridge_between_a_tool_and_a_user() -> None:
    roles = [
        m["role"] for m in written(CALLS, RESULTS, Message.user("go"), bridges=True)
    ]
    assert roles == ["assistant", "tool", "tool", "assistant", "user", "user"]


def test_ids_that_vendors_take() -> None:
    long = "toolu_" + "x" * 100
    assert short_id("call_1") == "call_1"
    assert len(short_id(long)) == 40
    assert strict9("abcDEF123") == "abcDEF123"
    assert strict9("call_1") != strict9("call_2")
    assert len(strict9("call_1")) == 9


@pytest.mark.parametrize("model", ["mistralai/mistral-medium-3.5", "codestral-latest"])
def test_mistral_by_any_way(model: str) -> None:
    said, *results = written(CALLS, RESULTS, model=model)
    ids = [call["id"] for call in said["tool_calls"]]
    assert ids == [r["tool_call_id"] for r in results if r["role"] == "tool"]
    assert all(len(call_id) == 9 and call_id.isalnum() for call_id in ids)


def test_what_json_does_not_know() -> None:
    call = ToolCall(id="a", name="x", arguments={"n": float("nan"), "s": "\ud83d"})
    (said,) = written(Message(role="assistant", content=(call,)))
    assert said["tool_calls"][0]["function"]["arguments"] == '{"n": null, "s": "?"}'
