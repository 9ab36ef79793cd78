"""A fake Anthropic, written from the API reference, and makers of providers for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rustyclaw_anthropic.provider import AnthropicProvider
from rustyclaw_http.testing.backends import on_asyncio as anyio_backend
from rustyclaw_http.testing.server import Answer, FakeVendor, vendor

__all__ = ["anyio_backend", "vendor"]

KEY = "sk-ant-api03-test0123456789"
Make = Callable[..., AnthropicProvider]
Event = dict[str, Any]


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)


@pytest.fixture
def make(vendor: FakeVendor) -> Make:
    """Return a maker of providers that talk to the fake vendor."""

    def provider(**fields: Any) -> AnthropicProvider:
        quick = {"idle_timeout_seconds": 1.0, "total_timeout_seconds": 5.0}
        address = {"api_key": KEY, "base_url": vendor.url, "discover_models": False}
        config = AnthropicProvider.Config.model_validate({**quick, **address, **fields})
        return AnthropicProvider(config)

    return provider


def start(**usage: int) -> Event:
    """Return the event that begins an answer."""
    counts = {"input_tokens": 20, "output_tokens": 1, **usage}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": []}
    return {
        "type": "message_start",
        "message": {**message, "model": "m", "stop_reason": None, "usage": counts},
    }


def end(reason: str = "end_turn", **usage: int) -> list[Event]:
    """Return the events that end an answer."""
    delta = {"stop_reason": reason, "stop_sequence": None}
    usage = {"output_tokens": 5, **usage}
    return [
        {"type": "message_delta", "delta": delta, "usage": usage},
        {"type": "message_stop"},
    ]


def _block(index: int, begin: Event, *deltas: Event) -> list[Event]:
    kind = "content_block_delta"
    return [
        {"type": "content_block_start", "index": index, "content_block": begin},
        *({"type": kind, "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text(*pieces: str, index: int = 0) -> list[Event]:
    """Return the events of a text block."""
    deltas = ({"type": "text_delta", "text": piece} for piece in pieces)
    return _block(index, {"type": "text", "text": ""}, *deltas)


def thought(*pieces: str, index: int = 0, sign: str | None = "Eq1") -> list[Event]:
    """Return the events of a thinking block; its signature comes in two halves."""
    begin = {"type": "thinking", "thinking": "", "signature": ""}
    deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces]
    if sign:
        for half in (sign[:1], sign[1:]):
            deltas.append({"type": "signature_delta", "signature": half})
    return _block(index, begin, *deltas)


def redacted(data: str, index: int = 0) -> list[Event]:
    """Return the events of a thought that nobody may read."""
    return _block(index, {"type": "redacted_thinking", "data": data})


def call(index: int, call_id: str, name: str, *pieces: str) -> list[Event]:
    """Return the events of a tool call."""
    begin = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
    deltas = ({"type": "input_json_delta", "partial_json": p} for p in pieces)
    return _block(index, begin, *deltas)


def answer(*blocks: list[Event], reason: str = "end_turn", **fields: Any) -> Answer:
    """Return a whole answer of these blocks."""
    return stream(start(), *(e for block in blocks for e in block), *end(reason))


def stream(*events: Event, **fields: Any) -> Answer:
    """Return a stream of these events, each with its type as its name."""
    return Answer.sse(*((event["type"], event) for event in events), **fields)


def refusal(status: int, kind: str, message: str, **headers: str) -> Answer:
    """Return an answer as "Errors" of the API reference describes them."""
    body = {"type": "error", "error": {"type": kind, "message": message}}
    head = {name.replace("_", "-"): value for name, value in headers.items()}
    head = {"request-id": "req_7", **head}
    return Answer.json({**body, "request_id": "req_7"}, status=status, headers=head)
