"""What a run tries when the model fails: wait, shorten, or say why not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from rustyclaw import ModelRequest, ProviderError, TextDelta, ToolResult, hookimpl, tool
from rustyclaw.agent.recovery import RunFailed, is_overflow, run_error
from rustyclaw.runs import Compacted
from rustyclaw.testing import Bot, FakeProvider, call, fault, hang

LONG = {"session": {"compact_keep_recent": 12}}


class Crowded(FakeProvider):
    """Says so many times that the prompt of the last message is too long."""

    def __init__(self, overflows: int, summary: Any = "a summary") -> None:
        super().__init__(default=self._next)
        self.left = overflows
        self.refused = 0
        self.summary = summary

    def _next(self, request: ModelRequest) -> Any:
        if request.system.startswith("Summarise"):
            return self.summary
        if request.messages[-1].text == "the last straw" and self.left:
            self.left -= 1
            self.refused += 1
            return ProviderError("prompt is too long: 250000 tokens > 200000 maximum")
        return "ok"


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the seconds that runs want to wait; none of them passes."""
    seconds: list[float] = []

    async def sleep(delay: float) -> None:
        seconds.append(delay)

    monkeypatch.setattr("rustyclaw.agent.model_calls.sleep", sleep)
    return seconds


async def crowd(bot: Bot, turns: int = 10) -> str:
    for number in range(turns):
        await bot.say(f"message {number}")
    return await bot.say("the last straw")


# --- Overflow -----------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_conversation_is_compacted_until_it_fits(
    tmp_path: Path, times: int
) -> None:
    async with Bot(tmp_path, provider=Crowded(times), config=LONG) as bot:
        assert await crowd(bot) == "ok"
        assert bot.last.error is None
        assert bot.last.compactions == times
        assert sum(isinstance(event, Compacted) for event in bot.events) == times
        asked = bot.provider.requests[-1].messages
        assert asked[0].text.endswith("a summary\nmessage " + asked[0].text[-1])
        assert [m.text for m in asked].count("the last straw") == 1
        info = await bot.gateway.state.sessions.get("main")
    assert info is not None
    assert info.compactions == times


class Inflater:
    """Makes stored tool results larger than they may be."""

    @hookimpl
    async def tool_result_persist(self, result: ToolResult) -> ToolResult:
        return replace(result, text="x" * 100_000)


@tool
async def look() -> str:
    """Look."""
    return "seen"


async def test_an_overflow_without_end_ends(tmp_path: Path) -> None:
    provider = Crowded(1000)
    provider.script = [[*call("look")]]
    plugins = {"tools.look": look, "hooks.inflater": Inflater()}
    async with Bot(tmp_path, provider=provider, plugins=plugins, config=LONG) as bot:
        await crowd(bot, 12)
        assert provider.refused == 8, "one, thrice compacted, cut, thrice compacted"
        assert bot.last.compactions == 6
        assert bot.last.error is not None
        assert bot.last.error.kind == "context_overflow"
        assert "start a new session with /new" in bot.last.error.message
        provider.left = 0
        assert await bot.say("the last straw") == "ok"
    (path,) = (tmp_path / "agents/main/sessions").glob("*.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    (result,) = (
        block
        for line in lines
        for block in line.get("message", {}).get("content", ())
        if block["type"] == "tool_result"
    )
    assert len(result["text"]) <= 64_000
    assert result["details"] == {"original_chars": 100_000}


async def test_what_cannot_be_shortened_is_an_error_in_plain_words(
    tmp_path: Path,
) -> None:
    async with Bot(tmp_path, provider=Crowded(1000)) as bot:
        await crowd(bot, 0)
        assert bot.last.error is not None
        assert bot.last.error.kind == "context_overflow"
        assert bot.last.error.message.startswith("The conversation is too large")
        assert len(bot.provider.requests) == 1


@pytest.mark.parametrize(
    "summary", [ProviderError("overloaded", kind="overloaded"), " ", RuntimeError("?")]
)
async def test_a_summary_that_fails_is_a_failure_of_its_own_kind(
    tmp_path: Path, summary: Any
) -> None:
    provider = Crowded(1000, summary)
    async with Bot(tmp_path, provider=provider, config=LONG) as bot:
        await crowd(bot)
        assert bot.last.error is not None
        assert bot.last.error.kind == "compaction_failure"
        assert "could not be summarised" in bot.last.error.message
        assert bot.last.compactions == 0
        assert await bot.say("hello") == "ok", "nothing was lost"
        assert "message 0" in bot.provider.requests[-1].messages[0].text


async def test_what_cannot_fit_is_not_even_sent(tmp_path: Path) -> None:
    provider = FakeProvider(context_window=16_000, default=_short)
    config = {"session": {"compact_keep_recent": 2}}
    async with Bot(tmp_path, provider=provider, config=config) as bot:
        await bot.say("a" * 40_000)
        await bot.say("b" * 40_000)
        assert bot.last.compactions == 1
        sizes = [sum(len(m.text) for m in r.messages) for r in provider.requests]
        assert max(sizes) < 0.9 * 4 * 16_000
        await bot.say("c" * 80_000)
        assert bot.last.error is not None
        assert bot.last.error.kind == "context_overflow"


async def test_room_is_left_for_the_answer(tmp_path: Path) -> None:
    provider = FakeProvider(context_window=16_000, default=_short)
    config = {
        "agents": {"defaults": {"max_tokens": 6_000}},
        "session": {"compact_keep_recent": 2},
    }
    async with Bot(tmp_path, provider=provider, config=config) as bot:
        for letter in "abcd":
            await bot.say(letter * 20_000)
            assert bot.last.error is None
        assert all(r.context_window == 16_000 for r in provider.requests)
        sizes = [sum(len(m.text) for m in r.messages) for r in provider.requests]
        assert 4 * 5_000 < max(sizes) <= 4 * (16_000 - 6_000)


async def test_what_a_plugin_has_pruned_is_sent(tmp_path: Path) -> None:
    class Pruner:
        @hookimpl
        async def llm_input(self, request: ModelRequest) -> ModelRequest:
            return replace(request, messages=request.messages[-1:])

    provider = FakeProvider(context_window=16_000, default=_short)
    plugins = {"hooks.pruner": Pruner()}
    async with Bot(tmp_path, provider=provider, plugins=plugins) as bot:
        for letter in "abcd":
            await bot.say(letter * 40_000)
            assert bot.last.error is None
            assert bot.last.compactions == 0


def _short(request: ModelRequest) -> str:
    return "short"


# --- Waiting --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failures", "waited"),
    [
        ([ProviderError("429", kind="rate_limit")], [2.5]),
        ([ProviderError("529", kind="overloaded")] * 2, [2.5, 5.0]),
        ([ProviderError("429", kind="rate_limit", retry_after=7)], [7]),
        ([fault()], [2.5]),
    ],
)
async def test_a_run_waits_and_tries_again(
    tmp_path: Path, waits: list[float], failures: list[Any], waited: list[float]
) -> None:
    async with Bot(tmp_path, script=[*failures, "here I am"]) as bot:
        assert await bot.say("hello") == "here I am"
        assert bot.last.error is None
        assert bot.provider.requests[0] == bot.provider.requests[-1]
    assert waits == waited


@pytest.mark.parametrize(
    ("failure", "waited", "words"),
    [
        (ProviderError("429", kind="rate_limit"), [2.5, 5.0], "rate limit is reached"),
        (ProviderError("later", kind="overloaded", retry_after=600), [], "overloaded"),
        (ProviderError("402", kind="billing"), [], "run out of credit"),
        (ProviderError("a strange thing"), [], "a strange thing"),
    ],
)
async def test_a_run_gives_up(
    tmp_path: Path,
    waits: list[float],
    failure: ProviderError,
    waited: list[float],
    words: str,
) -> None:
    async with Bot(tmp_path, provider=FakeProvider(default=failure)) as bot:
        await bot.say("hello")
        assert bot.last.error is not None
        assert bot.last.error.kind == "provider_error"
        assert words in bot.last.error.message
    assert waits == waited


@pytest.mark.parametrize("error", [None, ProviderError("429", kind="rate_limit")])
async def test_what_was_shown_is_not_shown_again(
    tmp_path: Path, waits: list[float], error: ProviderError | None
) -> None:
    script = [fault(after=2, error=error), "never"]
    async with Bot(tmp_path, script=script) as bot:
        assert await bot.say("hello") == "......"
        assert bot.last.error is not None
        assert len(bot.provider.requests) == 1
    assert waits == []


async def test_a_silent_stream_is_given_up(
    tmp_path: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rustyclaw.agent.model_calls._SILENCE_SECONDS", 0.5)
    async with Bot(tmp_path, script=[hang(), "awake"]) as bot:
        assert await bot.say("hello") == "awake"
    assert waits == [2.5]


async def test_a_slow_reader_is_no_silent_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rustyclaw.agent.model_calls._SILENCE_SECONDS", 1.0)
    text = "word " * 1_000  # more pieces than wait for a reader
    answer = ""
    async with Bot(tmp_path, script=[text]) as bot:
        async for event in bot.gateway.run("hello"):
            if isinstance(event, TextDelta):
                if not answer:
                    await anyio.sleep(1.2)
                answer += event.text
    assert answer == text


# --- What an error means --------------------------------------------------------------

OVERFLOWS = [
    "request_too_large",
    "Request exceeds the maximum size",
    "This model's maximum context length is 8192 tokens",
    "prompt is too long: 210000 tokens > 200000 maximum",
    "prompt too long; exceeded max context length",
    "413 Payload Too Large",
    "context_length_exceeded",
    "`max_tokens` exceeds the context limit",
    "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
    "The input token count (1200000) exceeds the maximum number of tokens allowed",
    "Input is too long for requested model.",
    "request size exceeds the context window",
]
NO_OVERFLOWS = [
    "413 too large: tokens per minute (TPM) limit 6000",
    "the context window is too small: context overflow",
    "prompt is too long for the minimum plan",
    "invalid API key",
]


@pytest.mark.parametrize("text", OVERFLOWS)
def test_an_overflow_is_known_by_its_words(text: str) -> None:
    assert is_overflow(ProviderError(text, kind="format"))
    assert run_error(ProviderError(text), str).kind == "context_overflow"


@pytest.mark.parametrize("text", NO_OVERFLOWS)
def test_what_is_no_overflow(text: str) -> None:
    assert not is_overflow(ProviderError(text))


@pytest.mark.parametrize("kind", ["rate_limit", "billing"])
def test_a_limit_of_another_kind_is_no_overflow(kind: Any) -> None:
    assert not is_overflow(ProviderError("prompt is too long", kind=kind))


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (ProviderError("{}", kind="auth"), "auth_failure", "refused the API key"),
        (ProviderError("{}", kind="timeout"), "timeout", "did not answer in time"),
        (ProviderError("no: x"), "provider_error", "no: x"),
        (ValueError("oops"), "internal", "internal error: oops"),
        (ValueError(), "internal", "internal error: ValueError"),
        (RunFailed("tool_error", "too many"), "tool_error", "too many"),
        (ProviderError("y" * 9000), "provider_error", "y" * 500),
        (
            ProviderError("image exceeds 5 MB maximum: 6 MB", kind="format"),
            "image_size",
            "image exceeds 5 MB maximum",
        ),
        (ProviderError("gave up", kind="retry_limit"), "retry_limit", "gave up"),
        (
            ProviderError("All failed: a, b", kind="billing", attempts=("a", "b")),
            "provider_error",
            "All failed: a, b",
        ),
    ],
)
def test_people_are_told_what_happened(error: Exception, kind: str, words: str) -> None:
    told = run_error(error, str)
    assert told.kind == kind
    assert words in told.message
    assert len(told.message) <= 520
