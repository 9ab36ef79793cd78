"""A fake Ollama, written from its API reference, and makers of providers for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rustyclaw_http.testing.backends import on_asyncio as anyio_backend
from rustyclaw_http.testing.server import Answer, FakeVendor, Received, vendor
from rustyclaw_ollama.provider import OllamaProvider

__all__ = ["anyio_backend", "vendor"]

KEY = "ollama-key-0123456789"
Make = Callable[..., OllamaProvider]

#: What is installed, the newest first: name -> what `/api/show` tells.
MODELS: dict[str, Any] = {
    "nomic-embed-text:latest": {
        "capabilities": ["embedding"],
        "model_info": {"general.architecture": "bert", "bert.context_length": 2048},
    },
    "qwen3:latest": {
        "capabilities": ["completion", "tools", "thinking"],
        "model_info": {"general.architecture": "qwen3", "qwen3.context_length": 40_960},
    },
    "gemma3:12b": {
        "capabilities": ["completion", "vision"],
        "model_info": {"general.architecture": "gemma3", "gemma3.context_length": 8192},
    },
    "gpt-oss:20b": {
        "capabilities": ["completion", "tools", "thinking"],
        "model_info": {
            "general.architecture": "gptoss",
            "gptoss.context_length": 131_072,
        },
    },
    "kimi-k2:1t-cloud": {
        "capabilities": ["completion", "tools"],
        "model_info": {"general.architecture": "x", "x.context_length": 262_144},
        "remote_host": "https://ollama.com:443",
    },
}


class FakeOllama:
    """Answers ``tags`` and ``show`` by itself, and ``chat`` from a script."""

    def __init__(self, server: FakeVendor) -> None:
        self.server = server
        self.chats: list[Answer] = []
        self.models = dict(MODELS)
        server.default = self.answer

    def answer(self, received: Received) -> Answer:
        """Return the answer to one request."""
        if received.target == "/api/tags":
            listed = [{"name": name, "model": name} for name in self.models]
            return Answer.json({"models": listed})
        name = received.json["model"]
        found = self.models.get(name) or self.models.get(f"{name}:latest")
        if found is None:
            return failure(404, f"model '{name}' not found")
        if received.target == "/api/show":
            return found if isinstance(found, Answer) else Answer.json(found)
        assert received.target == "/api/chat"
        return self.chats.pop(0) if self.chats else answer("Hel", "lo")

    @property
    def asked(self) -> list[Any]:
        """The bodies of all chats so far."""
        chats = [r for r in self.server.requests if r.target == "/api/chat"]
        return [received.json for received in chats]


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OLLAMA_API_KEY", raising=False)


@pytest.fixture
def ollama(vendor: FakeVendor) -> FakeOllama:
    """Return a fake Ollama at the address of the vendor."""
    return FakeOllama(vendor)


@pytest.fixture
def make(vendor: FakeVendor, ollama: FakeOllama) -> Make:
    """Return a maker of providers that talk to the fake Ollama."""

    def provider(**fields: Any) -> OllamaProvider:
        quick = {"idle_timeout_seconds": 1.0, "total_timeout_seconds": 5.0}
        config = {**quick, "base_url": vendor.url, **fields}
        return OllamaProvider(OllamaProvider.Config.model_validate(config))

    return provider


def line(content: str = "", **message: Any) -> Any:
    """Return one line of an answer."""
    said = {"role": "assistant", "content": content, **message}
    return {
        "model": "m",
        "created_at": "2026-11-28T00:00:00Z",
        "message": said,
        "done": False,
    }


def done(reason: str = "stop", **fields: Any) -> Any:
    """Return the last line of an answer."""
    counts = {"prompt_eval_count": 20, "eval_count": 5, "total_duration": 1}
    return {**line(), "done": True, "done_reason": reason, **counts, **fields}


def answer(*pieces: Any, reason: str = "stop") -> Answer:
    """Return a whole answer; texts become lines."""
    lines = [line(piece) if isinstance(piece, str) else piece for piece in pieces]
    return Answer.lines(*lines, done(reason))


def call(name: str, **arguments: Any) -> Any:
    """Return a line that calls a tool."""
    function = {"name": name, "arguments": arguments}
    return line(tool_calls=[{"function": function}])


def failure(status: int, message: str) -> Answer:
    """Return an error as "Errors" of the API reference describes it."""
    return Answer.json({"error": message}, status=status)
