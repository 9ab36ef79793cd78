"""The plugin in a gateway: when it compacts, what it tells, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from rustyclaw import (
    CompactionResult,
    HookContext,
    Message,
    ModelRequest,
    ToolContext,
    ToolError,
    ToolResult,
    hookimpl,
    tool,
)
from rustyclaw.testing import Bot, FakeProvider, call
from rustyclaw_compaction.compactor import SafeguardCompactor
from rustyclaw_compaction.config import CompactionConfig, RecallConfig, SafeguardConfig
from rustyclaw_compaction.plugin import CompactionPlugin
from rustyclaw_compaction.recall import Recall

SAFEGUARD = SafeguardConfig(quality_retries=0)


class Watch:
    """Says when a session was compacted."""

    def __init__(self) -> None:
        self.results: list[CompactionResult] = []
        self.done = anyio.Event()

    @hookimpl
    async def after_compaction(self, result: CompactionResult) -> None:
        self.results.append(result)
        self.done.set()


def is_talk(request: ModelRequest) -> bool:
    return request.system.startswith("You are")


def bot_of(
    home: Path,
    *,
    model: FakeProvider | None = None,
    config: Mapping[str, Any] | None = None,
    session: Mapping[str, Any] | None = None,
    **plugins: object,
) -> Bot:
    model = model or FakeProvider(default="ok " * 100, context_window=16_000)
    return Bot(
        home,
        provider=model,
        plugins={
            "hooks.compaction": CompactionPlugin(
                CompactionConfig.model_validate(config or {})
            ),
            "compactors.safeguard": SafeguardCompactor(SAFEGUARD),
            "tools.recall": Recall(),
            **{name.replace("__", "."): plugin for name, plugin in plugins.items()},
        },
        config={
            "agents": {"defaults": {"compactor": "safeguard"}},
            "session": {"compact_keep_recent": 2, **(session or {})},
        },
    )


# --- When ---------------------------------------------------------------------------


async def test_a_turn_that_leaves_little_room_is_followed_by_a_compaction(
    tmp_path: Path,
) -> None:
    watch = Watch()
    async with bot_of(tmp_path, hooks__watch=watch) as bot:
        for letter in "abc":
            await bot.say(letter * 8_000)
            assert bot.last.compactions == 0
        assert watch.results == []
        await bot.say("d" * 8_000)
        with anyio.fail_after(10):
            await watch.done.wait()
        assert bot.last.compactions == 0, "it came after the run"
        (result,) = watch.results
        assert result.tokens_after < 8_000 < result.tokens_before


@pytest.mark.parametrize(
    ("config", "session"), [({"reserve_tokens": 0}, {}), ({}, {"auto_compact": False})]
)
async def test_it_can_be_switched_off(
    tmp_path: Path, config: Any, session: Any
) -> None:
    watch = Watch()
    async with bot_of(
        tmp_path, config=config, session=session, hooks__watch=watch
    ) as bot:
        for letter in "abcde":
            await bot.say(letter * 8_000)
        await bot.gateway.compact("main")
        assert len(watch.results) == 1, "only the one that was asked for"


async def test_what_cannot_be_compacted_is_not_tried_after_each_turn(
    tmp_path: Path,
) -> None:
    asked = anyio.Event()

    def model(request: ModelRequest) -> Any:
        if is_talk(request):
            return "ok"
        asked.set()
        return ""  # which is no summary

    provider = FakeProvider(default=model, context_window=16_000)
    safeguard = SafeguardCompactor(SafeguardConfig(quality_retries=0, retries=1))
    tried: list[int] = []
    async with bot_of(tmp_path, model=provider, compactors__safeguard=safeguard) as bot:
        for size in (9_000, 9_000, 9_000, 9_000, 100, 100):
            await bot.say("e" * size)
            if len(tried) == 3:
                with anyio.fail_after(10):
                    await asked.wait()
            await bot.gateway.inject("main", Message.user("."))  # after a compaction
            tried.append(sum(not is_talk(r) for r in provider.requests))
    assert tried[:3] == [0, 0, 0]
    assert tried[3:] == [tried[3]] * 3


# --- What the next turn is told -----------------------------------------------------


async def test_the_next_turn_is_told_once(tmp_path: Path) -> None:
    async with bot_of(tmp_path) as bot:
        workspace = bot.gateway.workspace()
        workspace.mkdir(parents=True)
        text = "## Red Lines\nLog to memory/YYYY-MM-DD.md.\n## More\nno"
        (workspace / "AGENTS.md").write_text(text)
        for number in range(4):
            await bot.say(f"question {number} " + "x" * 1_000)
        assert await bot.gateway.compact("main") is not None
        await bot.say("and now?")
        told = bot.provider.requests[-1].system
        await bot.say("and then?")
        again = bot.provider.requests[-1].system

    note = told.partition("[The conversation was just shortened")[2]
    assert "It is 20" in note
    assert "## Red Lines\nLog to memory/20" in note
    assert "## More" not in note
    assert "just shortened" not in again


async def test_no_characters_no_note(tmp_path: Path) -> None:
    async with bot_of(tmp_path, config={"context_chars": 0}) as bot:
        for number in range(4):
            await bot.say(f"question {number} " + "x" * 1_000)
        assert await bot.gateway.compact("main") is not None
        await bot.say("and now?")
        assert "just shortened" not in bot.provider.requests[-1].system


# --- Recall -------------------------------------------------------------------------


@tool
async def forecast() -> str:
    """Tell the weather."""
    return "Sirocco, force seven. " + "Waves. " * 300


@pytest.fixture
async def told(tmp_path: Path, anyio_backend: Any) -> Any:
    """Yield a bot that has heard much, and the same in another session."""
    script = [
        call("forecast"),
        "Stormy.",
        "Noted: berth 17.",
        *["fine"] * 3,
        "secret noted",
    ]
    model = FakeProvider(script=script, default="ok")
    async with bot_of(tmp_path, model=model, tools__forecast=forecast()) as bot:
        await bot.say("What is the weather?")
        await bot.say("The boat lies at berth 17.\nÄpfel für die Crew.")
        for number in range(3):
            await bot.say(f"small talk {number} about a boat")
        await bot.say("the other secret is 4711", session="other")
        await bot.say("now")
        yield bot


def recalling(bot: Bot, session: str = "main") -> Callable[..., Any]:
    found = bot.gateway.tools.get("conversation_recall")
    assert isinstance(found, Recall)
    home = bot.gateway.home
    context = ToolContext(
        agent_id="main",
        session_key=f"agent:main:{session}",
        run_id="run-1",
        channel="",
        workspace=home,
        agent_dir=home,
        home=home,
    )

    async def recall(**arguments: Any) -> ToolResult:
        return await found.run(found.Params(**arguments), context)

    return recall


async def test_the_best_place_comes_first(told: Bot) -> None:
    recall = recalling(told)
    lines = (await recall(query="BERTH boat")).text.splitlines()
    assert len(lines) == 1
    assert "user] The boat lies at berth 17. Äpfel" in lines[0]
    lines = (await recall(query="boat")).text.splitlines()
    assert "small talk 2" in lines[0], "the newest of equal ones"
    assert len(lines) == 4
    lines = (await recall(query="boat zebra")).text.splitlines()
    assert len(lines) == 4, "some of the words are better than nothing"
    assert "Äpfel" in (await recall(query="äpfel")).text
    assert "nothing earlier" in (await recall(query="zebra")).text


async def test_what_a_tool_has_said_is_found_and_read_in_pieces(told: Bot) -> None:
    recall = recalling(told)
    found = told.gateway.tools.get("conversation_recall")
    assert isinstance(found, Recall)
    found.config = RecallConfig(max_chars=1_000)
    (line,) = (await recall(query="sirocco")).text.splitlines()
    entry = line.removeprefix("[").split()[0]

    text, offset = "", 0
    for _ in range(5):
        result = await recall(entry=entry, offset=offset)
        assert len(result.text) < 1_200
        head, _, piece = result.text.partition("\n")
        assert head.endswith("tool]")
        text += piece.partition("\n[1")[0] if "read on" in piece else piece
        if "read on with offset" not in piece:
            break
        offset = int(piece.rpartition("offset ")[2].rstrip("]"))
    assert "Sirocco, force seven. Waves." in text
    assert offset == 2_000


async def test_only_the_own_session_is_read(told: Bot) -> None:
    assert "nothing earlier" in (await recalling(told)(query="4711")).text
    info = await told.gateway.state.sessions.get("other")
    assert info is not None
    entries = (await told.gateway.state.sessions.transcript(info)).entries
    with pytest.raises(ToolError, match="has no entry"):
        await recalling(told)(entry=entries[0].id)


async def test_a_session_that_began_anew_has_forgotten(told: Bot) -> None:
    await told.gateway.reset("main")
    assert "nothing earlier" in (await recalling(told)(query="boat")).text
    assert "nothing earlier" in (await recalling(told, "new")(query="boat")).text


@pytest.mark.parametrize(
    "arguments", [{}, {"query": " "}, {"query": "a", "entry": "b"}]
)
async def test_a_call_names_one_thing(told: Bot, arguments: Any) -> None:
    with pytest.raises(ToolError, match="either `query` or `entry`"):
        await recalling(told)(**arguments)


async def test_an_offset_behind_the_end_is_an_error(told: Bot) -> None:
    line = (await recalling(told)(query="berth boat")).text
    with pytest.raises(ToolError, match="has only"):
        await recalling(told)(entry=line.removeprefix("[").split()[0], offset=10_000)


async def test_without_the_hook_plugin_it_says_what_is_missing(
    tool_context: ToolContext,
) -> None:
    with pytest.raises(ToolError, match="hook plugin 'compaction' is off"):
        await Recall().run(Recall.Params(query="boat"), tool_context)


async def test_searches_do_not_find_themselves(tmp_path: Path) -> None:
    script = ["noted", call("conversation_recall", query="walnut"), "here", "ok"]
    model = FakeProvider(script=script, default="ok")
    async with bot_of(tmp_path, model=model) as bot:
        await bot.say("a walnut")
        await bot.say("what did I say?")
        await bot.say("thanks")
        text = (await recalling(bot)(query="walnut")).text
    assert len(text.splitlines()) == 1
    assert "user] a walnut" in text


def test_a_context_is_all_that_decides() -> None:
    """No argument of the tool may name a session."""
    assert set(Recall.Params.model_fields) == {"query", "entry", "offset"}


async def test_many_sessions_do_not_fill_the_memory() -> None:
    plugin = CompactionPlugin()
    for number in range(1_200):
        await plugin.after_compaction(
            HookContext(agent_id="a", session_key=str(number))
        )
    assert len(plugin._sessions) == 1_000
