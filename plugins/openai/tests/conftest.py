"""A fake OpenAI, written from the API reference, and makers of providers for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rustyclaw_http.testing.backends import on_asyncio as anyio_backend
from rustyclaw_http.testing.server import Answer, FakeVendor, vendor
from rustyclaw_openai.presets import OpenAIProvider
from rustyclaw_openai.provider import OpenAIStyleProvider

__all__ = ["anyio_backend", "vendor"]

KEY = "sk-test-0123456789abcdef"
Make = Callable[..., OpenAIStyleProvider]

KEY_VARIABLES = (
    *("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "OPENROUTER_API_KEY", "GROQ_API_KEY"),
    *("MISTRAL_API_KEY", "DEEPSEEK_API_KEY", "XAI_API_KEY", "VLLM_API_KEY"),
    *("LM_STUDIO_API_KEY", "OPENAI_COMPATIBLE_API_KEY"),
)


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEY_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def make(vendor: FakeVendor) -> Make:
    """Return a maker of providers that talk to the fake vendor."""

    def provider(
        preset: type[OpenAIStyleProvider] = OpenAIProvider, **fields: Any
    ) -> OpenAIStyleProvider:
        quick = {"idle_timeout_seconds": 1.0, "total_timeout_seconds": 5.0}
        address = {"api_key": KEY, "base_url": vendor.url, "discover_models": False}
        return preset(preset.Config.model_validate({**quick, **address, **fields}))

    return provider


# --- Chat Completions -----------------------------------------------------------


def chunk(delta: dict[str, Any], finish: str | None = None, **fields: Any) -> Any:
    """Return one chunk of an answer."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1}
    return {**head, "model": "m", "choices": [choice], **fields}


def usage_chunk(**usage: Any) -> Any:
    """Return the chunk that only counts, which ``include_usage`` asks for."""
    return {**chunk({}), "choices": [], "usage": usage}


def chat(*deltas: dict[str, Any], finish: str = "stop", **fields: Any) -> Answer:
    """Return a whole answer of these pieces."""
    usage = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
    pieces = [chunk(delta) for delta in deltas]
    return Answer.sse(
        *pieces, chunk({}, finish), usage_chunk(**usage), "[DONE]", **fields
    )


def call_piece(index: int | None, arguments: Any = None, **fields: Any) -> Any:
    """Return a delta with a piece of a tool call; `id` and `name` begin one."""
    name = fields.pop("name", None)
    function = {
        k: v for k, v in (("name", name), ("arguments", arguments)) if v is not None
    }
    place = {} if index is None else {"index": index}
    return {
        "tool_calls": [{**place, **fields, "type": "function", "function": function}]
    }


# --- Responses ------------------------------------------------------------------


def responses(*events: dict[str, Any], status: str = "completed", **fields: Any) -> Any:
    """Return a stream of the Responses API with its usual beginning and end."""
    usage = {
        "input_tokens": 20,
        "input_tokens_details": {"cached_tokens": 8},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 25,
    }
    response = {"id": "resp_1", "object": "response", "status": status, "output": []}
    end = {
        "type": f"response.{status}",
        "response": {**response, "usage": usage, **fields},
    }
    begin = {"type": "response.created", "response": response}
    return Answer.sse(*_numbered(begin, *events, end))


def _numbered(*events: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for number, event in enumerate(events):
        yield event["type"], {**event, "sequence_number": number}


def text_item(*pieces: str, index: int = 0) -> list[dict[str, Any]]:
    """Return the events of a message."""
    place = {"item_id": "msg_1", "output_index": index, "content_index": 0}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "content": []}
    return [
        {"type": "response.output_item.added", "output_index": index, "item": item},
        *({"type": "response.output_text.delta", **place, "delta": p} for p in pieces),
        {"type": "response.output_text.done", **place, "text": "".join(pieces)},
        {"type": "response.output_item.done", "output_index": index, "item": item},
    ]


def call_item(
    index: int, call_id: str, name: str, *pieces: str, whole: str | None = None
) -> list[dict[str, Any]]:
    """Return the events of a function call."""
    place = {"item_id": f"fc_{index}", "output_index": index}
    item = {
        "id": f"fc_{index}",
        "type": "function_call",
        "call_id": call_id,
        "name": name,
    }
    arguments = "".join(pieces) if whole is None else whole
    delta = "response.function_call_arguments.delta"
    return [
        {
            "type": "response.output_item.added",
            "output_index": index,
            "item": {**item, "arguments": ""},
        },
        *({"type": delta, **place, "delta": piece} for piece in pieces),
        {
            "type": "response.output_item.done",
            "output_index": index,
            "item": {**item, "arguments": arguments, "status": "completed"},
        },
    ]


def reasoning_item(
    index: int, *summaries: str, secret: str = "gAAAA-secret"
) -> list[dict[str, Any]]:
    """Return the events of a reasoning item with its summary."""
    item = {"id": f"rs_{index}", "type": "reasoning", "summary": []}
    place = {"item_id": f"rs_{index}", "output_index": index}
    told = [
        event
        for number, summary in enumerate(summaries)
        for event in (
            {
                "type": "response.reasoning_summary_part.added",
                **place,
                "summary_index": number,
            },
            {
                "type": "response.reasoning_summary_text.delta",
                **place,
                "summary_index": number,
                "delta": summary,
            },
        )
    ]
    done = {**item, "encrypted_content": secret}
    return [
        {"type": "response.output_item.added", "output_index": index, "item": item},
        *told,
        {"type": "response.output_item.done", "output_index": index, "item": done},
    ]
