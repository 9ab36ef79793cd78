"""Streams of `/api/chat`, and what can go wrong with them."""

from __future__ import annotations

import json
import logging
from typing import Any

import anyio
import pytest
from hypothesis import given, settings, strategies as st
from rustyclaw import Finished, ProviderError, ThinkingDelta, ToolCallDelta, Usage
from rustyclaw_http.testing.hearing import HeardCall, Hearing, hear, request
from rustyclaw_http.testing.server import Answer
from rustyclaw_ollama.stream import ChatReader

from .conftest import KEY, FakeOllama, Make, answer, call, done, failure, line


async def heard_of(
    make: Make, ollama: FakeOllama, given: Answer, **fields: Any
) -> Hearing:
    ollama.chats.append(given)
    async with make(**fields) as provider:
        return await hear(provider, request(model="qwen3"))


async def test_an_answer(make: Make, ollama: FakeOllama) -> None:
    given = answer(line(thinking="Hm."), "Hel", "lo")
    heard = await heard_of(make, ollama, given)
    assert heard.events[0] == ThinkingDelta(text="Hm.")
    assert heard.text == "Hello"
    assert heard.finished == Finished(usage=Usage(input_tokens=20, output_tokens=5))


async def test_calls(make: Make, ollama: FakeOllama) -> None:
    both = line(
        tool_calls=[
            {"id": "call_1", "function": {"index": 0, "name": "now", "arguments": {}}},
            {"function": {"name": "weather", "arguments": '{"city": "Rome"}'}},
        ]
    )
    given = answer("Let me see.", call("weather", city="Oslo"), both)
    heard = await heard_of(make, ollama, given)
    assert heard.calls == [
        HeardCall("", "weather", '{"city": "Oslo"}'),
        HeardCall("call_1", "now", "{}"),
        HeardCall("", "weather", '{"city": "Rome"}'),
    ]
    assert heard.finished.stop_reason == "tool_calls"


@pytest.mark.parametrize(
    ("reason", "stop"),
    [("stop", "stop"), ("length", "length"), ("load", "stop"), ("new", "stop")],
)
async def test_ends(make: Make, ollama: FakeOllama, reason: str, stop: str) -> None:
    heard = await heard_of(make, ollama, answer("a", reason=reason))
    assert heard.finished.stop_reason == stop


async def test_what_follows_the_end_is_ignored(make: Make, ollama: FakeOllama) -> None:
    given = Answer.lines(line("a"), done(), line("b"), end="reset")
    assert (await heard_of(make, ollama, given)).text == "a"


HEAD = {"content-type": "application/x-ndjson"}
OVERFLOW = "the input length exceeds the context length"
BUSY = "server busy, please try again.  maximum pending requests exceeded"


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        (Answer.lines(line("Hello")), "timeout", "in the middle"),
        (Answer.lines(), "timeout", "in the middle"),
        (Answer.lines(line("Hello"), end="cut"), "timeout", "broke off"),
        (Answer.lines(line("Hello"), end="reset"), "timeout", "broke off"),
        (Answer.lines(line("Hello"), end="hang"), "timeout", "fell silent"),
        (Answer.lines(call("exec", x=1)), "timeout", "in the middle"),
        (Answer.lines(call("exec", x=1), end="reset"), "timeout", "broke off"),
        (Answer.lines(7), "timeout", "no JSON object"),
        (Answer(headers=HEAD, chunks=[b'{"message": \n']), "timeout", "no JSON"),
        (Answer(headers=HEAD, chunks=[b'{"message": {"tool_c']), "timeout", "no JSON"),
        (Answer(headers={"content-type": "text/html"}), "timeout", "text/html"),
        (
            Answer.lines(line("a"), {"error": "an error was encountered, EOF"}),
            "unknown",
            "an error was encountered",
        ),
        (Answer(delay_seconds=3), "timeout", "fell silent"),
        (failure(400, OVERFLOW), "context_overflow", "exceeds"),
        (failure(400, "invalid options: num_ctx"), "format", "num_ctx"),
        (failure(400, '"qwen3" does not support thinking'), "format", "thinking"),
        (failure(401, "unauthorized"), "auth", "unauthorized"),
        (failure(402, "payment required"), "billing", "payment"),
        (failure(403, "remote model is unavailable"), "auth", "unavailable"),
        (failure(408, "timed out"), "timeout", "timed out"),
        (failure(413, "request entity too large"), "context_overflow", "too large"),
        (failure(429, "you've reached your hourly usage limit"), "rate_limit", "usage"),
        (failure(500, "model requires more system memory"), "format", "memory"),
        (failure(502, "cloud model cannot be reached"), "timeout", "cloud"),
        (failure(503, BUSY), "overloaded", "busy"),
        (Answer(status=529), "overloaded", "529"),
    ],
)
async def test_failures(
    make: Make, ollama: FakeOllama, given: Answer, kind: str, words: str
) -> None:
    heard = await heard_of(make, ollama, given, idle_timeout_seconds=0.2)
    assert heard.error is not None
    assert (heard.error.kind, words in str(heard.error)) == (kind, True), heard.error


async def test_a_limit_says_how_long_to_wait(make: Make, ollama: FakeOllama) -> None:
    given = Answer.json({"error": "slow"}, status=429, headers={"retry-after": "7"})
    heard = await heard_of(make, ollama, given)
    assert heard.error is not None
    assert (heard.error.kind, heard.error.retry_after) == ("rate_limit", 7.0)


async def test_nobody_is_there(make: Make) -> None:
    async with make(base_url="http://127.0.0.1:1") as provider:
        heard = await hear(provider, request(model="qwen3"))
        default = await hear(provider, request(model="default"))
        models = [model.id for model in await provider.models()]
    for error in (heard.error, default.error):
        assert error is not None
        assert (error.kind, error.retryable) == ("timeout", True)
        assert str(error).endswith("; is ollama running? `ollama serve`")
    assert models == ["default"]


async def test_a_model_that_is_not_installed(make: Make, ollama: FakeOllama) -> None:
    async with make() as provider:
        heard = await hear(provider, request(model="llama9"))
    assert heard.error is not None
    assert (heard.error.kind, heard.error.status) == ("model_not_found", 404)
    assert str(heard.error).endswith("; `ollama pull llama9` installs it")
    assert not ollama.asked


async def test_a_model_that_was_removed(make: Make, ollama: FakeOllama) -> None:
    gone = failure(404, 'model "qwen3" not found, try pulling it first')
    heard = await heard_of(make, ollama, gone)
    assert heard.error is not None
    assert "`ollama pull qwen3`" in str(heard.error)


async def test_who_leaves_closes_the_connection(make: Make, ollama: FakeOllama) -> None:
    ollama.chats.append(Answer.lines(line("Hello"), end="hang"))
    async with make(idle_timeout_seconds=60) as provider:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hear, provider, request(model="qwen3"))
            received = await ollama.server.arrived(2)
            tasks.cancel_scope.cancel()
        assert received.target == "/api/chat"
        with anyio.fail_after(5):
            await received.left.wait()


async def test_keys_are_masked(
    make: Make, ollama: FakeOllama, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        given = failure(401, f"unauthorized: {KEY}")
        heard = await heard_of(make, ollama, given, api_key=KEY)
    assert ollama.server.requests[-1].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in str(heard.error) + caplog.text


async def test_no_key_is_needed(make: Make, ollama: FakeOllama) -> None:
    await heard_of(make, ollama, answer("a"))
    assert all("authorization" not in r.headers for r in ollama.server.requests)


FIELDS = st.sampled_from(
    ["message", "content", "thinking", "tool_calls", "function", "name", "arguments",
     "done", "done_reason", "error", "prompt_eval_count", "id"]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["stop", "x", "{"]),
    lambda x: st.lists(x, max_size=2) | st.dictionaries(FIELDS, x, max_size=4),
    max_leaves=8,
)


@settings(max_examples=200)
@given(st.lists(JSON, max_size=5))
def test_whatever_is_sent(lines: list[Any]) -> None:
    reader = ChatReader(lambda _: ProviderError("server"))
    try:
        for each in lines:
            for event in reader.take(json.loads(json.dumps(each))):
                assert not isinstance(event, ToolCallDelta) or event.arguments
        list(reader.finish())
    except ProviderError:
        pass
