"""The hook in a gateway: what is sent, what is kept, and the cache's time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rustyclaw import Message, Tool, ToolResult, tool
from rustyclaw.testing import Bot, FakeProvider, call
from rustyclaw_pruning.config import PruningConfig
from rustyclaw_pruning.plugin import SUMMARY_MARK, PruningPlugin


@tool
async def look() -> str:
    """Look around."""
    return "long ago " * 1_500


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def results(request: Any) -> list[ToolResult]:
    return [b for m in request.messages for b in m.content if isinstance(b, ToolResult)]


def bot_of(
    home: Path, plugin: PruningPlugin, turns: int, provider: str = "fake"
) -> tuple[Bot, FakeProvider]:
    model = FakeProvider(
        script=[*[call("look"), "seen"] * turns], default="ok", context_window=20_000
    )
    looking: type[Tool] = look
    plugins = {
        "hooks.pruning": plugin,
        "tools.look": looking,
        f"providers.{provider}": model,
    }
    config = {"agents": {"defaults": {"model": provider}}}
    return Bot(home, provider=model, plugins=plugins, config=config), model


async def test_old_results_are_shortened_and_the_transcript_is_not(
    tmp_path: Path,
) -> None:
    bot, model = bot_of(tmp_path, PruningPlugin(), 4)
    async with bot:
        for number in range(4):
            await bot.say(f"look {number}")
        await bot.say("and now?")
        assert bot.last.compactions == 0
        info = await bot.gateway.state.sessions.get("main")
        assert info is not None
        stored = (await bot.gateway.state.sessions.transcript(info)).entries

    sent = [len(result.text) for result in results(model.requests[-1])]
    kept = [
        len(block.text)
        for entry in stored
        if entry.message
        for block in entry.message.content
        if isinstance(block, ToolResult)
    ]
    assert kept == [13_500] * 4
    assert sent[:3] == [sent[0]] * 3
    assert sent[0] < 4_000
    assert sent[3] == 13_500, "it belongs to the last assistant messages"


async def test_pruning_makes_compaction_needless(tmp_path: Path) -> None:
    rules = PruningConfig(min_prunable_tool_chars=10_000)
    bot, _ = bot_of(tmp_path, PruningPlugin(rules), 20)
    async with bot:
        for number in range(20):
            await bot.say(f"look {number}")
            assert bot.last.error is None
            assert bot.last.compactions == 0


async def test_a_mode_turns_it_off(tmp_path: Path) -> None:
    bot, model = bot_of(tmp_path, PruningPlugin(PruningConfig(mode="off")), 4)
    async with bot:
        for number in range(4):
            await bot.say(f"look {number}")

    assert {len(r.text) for r in results(model.requests[-1])} == {13_500}


async def test_a_live_cache_is_not_spoilt(tmp_path: Path) -> None:
    clock = Clock()
    plugin = PruningPlugin(PruningConfig(mode="cache-ttl"), clock=clock)
    bot, model = bot_of(tmp_path, plugin, 4, provider="anthropic")

    def sent() -> list[int]:
        return [len(result.text) for result in results(model.requests[-1])]

    async with bot:
        for number in range(4):
            await bot.say(f"look {number}")
            clock.now += 299
        assert sent() == [13_500] * 4, "each call came before the cache expired"
        clock.now += 1
        await bot.say("after a break")
        pruned = sent()
        assert pruned[0] < 4_000
        clock.now += 10
        await bot.say("at once")
        assert sent() == pruned, "the cache now holds the pruned conversation"
        await bot.gateway.reset("main")
        clock.now += 1_000
        await bot.say("anew")
        assert sent() == []


@pytest.mark.parametrize("provider", ["fake", "anthropic"])
async def test_only_models_with_a_cache_have_one(tmp_path: Path, provider: str) -> None:
    clock = Clock()
    plugin = PruningPlugin(PruningConfig(mode="cache-ttl", max_sessions=1), clock=clock)
    bot, model = bot_of(tmp_path, plugin, 4, provider=provider)
    async with bot:
        for number in range(4):
            await bot.say(f"look {number}")
        clock.now += 1_000
        await bot.say("after a break")

    shortened = len(results(model.requests[-1])[0].text) < 13_500
    assert shortened is (provider == "anthropic")


async def test_old_turns_are_left_out_but_not_the_summary(tmp_path: Path) -> None:
    rules = PruningConfig(history_turns={"*:other": 1, "agent:main:*": 2})
    model = FakeProvider(default="the gist")
    async with Bot(
        tmp_path,
        provider=model,
        plugins={"hooks.pruning": PruningPlugin(rules)},
        config={"session": {"compact_keep_recent": 1}},
    ) as bot:
        for number in range(3):
            await bot.say(f"question {number}")
        assert [m.text for m in model.requests[-1].messages] == [
            "question 1",
            "the gist",
            "question 2",
        ]
        await bot.gateway.compact("main")
        for number in range(3, 6):
            await bot.say(f"question {number}")
        messages = model.requests[-1].messages
        assert messages[0].text == f"{SUMMARY_MARK}\n\nthe gist\nquestion 4"
        assert messages[1:] == (
            Message.assistant("the gist"),
            Message.user("question 5"),
        )
