"""Requests as they arrive at the server, and what it tells of its models."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from pydantic import ValidationError
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
from rustyclaw_http.testing.server import Answer
from rustyclaw_ollama.config import OllamaConfig
from rustyclaw_ollama.messages import conversation

from .conftest import FakeOllama, Make, failure

PNG = Image(data=b"\x89PNG\r\n\x1a\n", media_type="image/png")
WEATHER = ToolSchema(
    name="weather",
    description="Tell the weather.",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}},
)


async def sent(
    make: Make, ollama: FakeOllama, asked: ModelRequest, **fields: Any
) -> Any:
    async with make(**fields) as provider:
        heard = await hear(provider, asked)
    assert heard.error is None, heard.error
    return ollama.asked[-1]


async def test_all_fields(make: Make, ollama: FakeOllama) -> None:
    asked = request(
        model="qwen3",
        system="Be brief.",
        tools=(WEATHER,),
        max_tokens=99,
        temperature=0.5,
        thinking="low",
        extra={"format": "json"},
    )
    fields = {"keep_alive": "30m", "options": {"top_p": 0.9}}
    body = await sent(make, ollama, asked, extra_body={"shift": False}, **fields)
    assert body == {
        "model": "qwen3",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hi"},
        ],
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
        "stream": True,
        "truncate": False,
        "think": True,
        "keep_alive": "30m",
        "options": {
            "num_ctx": 32_768,
            "num_predict": 99,
            "temperature": 0.5,
            "top_p": 0.9,
        },
        "shift": False,
        "format": "json",
    }


@pytest.mark.parametrize(
    ("model", "level", "think"),
    [
        ("qwen3", "off", False),
        ("qwen3", "max", True),
        ("gemma3:12b", "high", None),
        ("gpt-oss:20b", "off", "low"),
        ("gpt-oss:20b", "xhigh", "high"),
    ],
)
async def test_thinking(
    make: Make, ollama: FakeOllama, model: str, level: str, think: Any
) -> None:
    body = await sent(make, ollama, request(model=model, thinking=level))
    assert body.get("think") == think


@pytest.mark.parametrize(
    ("model", "fields", "window"),
    [
        ("qwen3", {}, 32_768),
        ("qwen3", {"num_ctx": 8192}, 8192),
        ("qwen3", {"num_ctx": 65_536}, 40_960),
        ("gemma3:12b", {"num_ctx": 16_384}, 8192),
        ("gpt-oss:20b", {"num_ctx": 65_536}, 65_536),
        ("qwen3", {"models": [{"id": "qwen3", "context_window": 6000}]}, 6000),
        ("qwen3:latest", {"models": [{"id": "qwen3", "context_window": 6000}]}, 6000),
        ("qwen3", {"models": [{"id": "qwen3"}]}, 32_768),
        ("kimi-k2:1t-cloud", {}, None),
    ],
)
async def test_the_window_that_is_asked_for_is_the_one_that_is_told(
    make: Make, ollama: FakeOllama, model: str, fields: Any, window: int | None
) -> None:
    async with make(**fields) as provider:
        told = {info.id: info.context_window for info in await provider.models()}
        heard = await hear(provider, request(model=model))
    assert heard.error is None
    assert ollama.asked[-1]["options"].get("num_ctx") == window
    assert told[model] == window or (window is None and told[model] == 262_144)


@pytest.mark.parametrize(
    ("text", "value"),
    [("30m", "30m"), ("1h", "1h"), ("-1", -1), ("0", 0), ("300", 300)],
)
async def test_keep_alive(
    make: Make, ollama: FakeOllama, text: str, value: Any
) -> None:
    body = await sent(make, ollama, request(model="qwen3"), keep_alive=text)
    assert body["keep_alive"] == value


@pytest.mark.parametrize("fields", [{"keep_alive": "soon"}, {"num_ctx": 7}])
def test_wrong_settings(fields: Any) -> None:
    with pytest.raises(ValidationError):
        OllamaConfig.model_validate(fields)


async def test_a_model_that_cannot_call_tools_is_not_told_of_any(
    make: Make, ollama: FakeOllama, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        asked = request(model="gemma3:12b", tools=(WEATHER,))
        body = await sent(make, ollama, asked)
    assert "tools" not in body
    assert "'gemma3:12b'" in caplog.text


async def test_a_model_is_looked_at_once(make: Make, ollama: FakeOllama) -> None:
    async with make() as provider:
        for _ in range(3):
            assert (await hear(provider, request(model="qwen3"))).error is None
    targets = [received.target for received in ollama.server.requests]
    assert targets.count("/api/show") == 1


@pytest.mark.parametrize("given", [failure(405, "no"), failure(500, "no")])
async def test_a_server_that_does_not_know_what_its_models_can(
    make: Make, ollama: FakeOllama, given: Answer
) -> None:
    ollama.models["qwen3:latest"] = given
    asked = request(model="qwen3", tools=(WEATHER,), thinking="high")
    body = await sent(make, ollama, asked)
    assert body["tools"]
    assert body["think"] is True
    assert "num_ctx" not in body["options"]


# --- Conversations --------------------------------------------------------------


def written(*messages: Message, sees: bool = True) -> list[Any]:
    asked = ModelRequest(model="m", system="", messages=messages)
    return conversation(asked, sees=sees)


CALL = ToolCall(id="call_1", name="weather", arguments={"city": "Zürich"})
CALLS = Message(
    role="assistant",
    content=(
        Thinking(text="own"),
        Thinking(text="foreign", signature="anthropic:x:y"),
        Text(text="Let me see."),
        CALL,
    ),
)
RESULTS = Message(
    role="tool",
    content=(
        ToolResult(text="rain", call_id="call_1", name="weather", media=(PNG,)),
        ToolResult(is_error=True, call_id="call_2", name="camera"),
    ),
)


def test_calls_and_results() -> None:
    asked, said, rain, camera, shown = written(Message.user("a"), CALLS, RESULTS)
    assert asked == {"role": "user", "content": "a"}
    function = {"index": 0, "name": "weather", "arguments": {"city": "Zürich"}}
    assert said == {
        "role": "assistant",
        "content": "Let me see.",
        "thinking": "own",
        "tool_calls": [{"id": "call_1", "function": function}],
    }
    assert rain == {
        "role": "tool",
        "content": "rain",
        "tool_name": "weather",
        "tool_call_id": "call_1",
    }
    assert camera["content"] == "[the tool failed]\n(no output)"
    assert shown["images"] == ["iVBORw0KGgo="]
    assert shown["content"] == "[from the tool 'weather']"


def test_old_thoughts_are_not_shown_again() -> None:
    _, said, *_ = written(Message.user("a"), CALLS, RESULTS, Message.user("b"))
    assert "thinking" not in said


def test_attachments() -> None:
    note = File(data=b"x: 1", media_type="text/yaml", name="x.yaml")
    pdf = File(data=b"%PDF-1.7", media_type="application/pdf", name="a.pdf")
    song = Audio(data=b"", media_type="audio/ogg", transcript="hello")
    broken = Image(data=b"<svg>", media_type="image/svg+xml")
    given = Message.user("look", PNG, note, pdf, song, broken)
    (message,) = written(given)
    assert message["images"] == ["iVBORw0KGgo="]
    words = ("look", "x: 1", "cannot be shown", "hello", "left out")
    assert all(word in message["content"] for word in words)
    (message,) = written(given, sees=False)
    assert "images" not in message
    assert "cannot see" in message["content"]


def test_a_picture_without_words() -> None:
    (message,) = written(Message(role="user", content=(PNG,)))
    assert message == {"role": "user", "content": "", "images": ["iVBORw0KGgo="]}


# --- Models ---------------------------------------------------------------------


async def test_models(make: Make, ollama: FakeOllama) -> None:
    async with make() as provider:
        found = {model.id: model for model in await provider.models()}
    assert list(found) == [
        *("qwen3:latest", "qwen3", "gemma3:12b", "gpt-oss:20b", "kimi-k2:1t-cloud"),
        "default",
    ]
    assert (found["qwen3"].reasoning, found["qwen3"].vision) == (True, False)
    assert (found["gemma3:12b"].reasoning, found["gemma3:12b"].vision) == (False, True)
    assert found["gpt-oss:20b"].context_window == 32_768


async def test_the_default_is_what_can_talk(make: Make, ollama: FakeOllama) -> None:
    body = await sent(make, ollama, request(model="default"))
    assert body["model"] == "qwen3:latest"
    models = [{"id": "gemma3:12b"}]
    body = await sent(make, ollama, request(model="default"), models=models)
    assert body["model"] == "gemma3:12b"


async def test_nothing_is_installed(make: Make, ollama: FakeOllama) -> None:
    ollama.models.clear()
    async with make() as provider:
        heard = await hear(provider, request(model="default"))
    assert heard.error is not None
    assert heard.error.kind == "model_not_found"
    assert "`ollama pull NAME` installs one" in str(heard.error)


@pytest.mark.parametrize("given", [Answer.json([]), Answer.json({"models": [7, {}]})])
async def test_no_list(make: Make, ollama: FakeOllama, given: Answer) -> None:
    ollama.server.script(given)
    async with make() as provider:
        assert [model.id for model in await provider.models()] == ["default"]


async def test_a_model_without_facts(make: Make, ollama: FakeOllama) -> None:
    ollama.models["qwen3:latest"] = {"model_info": {"a.context_length": 9000}}
    body = await sent(make, ollama, request(model="qwen3"))
    assert body["options"]["num_ctx"] == 9000
