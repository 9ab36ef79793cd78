"""A fake Gemini API, written from its reference, and makers of providers for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from rustyclaw_google.provider import GoogleProvider
from rustyclaw_http.testing.backends import on_asyncio as anyio_backend
from rustyclaw_http.testing.server import Answer, FakeVendor, vendor

__all__ = ["anyio_backend", "vendor"]

KEY = "AIzaSyTest0123456789abcdefghijklmnopqrs"
Make = Callable[..., GoogleProvider]
Part = dict[str, Any]


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in GoogleProvider.key_variables:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def make(vendor: FakeVendor) -> Make:
    """Return a maker of providers that talk to the fake vendor."""

    def provider(**fields: Any) -> GoogleProvider:
        quick = {"idle_timeout_seconds": 1.0, "total_timeout_seconds": 5.0}
        address = {"api_key": KEY, "base_url": vendor.url, "discover_models": False}
        config = GoogleProvider.Config.model_validate({**quick, **address, **fields})
        return GoogleProvider(config)

    return provider


def chunk(*parts: Part, finish: str | None = None, **fields: Any) -> Any:
    """Return one chunk of an answer."""
    content = {"role": "model", "parts": list(parts)}
    candidate: dict[str, Any] = {"content": content, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    counts = {"promptTokenCount": 20, "totalTokenCount": 20}
    head = {"modelVersion": "m", "responseId": "r1", "usageMetadata": counts}
    return {"candidates": [candidate], **head, **fields}


def counts(**more: int) -> dict[str, int]:
    """Return the counts at the end of an answer."""
    return {"promptTokenCount": 20, "candidatesTokenCount": 5, **more}


def answer(*parts: Part, finish: str = "STOP") -> Answer:
    """Return a whole answer, a chunk for each part, with the line ends of Google."""
    chunks = [chunk(part) for part in parts]
    end = chunk(finish=finish, usageMetadata=counts(totalTokenCount=25))
    return stream(*chunks, end)


def stream(*chunks: Any, **fields: Any) -> Answer:
    """Return a stream of chunks."""
    data = [f"data: {json.dumps(each)}\r\n\r\n".encode() for each in chunks]
    return Answer(chunks=data, **fields)


def call(name: str, *, sign: str | None = None, id: str = "", **args: Any) -> Part:
    """Return a part that calls a function."""
    called: Part = {"name": name, "args": args, **({"id": id} if id else {})}
    return {"functionCall": called, **({"thoughtSignature": sign} if sign else {})}


def refusal(code: int, status: str, message: str, *details: Any) -> Answer:
    """Return an answer as ``google.rpc.Status`` describes errors."""
    error = {"code": code, "message": message, "status": status}
    return Answer.json({"error": {**error, "details": list(details)}}, status=code)
