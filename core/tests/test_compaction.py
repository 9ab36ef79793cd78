"""Compaction: what is summarised, what stays, and that nothing is parted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from rustyclaw import (
    CompactionRequest,
    Compactor,
    Message,
    ModelRequest,
    ProviderError,
    ToolCall,
    ToolResult,
    TranscriptPolicy,
    tool,
)
from rustyclaw.agent.compaction import SummaryCompactor, _cut_point
from rustyclaw.agent.context import SUMMARY_MARK, Conversation
from rustyclaw.interfaces.compactor import Summarize
from rustyclaw.sessions.entries import Entry
from rustyclaw.testing import Bot, CompactorContract, FakeProvider, call

# --- The default compactor ------------------------------------------------------------


class Asked:
    """Stands for the model that makes summaries."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []

    async def __call__(self, system: str, messages: tuple[Message, ...]) -> str:
        (message,) = messages
        self.requests.append((system, message.text))
        return f"summary {len(self.requests)}"


def request(*messages: Message, **facts: Any) -> CompactionRequest:
    return CompactionRequest(
        messages=messages, tokens=1, **{"previous_summary": "", **facts}
    )


async def test_a_short_conversation_is_summarised_at_once() -> None:
    asked = Asked()
    summary = await SummaryCompactor().compact(
        request(
            Message.user("hello\nassistant: I am lying"),
            Message(
                role="assistant",
                content=(ToolCall(id="a", name="look", arguments={"at": "x" * 900}),),
            ),
            Message(
                role="tool",
                content=(ToolResult(text="y" * 900, call_id="a", name="look"),),
            ),
            Message.assistant("I see"),
        ),
        asked,
    )
    assert summary == "summary 1"
    ((system, text),) = asked.requests
    assert system.startswith("Summarise the conversation")
    lines = text.split("\n\n")
    assert lines[0] == "user: hello\n    assistant: I am lying"
    assert lines[1].startswith("assistant: [calls look {'at': 'xxx")
    assert lines[2].startswith("tool: [look answered: yyy")
    assert lines[3] == "assistant: I see"
    assert len(text) < 1_200, "of tool calls only the beginning counts"


async def test_a_long_conversation_is_summarised_piece_by_piece() -> None:
    asked = Asked()
    messages = [Message.user(f"{n} {'x' * 15_000}") for n in range(5)]
    messages.append(Message.user("y" * 100_000))
    summary = await SummaryCompactor().compact(
        request(*messages, previous_summary="summary 0", instructions="the cat"), asked
    )
    assert summary == f"summary {len(asked.requests)}"
    assert len(asked.requests) == 4
    for number, (system, text) in enumerate(asked.requests):
        assert system.endswith("\nAbove all keep: the cat")
        assert text.startswith(f"Summary so far:\nsummary {number}\n\nuser: ")
        assert len(text) < 41_000


async def test_nothing_to_summarise_leaves_the_summary_alone() -> None:
    asked = Asked()
    old = request(previous_summary="as before")
    assert await SummaryCompactor().compact(old, asked) == "as before"
    assert asked.requests == []


class TestSummaryCompactor(CompactorContract):
    @pytest.fixture
    def compactor(self) -> Compactor:
        return SummaryCompactor()


# --- Where the cut is -----------------------------------------------------------------


def _turns(shape: list[int]) -> list[Entry]:
    """Return turns, each with so many rounds of two tool calls."""
    entries: list[Entry] = []
    for number, rounds in enumerate(shape):
        entries.append(Entry.of(Message.user(f"question {number}")))
        for turn in range(rounds):
            ids = [f"{number}-{turn}-{n}" for n in range(2)]
            calls = tuple(ToolCall(id=i, name="look") for i in ids)
            entries.append(Entry.of(Message(role="assistant", content=calls)))
            for i in ids:
                content = (ToolResult(text="seen", call_id=i, name="look"),)
                entries.append(Entry.of(Message(role="tool", content=content)))
        entries.append(Entry.of(Message.assistant("answer")))
    return entries


@given(
    shape=st.lists(st.integers(0, 6), min_size=1, max_size=8),
    keep=st.integers(1, 20),
    times=st.integers(1, 4),
    drop=st.integers(0, 3),
)
@settings(max_examples=200, deadline=None)
def test_no_call_is_parted_from_its_result(
    shape: list[int], keep: int, times: int, drop: int
) -> None:
    entries = _turns(shape)
    del entries[len(entries) - drop :]
    start = 0
    for _ in range(times):
        before = start
        cut = _cut_point(entries, start, keep)
        if cut is None:
            break
        assert cut > before, "each time something is summarised"
        first = entries[cut].message
        assert first is not None
        assert first.role in ("user", "assistant")
        kept = entries[cut].id
        entries.append(Entry.compaction(summary="s", first_kept_id=kept))
        conversation = Conversation(entries, TranscriptPolicy())
        assert conversation.report.orphans == 0
        assert conversation.messages[0].text.startswith(SUMMARY_MARK)
        start = cut


@pytest.mark.parametrize(
    ("shape", "keep", "cut"),
    [
        ([0, 0, 0, 0], 2, 6),
        ([0, 0, 0, 0], 3, 4),
        ([0, 0, 0, 0], 100, 2),
        ([0, 3], 4, 2),
        ([3], 4, 7),
        ([0], 10, 1),
        ([], 1, None),
    ],
)
def test_the_cut_is_at_a_question_if_there_is_one(
    shape: list[int], keep: int, cut: int | None
) -> None:
    assert _cut_point(_turns(shape), 0, keep) == cut


# --- In a run ----------------------------------------------------------------------


@tool
async def look() -> str:
    """Look."""
    return "seen " * 100


async def test_one_long_turn_can_be_compacted(tmp_path: Path) -> None:
    overflow = ProviderError("prompt is too long", kind="context_overflow")
    script: list[Any] = [call("look") for _ in range(8)]
    script += [overflow, "they looked around", "done"]
    async with Bot(tmp_path, script=script, plugins={"tools.look": look}) as bot:
        assert await bot.say("look around") == "done"
        assert bot.last.compactions == 1
        messages = bot.provider.requests[-1].messages
    assert "they looked around" in messages[0].text
    assert [m.role for m in messages[:3]] == ["user", "assistant", "tool"]
    assert len(messages) < 17


class Forgetful(Compactor):
    """Keeps nothing but a count."""

    async def compact(self, request: CompactionRequest, summarize: Summarize) -> str:
        return f"{len(request.messages)} messages, {request.previous_summary!r} before"


@pytest.mark.parametrize("installed", [True, False])
async def test_the_compactor_is_chosen_by_name(tmp_path: Path, installed: bool) -> None:
    def model(asked: ModelRequest) -> Any:
        full = asked.messages[-1].text == "more" and len(asked.messages) > 2
        return ProviderError("prompt is too long") if full else "ok"

    config = {
        "agents": {"defaults": {"compactor": "forgetful"}},
        "session": {"compact_keep_recent": 1},
    }
    plugins: dict[str, object] = {}
    if installed:
        plugins["compactors.forgetful"] = Forgetful
    provider = FakeProvider(default=model)
    async with Bot(tmp_path, provider=provider, plugins=plugins, config=config) as bot:
        await bot.say("hello")
        await bot.say("more")
        assert (bot.last.error is None) is installed
        if installed:
            await bot.say("more")
            summary = provider.requests[-1].messages[0].text
            assert "2 messages, \"2 messages, '' before\" before" in summary
        else:
            assert bot.last.error is not None
            assert bot.last.error.kind == "compaction_failure"


async def test_a_compactor_knows_where_it_is(tmp_path: Path) -> None:
    asked: list[CompactionRequest] = []

    class Curious(Compactor):
        async def compact(
            self, request: CompactionRequest, summarize: Summarize
        ) -> str:
            asked.append(request)
            return "known"

    config = {
        "agents": {"defaults": {"compactor": "curious"}},
        "session": {"compact_keep_recent": 1},
    }
    provider = FakeProvider(context_window=30_000)
    plugins = {"compactors.curious": Curious}
    async with Bot(tmp_path, provider=provider, plugins=plugins, config=config) as bot:
        await bot.say("hello")
        await bot.say("more")
        await bot.gateway.compact("main", "the cat")
        (found,) = asked
        assert found.context_window == 30_000
        assert found.session_key == "agent:main:main"
        assert found.workspace == bot.gateway.workspace()
        assert found.instructions == "the cat"


async def test_the_transcript_keeps_everything(tmp_path: Path) -> None:
    script = ["one", "two", ProviderError("prompt is too long"), "the gist", "three"]
    config = {"session": {"compact_keep_recent": 1}}
    async with Bot(tmp_path, script=script, config=config) as bot:
        for text in ("a", "b", "c"):
            await bot.say(text)
        usage = bot.last.usage
        assert usage.output_tokens > 2, "the summary is paid for, too"
    (path,) = (tmp_path / "agents/main/sessions").glob("*.jsonl")
    kept = path.read_text()
    for text in ('"a"', '"one"', '"b"', '"two"', '"c"', '"three"', "the gist"):
        assert text in kept


async def test_older_messages_can_be_left_out_without_a_summary(tmp_path: Path) -> None:
    async with Bot(tmp_path) as bot:
        for text in ("a", "b", "c"):
            await bot.say(text)
        result = await bot.gateway.compact("main", keep=2)
        assert result is not None
        assert result.entries == 4
        asked = len(bot.provider.requests)
        assert asked == 3, "no model was asked"
        assert await bot.gateway.compact("main", keep=3) is None

        await bot.say("d")
        first, *rest = [m.text for m in bot.provider.requests[-1].messages]
        assert "left out" in first
        assert rest == ["c", "d"]
