"""What a real OpenClaw 2026.2.17 answered over HTTP, and what we answer.

The recorded answers stand here in short. Ours have the same statuses, the same kinds
of content, and all of the recorded fields with the same types; they may have more.
Where ours differ on purpose, the test says how.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from .conftest import Running, serving
from .web import Web, events

HOOK = "hk-tok-123456789012345678901234"
CHAT = {"model": "openclaw", "messages": [{"role": "user", "content": "hello http"}]}
RESPONSE = {"model": "openclaw", "input": "hello responses"}
JSON, PLAIN = "application/json", "text/plain; charset=utf-8"
ERROR = {"error": {"message": "", "type": "invalid_request_error"}}
MESSAGE = {"role": "assistant", "content": "Hello"}
ITEM = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Hello"}],
    "status": "completed",
}
USAGE = {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120}
ANSWER = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1795423542,
    "status": "completed",
    "model": "openclaw",
    "output": [ITEM],
    "usage": USAGE,
}


@pytest.fixture(scope="module")
async def shared(
    tmp_path_factory: pytest.TempPathFactory, anyio_backend: Any
) -> AsyncIterator[Running]:
    hooks = {"enabled": True, "token": HOOK, "per_minute": 1000}
    home = tmp_path_factory.mktemp("shared")
    async with serving(home, settings={"hooks": hooks}) as running:
        yield running


@pytest.fixture
async def web(shared: Running) -> AsyncIterator[Web]:
    async with Web(shared.url, shared.token) as web:
        yield web


def holds(ours: Any, recorded: Any, at: str = "") -> None:
    """Check that an answer has all that was recorded, with the same types."""
    if isinstance(recorded, dict):
        assert isinstance(ours, dict), at
        assert recorded.keys() <= ours.keys(), at
        for key, value in recorded.items():
            holds(ours[key], value, f"{at}/{key}")
    elif isinstance(recorded, list):
        assert isinstance(ours, list), at
        for item in ours:
            holds(item, recorded[0], f"{at}[]")
    else:
        assert type(ours) is type(recorded), f"{at}: {ours!r}"


RECORDED: dict[str, tuple[str, str, Any, int, str, Any]] = {
    "chatcompletions": (
        "POST",
        "/v1/chat/completions",
        CHAT,
        200,
        JSON,
        {
            "id": "chatcmpl_1",
            "object": "chat.completion",
            "created": 1795423541,
            "model": "openclaw:main",
            "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        },
    ),
    "chatcompletions-badjson": (
        "POST",
        "/v1/chat/completions",
        b"{x",
        400,
        JSON,
        ERROR,
    ),
    "chatcompletions-nomsg": (
        "POST",
        "/v1/chat/completions",
        {"model": "openclaw", "messages": []},
        400,
        JSON,
        ERROR,
    ),
    "chatcompletions-get": ("GET", "/v1/chat/completions", None, 405, PLAIN, None),
    "responses": ("POST", "/v1/responses", RESPONSE, 200, JSON, ANSWER),
    "responses-bad": (
        "POST",
        "/v1/responses",
        {**RESPONSE, "bogus": 1},
        400,
        JSON,
        ERROR,
    ),
    "tools-invoke-denied": (
        "POST",
        "/tools/invoke",
        {"tool": "sessions_spawn"},
        404,
        JSON,
        {"ok": False, "error": {"type": "not_found", "message": ""}},
    ),
    "tools-invoke-missing": (
        "POST",
        "/tools/invoke",
        {"tool": "nope"},
        404,
        JSON,
        {"ok": False, "error": {"type": "not_found", "message": ""}},
    ),
}


@pytest.mark.parametrize("name", RECORDED)
async def test_as_recorded(name: str, web: Web) -> None:
    method, path, body, status, kind, recorded = RECORDED[name]
    if isinstance(body, bytes):
        answer = await web.request(method, path, content=body)
    else:
        answer = await web.request(method, path, json=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == kind
    if status == 405:
        assert (answer.text, answer.headers["allow"]) == ("Method Not Allowed", "POST")
        return
    holds(answer.json(), recorded)
    if status == 400:
        assert answer.json()["error"]["type"] == "invalid_request_error"
    if name == "chatcompletions-nomsg":
        message = answer.json()["error"]["message"]
        assert message == "Missing user message in `messages`."
    if name == "chatcompletions":  # there, all three are always zero
        assert all(answer.json()["usage"].values())


async def test_without_a_token(shared: Running) -> None:
    async with Web(shared.url) as web:
        answer = await web.ask("/v1/chat/completions", CHAT)
    assert answer.status_code == 401
    holds(answer.json(), {"error": {"message": "", "type": ""}})
    error = answer.json()["error"]
    assert (error["message"], error["type"]) == ("Unauthorized", "unauthorized")


async def test_a_chat_streams_as_recorded_and_ends_better(web: Web) -> None:
    answer = await web.ask("/v1/chat/completions", {**CHAT, "stream": True})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    *chunks, (_, done) = events(answer.text)
    assert done == "[DONE]"
    recorded = {
        "id": "chatcmpl_1",
        "object": "chat.completion.chunk",
        "created": 1795423541,
        "model": "openclaw",
        "choices": [{"index": 0, "delta": {}}],
    }
    for _, chunk in chunks:
        holds(chunk, recorded)
    first, *middle, last = [chunk["choices"][0] for _, chunk in chunks]
    assert first["delta"]["role"] == "assistant"
    for choice in middle:
        assert list(choice["delta"]) == ["content"]
        assert choice["finish_reason"] is None
    assert (last["delta"], last["finish_reason"]) == (
        {},
        "stop",
    )  # there, it is missing


async def test_a_response_streams_as_recorded(web: Web) -> None:
    answer = await web.ask("/v1/responses", {**RESPONSE, "stream": True})
    *told, (_, done) = events(answer.text)
    assert done == "[DONE]"
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    part = {"part": {"type": "output_text", "text": ""}}
    begun = {key: value for key, value in ANSWER.items() if key != "usage"}
    item = {"output_index": 0, "item": ITEM}
    recorded: dict[str, Any] = {
        "response.created": {"response": begun},  # there, with a usage of zeros
        "response.in_progress": {"response": begun},
        "response.output_item.added": item,
        "response.content_part.added": {**place, **part},
        "response.output_text.delta": {**place, "delta": "Hello"},
        "response.output_text.done": {**place, "text": "Hello"},
        "response.content_part.done": {**place, **part},
        "response.output_item.done": item,
        "response.completed": {"response": ANSWER},
    }
    assert list(dict.fromkeys(name for name, _ in told)) == list(recorded)
    for name, event in told:
        assert event["type"] == name
        holds(event, recorded[name])


WAKE = {"text": "x", "mode": "next-heartbeat"}
HOOKS: dict[str, tuple[str, str, Any, int, Any]] = {
    "wake": ("POST", "wake", WAKE, 200, {"ok": True, "mode": "next-heartbeat"}),
    "agent": ("POST", "agent", {"message": "x"}, 202, {"ok": True, "runId": "1"}),
    "get": ("GET", "wake", None, 405, "Method Not Allowed"),
    "unknown": ("POST", "nope", {}, 404, "Not Found"),
    "query": ("POST", "wake?token=x", {}, 400, None),
}


@pytest.mark.parametrize("name", HOOKS)
async def test_hooks_as_recorded(name: str, shared: Running) -> None:
    method, path, body, status, recorded = HOOKS[name]
    async with Web(shared.url, HOOK) as web:
        answer = await web.request(method, f"/hooks/{path}", json=body)
    assert answer.status_code == status
    if isinstance(recorded, dict):
        assert answer.headers["content-type"] == JSON
        holds(answer.json(), recorded)
        assert answer.json().keys() == recorded.keys()
        return
    assert answer.headers["content-type"] == PLAIN
    if recorded:
        assert answer.text == recorded


async def test_hooks_without_a_token(shared: Running) -> None:
    async with Web(shared.url) as web:
        answer = await web.ask("/hooks/wake", {"text": "x"})
    assert (answer.status_code, answer.text) == (401, "Unauthorized")
    assert answer.headers["content-type"] == PLAIN


async def test_where_ours_is_better(web: Web) -> None:
    """There, unknown paths are answered with the page of the Control UI, and 200."""
    assert (await web.get("/v1/models")).json()["object"] == "list"
    assert (await web.get("/health")).json()["status"] == "ok"
    assert (await web.post("/")).status_code == 404
