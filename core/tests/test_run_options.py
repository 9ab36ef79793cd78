"""What a caller may choose for one run, and how it steers and ends runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from rustyclaw import (
    CompactionRequest,
    Finished,
    Gateway,
    Message,
    MethodError,
    ModelRequest,
    Prompt,
    ProviderError,
    RunEnded,
    RunEvent,
    RunOptions,
    RunResult,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolEnded,
    ToolResult,
    ToolSchema,
    hookimpl,
    tool,
)
from rustyclaw.registry import Caller, Method
from rustyclaw.sessions.locks import SessionLock
from rustyclaw.testing import Bot, FakeProvider, call, hang

LAMP = ToolSchema(
    name="lamp", description="Switch the lamp.", parameters={"type": "object"}
)


async def run(
    gateway: Gateway, message: str | Message, session: str = "main", **options: Any
) -> RunResult:
    """Run to the end; return how it ended."""
    events = gateway.run(message, session=session, options=RunOptions(**options))
    (*_, last) = [event async for event in events]
    assert isinstance(last, RunEnded)
    return last.result


def results(*given: tuple[str, str]) -> Message:
    """Return the results of calls, by their ids."""
    blocks = (ToolResult(call_id=call_id, text=text) for call_id, text in given)
    return Message(role="tool", content=tuple(blocks))


# --- One run is another than the session says ----------------------------------------


async def test_model_thinking_and_system_are_of_this_run_alone(tmp_path: Path) -> None:
    async with Bot(tmp_path, script=["a", "b"]) as bot:
        chosen = {"model": "fake/other", "thinking": "high", "system": "Speak Latin."}
        first = await run(bot.gateway, "hi", run_id="mine", **chosen)
        second = await run(bot.gateway, "hi")
        special, plain = bot.provider.requests
    assert (first.run_id, first.model) == ("mine", "fake/other")
    assert second.model == "fake/fake"
    assert second.run_id not in ("", "mine")
    assert (special.thinking, plain.thinking) == ("high", "off")
    assert special.system == f"{plain.system}\n\nSpeak Latin."


async def test_an_unknown_model_is_the_error_of_the_run(tmp_path: Path) -> None:
    async with Bot(tmp_path) as bot:
        ended = await run(bot.gateway, "hi", model="gone/x")
        assert (await run(bot.gateway, "hi")).text == "hi"
    assert ended.error is not None
    assert "pip install rustyclaw-gone" in ended.error.message


@pytest.mark.parametrize(
    ("options", "limit"), [({"timeout_seconds": 0.05}, "0.05 s"), ({}, "0.2 s")]
)
async def test_a_deadline_may_be_shorter(
    tmp_path: Path, options: Any, limit: str
) -> None:
    config = {"agents": {"defaults": {"timeout_seconds": 0.2}}}
    async with Bot(tmp_path, script=[hang()], config=config) as bot:
        ended = await run(bot.gateway, "hi", **options)
    assert ended.error is not None
    assert (ended.error.kind, ended.aborted) == ("timeout", False)
    assert ended.error.message.endswith(limit)


async def test_a_deadline_cannot_be_longer(tmp_path: Path) -> None:
    config = {"agents": {"defaults": {"timeout_seconds": 0.05}}}
    async with Bot(tmp_path, script=[hang()], config=config) as bot:
        ended = await run(bot.gateway, "hi", timeout_seconds=500)
    assert ended.error is not None
    assert ended.error.message.endswith("0.05 s")


async def test_a_run_id_is_never_a_path(tmp_path: Path) -> None:
    @tool
    async def long() -> str:
        """Say a lot."""
        return "x" * 500_000

    script = [call("long"), "done"]
    async with Bot(tmp_path / "h", script=script, plugins={"tools.long": long}) as bot:
        await run(bot.gateway, "go", run_id="../../../../../escaped")
        (spooled,) = (tmp_path / "h").glob("agents/main/workspace/tool-output/*")
    assert spooled.stat().st_size == 500_000
    assert not list(tmp_path.rglob("*escaped*"))


# --- History ------------------------------------------------------------------------

TALK = (
    Message.user("what is 1 + 1?"),
    Message(role="assistant", content=(ToolCall(id="c1", name="add"),)),
    results(("c1", "2")),
    Message.assistant("two"),
)


def said(request: ModelRequest) -> list[tuple[str, Any]]:
    """Return the messages in short."""
    short = []
    for message in request.messages:
        blocks = [
            b.text if isinstance(b, Text | ToolResult) else b.name  # type: ignore[union-attr]  # no others here
            for b in message.content
        ]
        short.append((message.role, blocks))
    return short


async def test_history_comes_before_the_message_of_a_new_session(
    tmp_path: Path,
) -> None:
    expected = [
        ("user", ["what is 1 + 1?"]),
        ("assistant", ["add"]),
        ("tool", ["2"]),
        ("assistant", ["two"]),
        ("user", ["and 2 + 2?"]),
    ]
    for provider in (FakeProvider(script=["four"]), FakeProvider(script=["six"])):
        async with Bot(tmp_path, provider=provider) as bot:
            await run(bot.gateway, "and 2 + 2?", history=TALK)
            found = said(bot.provider.requests[0])
        assert found == expected
        expected += [("assistant", ["four"]), ("user", ["and 2 + 2?"])]  # now it is old


async def test_damaged_history_is_repaired(tmp_path: Path) -> None:
    history = (TALK[2], *TALK[:2], Message.user("never mind"))
    async with Bot(tmp_path, script=["ok"]) as bot:
        await run(bot.gateway, "hi", history=history)
        found = [role for role, _ in said(bot.provider.requests[0])]
        calls = bot.provider.requests[0].messages
    answered = {
        b.call_id for m in calls for b in m.content if isinstance(b, ToolResult)
    }
    assert found[:3] == ["user", "assistant", "tool"]
    assert answered == {"c1"}


async def test_results_may_answer_calls_of_the_history(tmp_path: Path) -> None:
    async with Bot(tmp_path, script=["two"]) as bot:
        ended = await run(bot.gateway, results(("c1", "2")), history=TALK[:2])
        (request,) = bot.provider.requests
    assert ended.text == "two"
    (block,) = request.messages[-1].content
    assert isinstance(block, ToolResult)
    assert (block.call_id, block.name, block.text) == ("c1", "add", "2")


# --- The caller's own tools -----------------------------------------------------------


@tool(effects=("read",))
async def clock() -> str:
    """Tell the time."""
    return "noon"


async def test_a_run_ends_when_the_model_calls_a_tool_of_the_caller(
    tmp_path: Path,
) -> None:
    script = [["Let me see. ", *call("lamp", on=True), *call("clock")], "It is on."]
    async with Bot(tmp_path, script=script, plugins={"tools.clock": clock}) as bot:
        first = await run(bot.gateway, "light!", tools=(LAMP,))
        (lamp,) = first.calls
        second = await run(bot.gateway, results((lamp.id, "it shines")), tools=(LAMP,))
        before, after = bot.provider.requests
    assert (first.text, first.stop_reason) == ("Let me see. ", "tool_calls")
    assert (first.error, first.tool_calls) == (None, 2)
    assert (lamp.name, lamp.arguments) == ("lamp", {"on": True})
    assert (second.text, second.calls) == ("It is on.", ())
    assert {s.name for s in before.tools} == {"lamp", "clock"}
    answers = {b.name: b.text for b in after.messages[-1].content}  # type: ignore[union-attr]  # all are results
    assert answers == {"clock": "noon", "lamp": "it shines"}


async def test_the_tool_of_the_caller_comes_first(tmp_path: Path) -> None:
    mine = replace(LAMP, name="clock")
    async with Bot(
        tmp_path, script=[call("clock")], plugins={"tools.clock": clock}
    ) as bot:
        ended = await run(bot.gateway, "time?", tools=(mine,))
        (request,) = bot.provider.requests
    assert [c.name for c in ended.calls] == ["clock"]
    assert request.tools == (mine,)


async def test_a_malformed_call_is_not_handed_out(tmp_path: Path) -> None:
    broken = [
        ToolCallDelta(index=0, id="1", name="lamp", arguments="{oops"),
        Finished(stop_reason="tool_calls"),
    ]
    async with Bot(tmp_path, script=[broken, call("lamp")]) as bot:
        events: list[RunEvent] = []
        async for event in bot.gateway.run("light!", options=RunOptions(tools=(LAMP,))):
            events.append(event)
    (wrong,) = [e.result for e in events if isinstance(e, ToolEnded)]
    assert wrong.is_error
    assert isinstance(events[-1], RunEnded)
    assert [c.name for c in events[-1].result.calls] == ["lamp"]


async def test_results_reach_the_model_after_a_restart(tmp_path: Path) -> None:
    async with Bot(tmp_path, script=[call("lamp")]) as bot:
        (lamp,) = (await run(bot.gateway, "light!", tools=(LAMP,))).calls
    async with Bot(tmp_path, script=["on"]) as bot:
        assert (await run(bot.gateway, results((lamp.id, "it shines")))).text == "on"
        assert said(bot.provider.requests[0])[-1] == ("tool", ["it shines"])


async def test_results_reach_the_model_after_a_compaction(tmp_path: Path) -> None:
    config = {"session": {"compact_keep_recent": 1}}
    script = ["one", "two", call("lamp"), "the summary", "on"]
    async with Bot(tmp_path, script=script, config=config) as bot:
        for text in ("a", "b"):
            await run(bot.gateway, text)
        (lamp,) = (await run(bot.gateway, "light!", tools=(LAMP,))).calls
        assert await bot.gateway.compact("main") is not None
        assert (await run(bot.gateway, results((lamp.id, "it shines")))).text == "on"
        assert said(bot.provider.requests[-1])[-1] == ("tool", ["it shines"])


async def test_who_does_not_answer_a_call_gets_an_error_in_its_place(
    tmp_path: Path,
) -> None:
    two = [*call("lamp", n=1), *call("lamp", n=2)]
    async with Bot(tmp_path, script=[two, "hm", call("lamp"), "well"]) as bot:
        first, _ = (await run(bot.gateway, "light!", tools=(LAMP,))).calls
        await run(bot.gateway, results((first.id, "on")))
        found = bot.provider.requests[1].messages[-1].content
        assert found[0].text == "on"  # type: ignore[union-attr]  # all are results
        assert [b.is_error for b in found] == [False, True]  # type: ignore[union-attr]  # all are results
        await run(bot.gateway, "again", tools=(LAMP,))
        await run(bot.gateway, "forget it")
        assert [r for r, _ in said(bot.provider.requests[3])][-2:] == ["tool", "user"]


@pytest.mark.parametrize(
    "message",
    [
        results(("nobody", "x")),
        results(("call_1_1", "fine"), ("nobody", "x")),
        Message(role="tool", content=()),
        Message(role="tool", content=(Text(text="hi"),)),
        Message.assistant("I am the model"),
    ],
    ids=["unknown", "one unknown", "empty", "text", "assistant"],
)
async def test_results_that_nobody_waits_for_change_nothing(
    tmp_path: Path, message: Message
) -> None:
    async with Bot(tmp_path, script=[call("lamp"), "on"]) as bot:
        (lamp,) = (await run(bot.gateway, "light!", tools=(LAMP,))).calls
        refused = await run(bot.gateway, message)
        assert refused.error is not None
        assert refused.error.kind == "role_ordering"
        assert repr(lamp.id) in refused.error.message
        assert len(bot.provider.requests) == 1
        assert (await run(bot.gateway, results((lamp.id, "ok")))).text == "on"
        again = await run(bot.gateway, results((lamp.id, "ok")))
        assert again.error is not None
        assert "there is none" in again.error.message


async def test_what_a_hook_adds_to_results_is_not_sent(tmp_path: Path) -> None:
    class Recall:
        @hookimpl
        async def before_agent_start(self, prompt: Prompt) -> Prompt:
            content = (*prompt.message.content, Text(text="(it is late)"))
            return replace(prompt, message=replace(prompt.message, content=content))

    plugins = {"hooks.recall": Recall()}
    async with Bot(tmp_path, script=[call("lamp"), "on"], plugins=plugins) as bot:
        (lamp,) = (await run(bot.gateway, "light!", tools=(LAMP,))).calls
        await run(bot.gateway, results((lamp.id, "ok")))
        first, second = bot.provider.requests
    assert said(first)[-1] == ("user", ["light!", "(it is late)"])
    assert said(second)[-1] == ("tool", ["ok"])


# --- Runs in progress ------------------------------------------------------------


class Two:
    """Two runs of a session: one hangs, the other waits for its turn."""

    def __init__(self, bot: Bot) -> None:
        self.bot, self.ended = bot, dict[str, RunResult]()
        self.begun = anyio.Event()

    async def run(self, run_id: str) -> None:
        options = RunOptions(run_id=run_id)
        async with aclosing(self.bot.gateway.run(run_id, options=options)) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    self.begun.set()
                if isinstance(event, RunEnded):
                    self.ended[run_id] = event.result

    async def start(self, group: anyio.abc.TaskGroup) -> None:
        group.start_soon(self.run, "first")
        with anyio.fail_after(5):
            await self.begun.wait()
        group.start_soon(self.run, "second")
        await anyio.wait_all_tasks_blocked()


@pytest.fixture
async def two(tmp_path: Path, anyio_backend: Any) -> AsyncIterator[Two]:
    async with Bot(tmp_path, script=[hang(after=1), "fine"]) as bot:
        yield Two(bot)


async def test_a_run_that_waits_can_be_aborted(two: Two) -> None:
    gateway = two.bot.gateway
    async with anyio.create_task_group() as group:
        await two.start(group)
        assert gateway.abort("main", "second")
        await anyio.wait_all_tasks_blocked()
        assert list(two.ended) == ["second"], "it need not wait to be told"
        assert not gateway.abort("main", "second")
        assert gateway.abort("main", "first")
    assert all(result.aborted for result in two.ended.values())
    assert two.ended["second"].text == ""
    assert len(two.bot.provider.requests) == 1


async def test_only_the_run_that_is_named_is_aborted(two: Two) -> None:
    gateway = two.bot.gateway
    async with anyio.create_task_group() as group:
        await two.start(group)
        assert not gateway.abort("main", "third")
        assert not gateway.abort("other", "first")
        (active,) = gateway.active_runs()
        assert (active.run_id, active.session_key) == ("first", "agent:main:main")
        assert gateway.started_at <= active.started_at
        assert gateway.abort("main")  # whichever it is
    assert (two.ended["first"].aborted, two.ended["second"].aborted) == (True, False)
    assert two.ended["second"].text == "fine"
    assert gateway.active_runs() == []


async def test_a_run_that_waits_for_another_process_can_be_aborted(
    tmp_path: Path,
) -> None:
    async with Bot(tmp_path, script=["one", "two"]) as bot:
        await bot.say("hi")
        (file,) = tmp_path.glob("agents/main/sessions/*.jsonl")
        events: list[RunEvent] = []

        async def ask() -> None:
            options = RunOptions(run_id="r")
            async for event in bot.gateway.run("hi", options=options):
                events.append(event)

        async with anyio.create_task_group() as group, SessionLock(file):
            group.start_soon(ask)
            with anyio.fail_after(5):
                while not bot.gateway.abort("main", "r"):
                    await anyio.lowlevel.checkpoint()
        (ended,) = events
        assert isinstance(ended, RunEnded)
        assert ended.result.aborted
        assert len(bot.provider.requests) == 1
        assert await bot.say("hi") == "two"


# --- Compaction and methods -------------------------------------------------------


async def test_a_session_is_compacted_on_request(tmp_path: Path) -> None:
    seen: list[CompactionRequest] = []

    class Watch:
        @hookimpl
        async def before_compaction(self, request: CompactionRequest) -> None:
            seen.append(request)

    config = {"session": {"compact_keep_recent": 1}}
    script = ["one", "two", "the summary", "three"]
    plugins = {"hooks.watch": Watch()}
    async with Bot(tmp_path, script=script, config=config, plugins=plugins) as bot:
        assert await bot.gateway.compact("main") is None
        for text in ("a", "b"):
            await bot.say(text)
        result = await bot.gateway.compact("main", "the name of the cat")
        assert result is not None
        assert result.summary == "the summary"
        await bot.say("c")
        asked, after = bot.provider.requests[2:]
        info = await bot.gateway.state.sessions.get("main")
    assert seen[0].instructions == "the name of the cat"
    assert "Above all keep: the name of the cat" in asked.system
    assert "the summary" in after.messages[0].text
    assert info is not None
    assert info.compactions == 1
    assert info.usage.output_tokens >= 4, "the summary is paid for as well"


async def test_a_summary_that_fails_changes_nothing(tmp_path: Path) -> None:
    config = {"session": {"compact_keep_recent": 1}}
    script = ["one", "two", ProviderError("no", kind="billing"), "three"]
    async with Bot(tmp_path, script=script, config=config) as bot:
        for text in ("a", "b"):
            await bot.say(text)
        with pytest.raises(ProviderError):
            await bot.gateway.compact("main")
        assert await bot.say("c") == "three"
        assert bot.provider.requests[-1].messages[0].text == "a"


async def test_a_method_knows_who_calls(tmp_path: Path) -> None:
    class Guest(Caller):
        scopes = frozenset({"operator.read"})

        def __init__(self) -> None:
            self.heard: list[Any] = []

        def progress(self, payload: Any) -> None:
            self.heard.append(payload)

    async def who(params: Any, caller: Caller) -> list[str]:
        caller.progress("wait")
        return sorted(caller.scopes)

    async with Bot(tmp_path) as bot:
        bot.gateway.methods.add(Method(name="who", handler=who), owner="test")
        guest = Guest()
        assert await bot.gateway.call("who", {}, guest) == ["operator.read"]
        assert guest.heard == ["wait"]
        assert await bot.gateway.call("who") == ["operator.admin"]
        with pytest.raises(MethodError, match="unknown method: whom"):
            await bot.gateway.call("whom", {}, guest)
