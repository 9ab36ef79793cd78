"""Requests as they arrive at the vendor."""

from __future__ import annotations

from typing import Any

import pytest
from rustyclaw import (
    Audio,
    File,
    Image,
    Message,
    ModelRequest,
    ProviderError,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    ToolSchema,
)
from rustyclaw_anthropic.catalogue import BUDGETS, nature
from rustyclaw_anthropic.messages import call_id, conversation, tools
from rustyclaw_http.testing.hearing import hear, request
from rustyclaw_http.testing.refusing import check_no_list
from rustyclaw_http.testing.server import Answer, FakeVendor, Received

from .conftest import KEY, Make, answer, text

PNG = Image(data=b"\x89PNG\r\n\x1a\n", media_type="image/png")
PDF = File(data=b"%PDF-1.7", media_type="application/pdf", name="a.pdf")
WEATHER = ToolSchema(
    name="weather",
    description="Tell the weather.",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}},
)
MARK = {"cache_control": {"type": "ephemeral"}}


async def sent(
    make: Make, vendor: FakeVendor, asked: ModelRequest, **fields: Any
) -> Received:
    vendor.script(answer(text("ok")))
    async with make(**fields) as provider:
        heard = await hear(provider, asked)
    assert heard.error is None, heard.error
    return vendor.requests[-1]


async def test_all_fields(make: Make, vendor: FakeVendor) -> None:
    asked = request(
        model="claude-sonnet-4-5",
        system="Be brief.",
        tools=(WEATHER,),
        max_tokens=99,
        temperature=0.5,
        extra={"metadata": {"user_id": "u1"}},
    )
    received = await sent(make, vendor, asked, extra_body={"service_tier": "auto"})

    assert received.json == {
        "model": "claude-sonnet-4-5",
        "max_tokens": 99,
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "hi", **MARK}]}
        ],
        "stream": True,
        "system": [{"type": "text", "text": "Be brief.", **MARK}],
        "tools": [
            {
                "name": "weather",
                "description": "Tell the weather.",
                "input_schema": WEATHER.parameters,
                **MARK,
            }
        ],
        "temperature": 0.5,
        "service_tier": "auto",
        "metadata": {"user_id": "u1"},
    }
    assert received.target == "/v1/messages"
    assert received.headers["x-api-key"] == KEY
    assert received.headers["anthropic-version"] == "2023-06-01"
    assert not {"authorization", "anthropic-beta"} & set(received.headers)


# --- Thinking -------------------------------------------------------------------


@pytest.mark.parametrize(("level", "budget"), [("off", None), *BUDGETS.items()])
async def test_budgets(
    make: Make, vendor: FakeVendor, level: str, budget: int | None
) -> None:
    asked = request(
        model="claude-sonnet-4-5-20250929",
        thinking=level,
        max_tokens=4096,
        temperature=0.5,
    )
    body = (await sent(make, vendor, asked)).json
    assert body["max_tokens"] == 4096 + (budget or 0)
    assert ("temperature" in body) == (budget is None)
    wanted = budget and {"type": "enabled", "budget_tokens": budget}
    assert body.get("thinking") == wanted


async def test_a_budget_fits_into_what_a_model_can_say(
    make: Make, vendor: FakeVendor
) -> None:
    asked = request(model="claude-opus-4-1", thinking="max", max_tokens=8192)
    body = (await sent(make, vendor, asked)).json
    assert body["max_tokens"] == 32_000
    assert body["thinking"]["budget_tokens"] == 31_999


@pytest.mark.parametrize(
    ("model", "level", "thinking", "effort", "room"),
    [
        ("claude-3-5-haiku-20241022", "high", None, None, 0),
        ("claude-opus-4-6", "off", None, None, 0),
        ("claude-opus-4-6", "xhigh", {"type": "adaptive"}, "high", 16_384),
        ("claude-sonnet-4-6", "max", {"type": "adaptive"}, "high", 16_384),
        ("claude-opus-4-8", "xhigh", "summarized", "xhigh", 32_768),
        ("claude-opus-5", "off", {"type": "disabled"}, None, 0),
        ("claude-sonnet-5", "minimal", "summarized", "low", 4096),
        ("claude-opus-5-5", "off", "bound", "low", 4096),
        ("claude-sonnet-5-5", "max", "bound", "max", 65_536),
        ("claude-haiku-5-5", "off", {"type": "disabled"}, None, 0),
        ("claude-fable-5", "off", "summarized", "low", 4096),
        ("claude-fable-5-1", "on", "bound", "low", 4096),
        ("claude-nova", "medium", "bound", "medium", 8192),
    ],
)
async def test_thinking_as_a_model_sees_fit(
    make: Make,
    vendor: FakeVendor,
    model: str,
    level: str,
    thinking: Any,
    effort: str | None,
    room: int,
) -> None:
    asked = request(model=model, thinking=level, max_tokens=1000, temperature=0.5)
    received = await sent(make, vendor, asked, betas=["own-beta"])
    body = received.json
    bound = thinking == "bound"
    if isinstance(thinking, str):
        thinking = {"type": "adaptive", "display": "summarized"}
    if bound:
        thinking["block_binding"] = {"prefix_mismatch_behavior": "drop_block"}
    assert body.get("thinking") == thinking
    assert body.get("output_config") == (effort and {"effort": effort})
    assert body["max_tokens"] == 1000 + room
    assert ("temperature" in body) == (effort is None and nature(model).warms)
    binding = ["thinking-binding-controls-2026-08-01"] if bound else []
    assert received.headers["anthropic-beta"].split(",") == ["own-beta", *binding]


async def test_others_who_speak_this_language_know_budgets(
    make: Make, vendor: FakeVendor
) -> None:
    asked = request(model="kimi-k2", thinking="low", max_tokens=1000)
    body = (await sent(make, vendor, asked)).json
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 2048}
    assert body["max_tokens"] == 3048


async def test_an_unknown_level(make: Make, vendor: FakeVendor) -> None:
    async with make() as provider:
        heard = await hear(provider, request(model="claude-opus-4-5", thinking="hard"))
    assert isinstance(heard.error, ProviderError)
    assert heard.error.kind == "format"
    assert not vendor.requests


# --- Caching --------------------------------------------------------------------


def marks(body: Any) -> list[str]:
    places = [("tools", tool) for tool in body.get("tools", ())]
    places += [("system", part) for part in body.get("system", ())]
    for number, turn in enumerate(body["messages"]):
        places += [(f"{number}", block) for block in turn["content"]]
    return [place for place, block in places if "cache_control" in block]


LONG = (
    Message.user("one"),
    Message.assistant("two"),
    Message.user("three", PNG),
    Message.assistant("four"),
    Message.user("five"),
)


async def test_what_is_cached(make: Make, vendor: FakeVendor) -> None:
    asked = request(
        model="claude-haiku-4-5", messages=LONG, system="s", tools=(WEATHER, WEATHER)
    )
    body = (await sent(make, vendor, asked)).json
    assert marks(body) == ["tools", "system", "2", "4"]
    assert "cache_control" in body["tools"][1]
    assert "cache_control" in body["messages"][2]["content"][-1]

    body = (await sent(make, vendor, asked, cache="1h")).json
    assert body["system"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    body = (await sent(make, vendor, asked, cache="off")).json
    assert marks(body) == []


# --- Conversations --------------------------------------------------------------


def written(*messages: Message, model: str = "m", **fields: Any) -> list[Any]:
    asked = ModelRequest(model=model, system="", messages=messages)
    return conversation(asked, **{"sees": True, "prefills": True, **fields})


def signed(model: str = "m", redacted: bool = False, opaque: str = "Eq1") -> Thinking:
    signature = f"anthropic:{model}:{opaque}"
    return Thinking(text="hm", signature=signature, redacted=redacted)


CALL = ToolCall(id="toolu_1", name="weather", arguments={"city": "Zürich"})


def assistant(*blocks: Any) -> Message:
    return Message(role="assistant", content=blocks)


def results(*given: ToolResult) -> Message:
    return Message(role="tool", content=given)


def test_attachments() -> None:
    note = File(data=b"x: 1", media_type="text/yaml", name="x.yaml")
    song = Audio(data=b"", media_type="audio/ogg")
    broken = Image(data=b"<svg>", media_type="image/svg+xml")
    (turn,) = written(Message.user("look", PNG, PDF, note, song, broken))

    said, picture, pdf, *others = turn["content"]
    assert said == {"type": "text", "text": "look"}
    source = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    assert picture == {"type": "image", "source": source}
    assert (pdf["type"], pdf["title"]) == ("document", "a.pdf")
    assert pdf["source"]["media_type"] == "application/pdf"
    assert [part["type"] for part in others] == ["text"] * 3
    assert others[0]["text"] == "[file 'x.yaml']\nx: 1"


def test_what_a_model_cannot_see_becomes_a_note() -> None:
    (turn,) = written(Message.user("look", PNG), sees=False)
    assert "cannot see" in turn["content"][1]["text"]


def test_calls_thoughts_and_results() -> None:
    said, told = written(
        assistant(signed(), signed(redacted=True, opaque="b2k="), CALL),
        results(
            ToolResult(text="rain", call_id="toolu_1", media=(PNG,)),
            ToolResult(is_error=True, call_id="toolu_2"),
        ),
        Message.user("and now?"),
    )
    assert said["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "Eq1"},
        {"type": "redacted_thinking", "data": "b2k="},
        {
            "type": "tool_use",
            "id": "toolu_1",
            "name": "weather",
            "input": {"city": "Zürich"},
        },
    ]
    rain, failed, more = told["content"]
    assert (rain["type"], rain["tool_use_id"]) == ("tool_result", "toolu_1")
    assert [part["type"] for part in rain["content"]] == ["text", "image"]
    assert "is_error" not in rain
    assert failed["is_error"]
    assert failed["content"] == [{"type": "text", "text": "(no output)"}]
    assert more["text"] == "and now?"


@pytest.mark.parametrize(
    "thought",
    [
        Thinking(text="x"),
        Thinking(text="x", signature="foreign"),
        Thinking(text="x", signature="anthropic:"),
        Thinking(text="x", signature="anthropic:m:"),
        Thinking(text="x", signature='responses:["a", "b", "m"]'),
        signed("claude-opus-5"),
    ],
)
def test_thoughts_of_others_are_left_out(thought: Thinking) -> None:
    _, said, _ = written(
        Message.user("a"), assistant(thought, Text(text="b")), Message.user("c")
    )
    assert said["content"] == [{"type": "text", "text": "b"}]


def test_a_model_with_colons() -> None:
    name = "bedrock:anthropic.claude-sonnet-4-5-v1:0"
    _, said, _ = written(
        Message.user("a"),
        assistant(signed(name), CALL),
        results(ToolResult(text="b", call_id="toolu_1")),
        model=name,
    )
    assert said["content"][0]["signature"] == "Eq1"


@pytest.mark.parametrize("level", ["low", "high"])
async def test_no_thinking_begins_between_a_call_and_its_result(
    make: Make, vendor: FakeVendor, level: str
) -> None:
    result = results(ToolResult(text="rain", call_id="toolu_1"))
    model = "claude-sonnet-4-5"
    for thoughts, thinks in ([], False), ([signed(model)], True):
        messages = (Message.user("a"), assistant(*thoughts, CALL), result)
        asked = request(model=model, thinking=level, messages=messages)
        assert ("thinking" in (await sent(make, vendor, asked)).json) == thinks


def test_the_end_of_a_conversation() -> None:
    asked, said = Message.user("a"), Message.assistant("b \n")
    assert written(asked, said)[-1]["content"][0]["text"] == "b"
    assert written(asked, said, prefills=False)[-1] == {
        "role": "user",
        "content": [{"type": "text", "text": "Go on."}],
    }
    assert len(written(asked, assistant(signed()))) == 1


def test_empty_texts_are_left_out() -> None:
    (turn,) = written(Message.user(" "), Message.user("a"), Message.user("b"))
    assert [part["text"] for part in turn["content"]] == ["a", "b"]


def test_ids_that_fit() -> None:
    assert call_id("toolu_01-A") == "toolu_01-A"
    strange = {call_id(given) for given in ("a|b", "a.b", "", "x" * 65, "\ud800")}
    assert len(strange) == 5
    assert all(len(made) == 40 for made in strange)


def test_schemas_that_fit() -> None:
    given = {"$schema": "x", "anyOf": [{"properties": {"a": {}}}, True]}
    tool = ToolSchema(name="t", description="", parameters=given)
    (found,) = tools(request(tools=(tool,)))
    assert found["input_schema"] == {"type": "object", "properties": {"a": {}}}


# --- Models ---------------------------------------------------------------------

LISTED = {
    "data": [
        {
            "id": "claude-nova-6",
            "type": "model",
            "max_input_tokens": 2_000_000,
            "max_tokens": 256_000,
            "capabilities": {
                "thinking": {"supported": True},
                "image_input": {"supported": False},
            },
        },
        {"id": "claude-haiku-4-5-20251001", "type": "model"},
        {"id": "claude-3-haiku-20240307", "type": "model", "max_tokens": 4096},
        {"id": 7},
        None,
    ],
    "has_more": False,
}


async def test_models(make: Make, vendor: FakeVendor) -> None:
    vendor.script(Answer.json(LISTED))
    models = [{"id": "claude-opus-5", "context_window": 200_000}]
    async with make(discover_models=True, models=models) as provider:
        found = {model.id: model for model in await provider.models()}
    assert vendor.requests[0].target == "/v1/models?limit=1000"
    assert vendor.requests[0].headers["anthropic-version"]
    nova = found["claude-nova-6"]
    assert (nova.context_window, nova.max_output_tokens) == (2_000_000, 256_000)
    assert (nova.vision, nova.reasoning) == (False, True)
    haiku = found["claude-haiku-4-5-20251001"]
    assert (haiku.context_window, haiku.max_output_tokens) == (200_000, 64_000)
    assert not found["claude-3-haiku-20240307"].reasoning
    assert found["claude-opus-5"].context_window == 200_000
    assert found["claude-opus-5"].max_output_tokens == 128_000
    assert found["claude-sonnet-5-5"].context_window == 1_000_000


@pytest.mark.parametrize(
    "given", [Answer.json([]), Answer.json({"data": 3}), Answer.json({}, status=500)]
)
async def test_no_list(make: Make, vendor: FakeVendor, given: Answer) -> None:
    await check_no_list(make(discover_models=True), vendor, given)


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://x.example", "https://x.example/v1"),
        ("https://x.example/v1/", "https://x.example/v1"),
        ("https://x.example/anthropic", "https://x.example/anthropic/v1"),
    ],
)
def test_addresses(make: Make, base: str, url: str) -> None:
    assert make(base_url=base).api_url == url
