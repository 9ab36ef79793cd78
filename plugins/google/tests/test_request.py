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
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    ToolSchema,
)
from rustyclaw_google.catalogue import BUDGETS, levels
from rustyclaw_google.contents import MAX_INLINE_BYTES, ContentWriter, call_id
from rustyclaw_google.signatures import SKIP, Signed
from rustyclaw_http.testing.hearing import hear, request
from rustyclaw_http.testing.refusing import check_no_list
from rustyclaw_http.testing.server import Answer, FakeVendor, Received

from .conftest import KEY, Make, answer

PNG = Image(data=b"\x89PNG\r\n\x1a\n", media_type="image/png")
PDF = File(data=b"%PDF-1.7", media_type="application/pdf", name="a.pdf")
WEATHER = ToolSchema(
    name="weather",
    description="Tell the weather.",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 99}},
        "additionalProperties": False,
    },
)


async def sent(
    make: Make, vendor: FakeVendor, asked: ModelRequest, **fields: Any
) -> Received:
    vendor.script(answer({"text": "ok"}))
    async with make(**fields) as provider:
        heard = await hear(provider, asked)
    assert heard.error is None, heard.error
    return vendor.requests[-1]


async def test_all_fields(make: Make, vendor: FakeVendor) -> None:
    asked = request(
        model="gemini-2.0-flash",
        system="Be brief.",
        tools=(WEATHER,),
        max_tokens=99,
        temperature=0.5,
        extra={"labels": {"a": "b"}},
    )
    safety = {"HARM_CATEGORY_HARASSMENT": "BLOCK_NONE"}
    extra = {"cachedContent": "cachedContents/1"}
    received = await sent(make, vendor, asked, safety=safety, extra_body=extra)

    assert received.json == {
        "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "generationConfig": {"maxOutputTokens": 99, "temperature": 0.5},
        "tools": [
            {
                "functionDeclarations": [
                    {
                        "name": "weather",
                        "description": "Tell the weather.",
                        "parameters": {
                            "type": "object",
                            "properties": {"city": {"type": "string"}},
                        },
                    }
                ]
            }
        ],
        "safetySettings": [
            {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}
        ],
        "cachedContent": "cachedContents/1",
        "labels": {"a": "b"},
    }
    path = "/v1beta/models/gemini-2.0-flash:streamGenerateContent?alt=sse"
    assert received.target == path
    assert received.headers["x-goog-api-key"] == KEY
    assert KEY not in received.target
    assert "authorization" not in received.headers


async def test_names_that_are_no_path(make: Make, vendor: FakeVendor) -> None:
    await sent(make, vendor, request(model="tunedModels/mine"))
    await sent(make, vendor, request(model="x?key=1#y z"))
    tuned, strange = (received.target for received in vendor.requests)
    assert tuned.startswith("/v1beta/tunedModels/mine:stream")
    assert strange.startswith("/v1beta/models/x%3Fkey%3D1%23y%20z:stream")


# --- Thinking -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "level", "config", "room"),
    [
        ("gemini-2.0-flash", "high", None, 0),
        ("gemma-3-27b-it", "high", None, 0),
        *(("gemini-2.5-flash", name, size, size) for name, size in BUDGETS.items()),
        ("gemini-2.5-flash", "off", 0, 0),
        ("gemini-2.5-pro", "off", 128, 128),
        ("gemini-3-pro-preview", "off", "low", 4096),
        ("gemini-3-pro-preview", "medium", "low", 4096),
        ("gemini-3.1-pro-preview", "medium", "medium", 8192),
        ("gemini-3-flash-preview", "off", "minimal", 1024),
        ("gemini-3.8-flash", "minimal", "low", 4096),
        ("gemini-3.8-flash", "max", "high", 32_768),
        ("gemini-flash-latest", "off", "low", 4096),
    ],
)
async def test_thinking(
    make: Make, vendor: FakeVendor, model: str, level: str, config: Any, room: int
) -> None:
    asked = request(model=model, thinking=level, max_tokens=1000)
    generation = (await sent(make, vendor, asked)).json["generationConfig"]
    assert generation["maxOutputTokens"] == 1000 + room
    if config is not None:
        key = "thinkingLevel" if isinstance(config, str) else "thinkingBudget"
        config = {key: config, "includeThoughts": level != "off"}
    assert generation.get("thinkingConfig") == config


async def test_the_limit_is_that_of_the_model(make: Make, vendor: FakeVendor) -> None:
    asked = request(model="gemini-3.8-flash", thinking="high", max_tokens=60_000)
    generation = (await sent(make, vendor, asked)).json["generationConfig"]
    assert generation["maxOutputTokens"] == 65_536


async def test_an_unknown_level(make: Make, vendor: FakeVendor) -> None:
    async with make() as provider:
        heard = await hear(provider, request(model="gemini-2.5-pro", thinking="hard"))
    assert heard.error is not None
    assert heard.error.kind == "format"
    assert not vendor.requests


def test_levels_are_in_order() -> None:
    assert levels("gemini-3-pro-preview") == ("low", "high")
    assert levels("gemini-4-pro") == ("low", "medium", "high")


# --- Conversations --------------------------------------------------------------

OLD, NEW = "gemini-2.5-flash", "gemini-3.8-flash"


def written(*messages: Message, model: str = OLD, sees: bool = True) -> list[Any]:
    asked = ModelRequest(model=model, system="", messages=messages)
    return ContentWriter(asked, sees=sees).contents()


def assistant(*blocks: Any) -> Message:
    return Message(role="assistant", content=blocks)


def results(*given: ToolResult) -> Message:
    return Message(role="tool", content=given)


def signature(part: Any, model: str = OLD, opaque: str = "c2ln") -> str:
    return Signed(part=part, model=model, opaque=opaque).signature()


def kinds(turns: list[Any]) -> list[str]:
    return [
        f"{turn['role']}: {' '.join(next(iter(p)) for p in turn['parts'])}"
        for turn in turns
    ]


def test_attachments() -> None:
    note = File(data=b"x: 1", media_type="text/yaml", name="x.yaml")
    song = Audio(data=b"OggS", media_type="audio/ogg; codecs=opus")
    told = Audio(data=b"OggS", media_type="audio/ogg", transcript="hello")
    odd = Audio(data=b"?", media_type="audio/x-odd")
    huge = File(
        data=b"%PDF-" + bytes(MAX_INLINE_BYTES),
        media_type="application/pdf",
        name="h.pdf",
    )
    given = Message.user("look", PNG, PDF, note, song, told, odd, huge)
    (turn,) = written(given)
    text, picture, pdf, yaml, sound, said, unheard, unread = turn["parts"]
    assert text == {"text": "look"}
    data = {"mimeType": "image/png", "data": "iVBORw0KGgo="}
    assert picture == {"inlineData": data}
    assert pdf["inlineData"]["mimeType"] == "application/pdf"
    assert yaml["text"] == "[file 'x.yaml']\nx: 1"
    assert sound["inlineData"]["mimeType"] == "audio/ogg"
    assert "hello" in said["text"]
    assert "nobody transcribed" in unheard["text"]
    assert "cannot be shown" in unread["text"]


def test_what_a_model_cannot_see_becomes_a_note() -> None:
    (turn,) = written(Message.user("look", PNG), sees=False)
    assert "cannot see" in turn["parts"][1]["text"]


CALL = ToolCall(
    id="fc-1", name="weather", arguments={"city": "Oslo"}, signature=signature("call")
)
SECOND = ToolCall(id="fc-2", name="weather")
RAIN = ToolResult(text="rain", call_id="fc-1", name="weather", media=(PNG,))
FAILED = ToolResult(is_error=True, call_id="fc-2", name="weather")


def test_calls_and_results() -> None:
    asked, said, told, shown, more = written(
        Message.user("a"),
        assistant(Text(text="Let me see."), CALL, SECOND),
        results(RAIN, FAILED),
        Message.user("b"),
        assistant(Text(text="c")),
    )
    assert asked["role"] == "user"
    text, first, second = said["parts"]
    assert text == {"text": "Let me see."}
    assert first == {
        "functionCall": {"id": "fc-1", "name": "weather", "args": {"city": "Oslo"}},
        "thoughtSignature": "c2ln",
    }
    assert "thoughtSignature" not in second
    assert told["parts"][0]["functionResponse"] == {
        "id": "fc-1",
        "name": "weather",
        "response": {"output": "rain"},
    }
    failed = told["parts"][1]["functionResponse"]["response"]
    assert failed == {"error": "(no output)"}
    assert [next(iter(part)) for part in shown["parts"]] == [
        "text",
        "inlineData",
        "text",
    ]
    assert (told["role"], shown["role"], more["role"]) == ("user", "user", "model")


def test_results_with_pictures_for_new_models() -> None:
    broken = Image(data=b"?", media_type="image/png")
    rain = ToolResult(text="rain", call_id="fc-1", name="weather", media=(PNG, broken))
    *_, told = written(Message.user("a"), assistant(CALL), results(rain), model=NEW)
    response = told["parts"][0]["functionResponse"]
    assert response["parts"][0]["inlineData"]["mimeType"] == "image/png"
    assert "left out" in response["response"]["notes"]


@pytest.mark.parametrize(
    ("blocks", "parts"),
    [
        (
            [Text(text="a"), Thinking(text="", signature=signature("text"))],
            [{"text": "a", "thoughtSignature": "c2ln"}],
        ),
        (
            [Text(text="a"), Thinking(text="hm", signature=signature("end"))],
            [{"text": "a"}, {"text": "", "thoughtSignature": "c2ln"}],
        ),
        (
            [Thinking(text="hm", signature=signature("thought")), Text(text="a")],
            [
                {"text": "hm", "thought": True, "thoughtSignature": "c2ln"},
                {"text": "a"},
            ],
        ),
        ([Thinking(text="hm"), Text(text="a")], [{"text": "a"}]),
        ([Thinking(text="hm", signature="sig"), Text(text="a")], [{"text": "a"}]),
        (
            [Text(text="a"), Thinking(text="", signature=signature("end", NEW))],
            [{"text": "a"}],
        ),
        (
            [Text(text="a"), Thinking(text="", signature=signature("end", OLD, "{}"))],
            [{"text": "a"}],
        ),
        (
            [Text(text="a"), Thinking(text="", signature="anthropic:x:c2ln")],
            [{"text": "a"}],
        ),
        (
            [Text(text="a"), Thinking(text="", signature=f"google:odd:{OLD}:c2ln")],
            [{"text": "a"}],
        ),
    ],
)
def test_signatures_come_back_where_they_came(
    blocks: list[Any], parts: list[Any]
) -> None:
    _, said = written(Message.user("hi"), assistant(*blocks))
    assert said["parts"] == parts


def test_a_stand_in_for_signatures_of_this_turn_that_are_missing() -> None:
    foreign = ToolCall(id="a", name="x", signature="openai")
    own = ToolCall(id="c", name="x", signature=signature("call", NEW))
    talk = (
        Message.user("first"),
        assistant(foreign),
        results(ToolResult(text="1", call_id="a", name="x")),
        assistant(Text(text="done")),
        Message.user("second"),
        assistant(ToolCall(id="b", name="x"), ToolCall(id="b2", name="x")),
        results(ToolResult(text="2", call_id="b", name="x")),
        assistant(own),
        results(ToolResult(text="3", call_id="c", name="x")),
    )
    for model, wanted in ((NEW, [None, SKIP, None, "c2ln"]), (OLD, [None] * 4)):
        found = [
            part.get("thoughtSignature")
            for turn in written(*talk, model=model)
            for part in turn["parts"]
            if "functionCall" in part
        ]
        assert found == wanted


@pytest.mark.parametrize(
    ("messages", "turns"),
    [
        ([assistant(CALL), results(RAIN)],
         ["user: text", "model: functionCall", "user: functionResponse",
          "user: text inlineData"]),
        ([results(FAILED)], ["user: text", "user: functionResponse"]),
        ([Message.user("a"), Message.user("b")], ["user: text text"]),
        ([Message.user("a"), assistant(Text(text="b")), assistant(CALL)],
         ["user: text", "model: text functionCall"]),
        ([Message.user("a"), assistant(CALL), results(FAILED), results(FAILED)],
         ["user: text", "model: functionCall",
          "user: functionResponse functionResponse"]),
        ([Message.user("a"), assistant(CALL), results(FAILED), Message.user("b")],
         ["user: text", "model: functionCall", "user: functionResponse", "user: text"]),
        ([Message.user("a"), assistant(Thinking(text="x")), Message.user(" ")],
         ["user: text"]),
    ],
)  # fmt: skip
def test_the_order_of_turns(messages: list[Message], turns: list[str]) -> None:
    assert kinds(written(*messages)) == turns


def test_ids_that_fit() -> None:
    assert call_id("fc-1") == "fc-1"
    strange = {call_id(given) for given in ("a|b", "a.b", "", "x" * 65, "\ud800")}
    assert len(strange) == 5
    assert all(made.isalnum() for made in strange)


# --- Models ---------------------------------------------------------------------

LISTED = {
    "models": [
        {
            "name": "models/gemini-4-pro",
            "inputTokenLimit": 2_097_152,
            "outputTokenLimit": 131_072,
            "supportedGenerationMethods": ["generateContent", "countTokens"],
            "thinking": True,
        },
        {
            "name": "models/gemma-3-4b-it",
            "inputTokenLimit": 32_768,
            "outputTokenLimit": 8192,
            "supportedGenerationMethods": ["generateContent"],
        },
        {
            "name": "models/gemini-embedding-001",
            "supportedGenerationMethods": ["embedContent"],
        },
        {
            "name": "models/gemini-2.5-flash-preview-tts",
            "supportedGenerationMethods": ["generateContent"],
        },
        {"name": 7},
        None,
    ]
}


async def test_models(make: Make, vendor: FakeVendor) -> None:
    vendor.script(Answer.json(LISTED))
    models = [{"id": "gemini-2.5-pro", "context_window": 200_000}]
    async with make(discover_models=True, models=models) as provider:
        found = {model.id: model for model in await provider.models()}
    assert vendor.requests[0].target == "/v1beta/models?pageSize=1000"
    assert vendor.requests[0].headers["x-goog-api-key"] == KEY
    four = found["gemini-4-pro"]
    assert (four.context_window, four.max_output_tokens) == (2_097_152, 131_072)
    assert (four.vision, four.reasoning) == (True, True)
    gemma = found["gemma-3-4b-it"]
    assert (gemma.context_window, gemma.reasoning) == (32_768, False)
    assert found["gemini-2.5-pro"].context_window == 200_000
    assert found["gemini-2.5-pro"].max_output_tokens == 65_536
    assert not any("embedding" in name or "tts" in name for name in found)


@pytest.mark.parametrize(
    "given", [Answer.json([]), Answer.json({"models": 3}), Answer.json({}, status=500)]
)
async def test_no_list(make: Make, vendor: FakeVendor, given: Answer) -> None:
    await check_no_list(make(discover_models=True), vendor, given)


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://x.example", "https://x.example/v1beta"),
        ("https://x.example/v1/", "https://x.example/v1"),
        ("https://x.example/gemini", "https://x.example/gemini/v1beta"),
    ],
)
def test_addresses(make: Make, base: str, url: str) -> None:
    assert make(base_url=base).api_url == url
