"""Tool calls: what runs, what does not, and what the model reads of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import BaseModel, Field
from rustyclaw import (
    Ask,
    Busy,
    Finished,
    TextDelta,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolContext,
    ToolError,
    ToolResult,
    ToolSchema,
    Veto,
    hookimpl,
    tool,
)
from rustyclaw.approvals import Approval, Approvals, Decision
from rustyclaw.messages import HookContext
from rustyclaw.runs import ToolEnded, ToolStarted
from rustyclaw.testing import Bot, call


@tool
async def roll(sides: int = 6) -> str:
    """Roll a die."""
    return f"rolled {sides}"


class Delete(Tool):
    """Delete a file."""

    name = "delete"
    effects = frozenset({"write"})
    timeout_seconds = 0.05

    class Params(BaseModel):
        path: str = Field(min_length=1)

    def __init__(self, check: Exception | None = None) -> None:
        super().__init__()
        self.problem = check
        self.deleted: list[str] = []
        self.checked: list[str] = []

    async def check(self, params: Params, context: ToolContext) -> None:
        self.checked.append(params.path)
        if self.problem:
            raise self.problem

    async def run(self, params: Params, context: ToolContext) -> ToolResult:
        self.deleted.append(params.path)
        return ToolResult(text=f"deleted {params.path}")


def deltas(*pieces: ToolCallDelta, reason: Any = "tool_calls") -> list[Any]:
    return [*pieces, Finished(stop_reason=reason)]


def results(bot: Bot, request: int = 1) -> list[ToolResult]:
    """Return what the model is told of the calls before a request."""
    content = bot.provider.requests[request].messages[-1].content
    return [block for block in content if isinstance(block, ToolResult)]


async def only_result(
    home: Path, calls: Sequence[Any], plugins: dict[str, object], **facts: Any
) -> ToolResult:
    """Return what the model is told of one call; the run goes on after it."""
    async with Bot(home, script=[calls, "done"], plugins=plugins, **facts) as bot:
        assert await bot.say("do it") == "done"
        assert bot.last.error is None
        (result,) = results(bot)
    return result


async def test_a_tool_is_shown_as_it_is_registered_now(tmp_path: Path) -> None:
    @dataclass
    class Note(Tool):
        """Take a note."""

        name = "note"
        detail: str = "short"

        @property
        def schema(self) -> ToolSchema:
            return ToolSchema(name="note", description=self.detail, parameters={})

        async def run(self, params: Any, context: ToolContext) -> ToolResult:
            return ToolResult(text="noted")

    async with Bot(tmp_path, plugins={"tools.note": Note()}) as bot:
        await bot.say("one")
        bot.gateway.tools.remove("note")
        await bot.say("two")
        bot.gateway.tools.add(Note("long"), owner="note")
        await bot.say("three")
        shown = [
            [schema.description for schema in request.tools]
            for request in bot.provider.requests
        ]
    assert shown == [["short"], [], ["long"]]


# --- Calls that do not run ----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("rol", "{}", "there is no tool 'rol' here; did you mean 'roll'?"),
        ("xyz", "{}", "there is no tool 'xyz' here"),
        ("roll", '{"sides": ', "the arguments are not valid JSON"),
        ("roll", "[1]", "the arguments are not valid JSON: they are not an object"),
        ("roll", '{"a":' * 50_000, "the arguments are not valid JSON"),
        ("roll", '{"sides": "many"}', "wrong arguments for 'roll': sides"),
        ("roll", '{"size": 6}', "wrong arguments for 'roll': size"),
    ],
)
async def test_a_wrong_call_is_an_error_that_the_model_can_mend(
    tmp_path: Path, name: str, arguments: str, words: str
) -> None:
    calls = deltas(ToolCallDelta(index=0, id="a", name=name, arguments=arguments))
    result = await only_result(tmp_path, calls, {"tools.roll": roll})
    assert result.is_error
    assert words in result.text
    assert (result.call_id, result.name) == ("a", name)


@pytest.mark.parametrize("arguments", ['{"sides": ', ""])
async def test_half_a_call_never_runs(tmp_path: Path, arguments: str) -> None:
    pieces = ToolCallDelta(index=0, id="a", name="roll", arguments=arguments)
    calls = deltas(pieces, reason="length")
    result = await only_result(tmp_path, calls, {"tools.roll": roll})
    assert result.is_error
    assert "not valid JSON" in result.text


async def test_a_call_in_a_stream_that_was_cut_off_never_runs(tmp_path: Path) -> None:
    delete = Delete()
    whole = ToolCallDelta(index=0, id="a", name="delete", arguments='{"path": "x"}')
    script = [[TextDelta(text="I will"), whole]]
    async with Bot(tmp_path, script=script, plugins={"tools.delete": delete}) as bot:
        await bot.say("delete it")
        assert bot.last.error is not None
        assert bot.last.text == "I will"
    assert delete.checked == []


async def test_calls_without_an_id_get_their_own(tmp_path: Path) -> None:
    calls = deltas(
        ToolCallDelta(index=0, name="roll", arguments='{"sides": 1}'),
        ToolCallDelta(index=1, name="roll", arguments="{"),
        ToolCallDelta(index=2, name="ro"),
        ToolCallDelta(index=2, name="ll"),
    )
    plugins: dict[str, object] = {"tools.roll": roll}
    async with Bot(tmp_path, script=[calls, "done"], plugins=plugins) as bot:
        await bot.say("roll")
        told = results(bot)
    assert [result.is_error for result in told] == [False, True, False]
    assert [told[0].text, told[2].text] == ["rolled 1", "rolled 6"]
    assert len({result.call_id for result in told}) == 3


# --- How calls run ------------------------------------------------------------------


async def test_calls_that_only_read_run_side_by_side(tmp_path: Path) -> None:
    here, there = anyio.Event(), anyio.Event()

    @tool
    async def left() -> str:
        """Wait for the other one."""
        here.set()
        await there.wait()
        return "left"

    @tool
    async def right() -> str:
        """Wait for the other one."""
        there.set()
        await here.wait()
        return "right"

    plugins: dict[str, object] = {"tools.left": left, "tools.right": right}
    script = [[*call("left"), *call("right")], "met"]
    with anyio.fail_after(5):
        async with Bot(tmp_path, script=script, plugins=plugins) as bot:
            assert await bot.say("meet") == "met"
            assert [result.text for result in results(bot)] == ["left", "right"]


async def test_calls_that_change_something_run_in_order(tmp_path: Path) -> None:
    log: list[str] = []

    @tool(effects={"write"})
    async def write(text: str) -> str:
        """Write."""
        log.append(f"<{text}")
        await anyio.lowlevel.checkpoint()
        log.append(f"{text}>")
        return text

    @tool
    async def read() -> str:
        """Read."""
        log.append("read")
        return "read"

    calls = [
        *call("write", text="a"),
        *call("write", text="b"),
        *call("read"),
        *call("write", text="c"),
    ]
    plugins: dict[str, object] = {"tools.write": write, "tools.read": read}
    async with Bot(tmp_path, script=[calls, "done"], plugins=plugins) as bot:
        await bot.say("go")
        assert [result.text for result in results(bot)] == ["a", "b", "read", "c"]
        events = [type(e) for e in bot.events if isinstance(e, ToolStarted | ToolEnded)]
    assert log == ["<a", "a>", "<b", "b>", "read", "<c", "c>"]
    assert events == [ToolStarted, ToolEnded] * 4


@tool(timeout_seconds=0.02)
async def sleep() -> str:
    """Sleep for ever."""
    await anyio.sleep_forever()
    return ""


@tool
async def crash() -> str:
    """Crash."""
    raise ValueError("key tell-nobody-42 is wrong")


@tool
async def refuse() -> str:
    """Refuse."""
    raise ToolError("not on a Sunday, tell-nobody-42")


@tool
async def time_out() -> str:
    """Raise what a library raises."""
    raise TimeoutError("the server was slow")


@tool
async def nothing() -> Any:
    """Return what is no result."""
    return 42


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (sleep, "'sleep' took longer than 0.02 s"),
        (crash, "'crash' failed: ValueError: key *** is wrong"),
        (refuse, "not on a Sunday, ***"),
        (time_out, "'time_out' failed: TimeoutError: the server was slow"),
        (nothing, "'nothing' failed: TypeError: it returned"),
    ],
)
async def test_a_tool_that_fails_does_not_end_the_run(
    tmp_path: Path, broken: Any, words: str
) -> None:
    plugins: dict[str, object] = {f"tools.{broken.name}": broken}
    async with Bot(
        tmp_path, script=[call(broken.name), "done"], plugins=plugins
    ) as bot:
        bot.gateway.config.redactor.add("tell-nobody-42")
        assert await bot.say("go") == "done"
        (result,) = results(bot)
    assert result.is_error
    assert result.text.startswith(words)


@pytest.mark.parametrize("end", ["an error at the end", "nothing of note"])
async def test_a_long_result_is_cut_and_kept_in_a_file(
    tmp_path: Path, end: str
) -> None:
    text = "the head\n" + "middle\n" * 150_000 + end

    @tool
    async def dump() -> str:
        """Dump a megabyte."""
        return text

    calls = [*call("dump"), *call("dump")]
    plugins: dict[str, object] = {"tools.dump": dump}
    async with Bot(tmp_path, script=[calls, "done"], plugins=plugins) as bot:
        await bot.say("dump")
        told = results(bot)
    for result in told:
        assert len(result.text) <= 64_000
        assert result.text.startswith("the head\n")
        assert end in result.text
        _, _, name = result.text.rpartition("the whole text is in ")
        path = tmp_path / "agents/main/workspace" / name.removesuffix("]")
        assert path.read_text(encoding="utf-8") == text
    assert told[0].text != told[1].text, "each has a file of its own"


# --- Who may forbid a call ------------------------------------------------------------


class Guard:
    def __init__(self, answer: Exception | str) -> None:
        self.answer = answer

    @hookimpl
    async def before_tool_call(self, call: ToolCall) -> ToolCall:
        if isinstance(self.answer, Exception):
            raise self.answer
        return replace(call, arguments={"path": self.answer}, name="roll", id="x")


async def test_a_tool_judges_what_the_hooks_have_left(tmp_path: Path) -> None:
    delete = Delete()
    plugins: dict[str, object] = {
        "tools.delete": delete,
        "hooks.guard": Guard("/tmp/harmless"),
    }
    script = [call("delete", path="/etc"), "done"]
    async with Bot(tmp_path, script=script, plugins=plugins) as bot:
        await bot.say("delete it")
        (ended,) = (event for event in bot.events if isinstance(event, ToolEnded))
        (result,) = results(bot)
    assert delete.checked == delete.deleted == ["/tmp/harmless"]
    assert result.text == "deleted /tmp/harmless"
    assert (ended.call.name, ended.call.id) == ("delete", "call_1_1")


async def test_what_a_hook_has_changed_is_validated(tmp_path: Path) -> None:
    delete = Delete()
    plugins: dict[str, object] = {"tools.delete": delete, "hooks.guard": Guard("")}
    result = await only_result(tmp_path, call("delete", path="/etc"), plugins)
    assert "wrong arguments for 'delete'" in result.text
    assert delete.checked == []


@pytest.mark.parametrize(
    ("guard", "check", "words"),
    [
        (Veto("not today"), None, "not allowed: not today"),
        (RuntimeError("a bug"), None, "not allowed: guard 'guard' failed (a bug)"),
        (None, Veto("not this"), "not allowed: not this"),
        (Ask("really?"), None, "none is attached (really?)"),
        (None, Ask("really?"), "none is attached (really?)"),
    ],
)
async def test_a_refused_call_does_not_run(
    tmp_path: Path, guard: Exception | None, check: Exception | None, words: str
) -> None:
    delete = Delete(check)
    plugins: dict[str, object] = {"tools.delete": delete}
    if guard is not None:
        plugins["hooks.guard"] = Guard(guard)
    result = await only_result(tmp_path, call("delete", path="/etc"), plugins)
    assert result.is_error
    assert words in result.text
    assert delete.deleted == []


@pytest.mark.parametrize("by_tool", [True, False])
@pytest.mark.parametrize("says", [True, False])
async def test_an_operator_decides_about_exactly_the_call_that_runs(
    tmp_path: Path, by_tool: bool, says: bool
) -> None:
    asked: list[Approval] = []

    async def operator(approval: Approval) -> Decision:
        asked.append(approval)
        return "allow-once" if says else "deny"

    class Changer:
        @hookimpl
        async def before_tool_call(self, call: ToolCall) -> ToolCall:
            return replace(call, arguments={"path": "/tmp/x"})

    delete = Delete(Ask("really?") if by_tool else None)
    plugins: dict[str, object] = {"tools.delete": delete, "hooks.changer": Changer()}
    if not by_tool:
        plugins["hooks.asker"] = Guard(Ask("really?"))
    result = await only_result(
        tmp_path, call("delete", path="/etc"), plugins, approver=operator
    )
    (approval,) = asked
    assert approval.reason == "really?"
    assert isinstance(approval.subject, ToolCall)
    assert approval.subject.arguments == {"path": "/tmp/x"}
    assert delete.deleted == (["/tmp/x"] if says else [])
    assert result.is_error is not says


# --- Operators ------------------------------------------------------------------------

QUESTION = Approval(
    context=HookContext(agent_id="main", session_key="agent:main:main"),
    subject=ToolCall(id="a", name="delete"),
    reason="really?",
)


async def yes(approval: Approval) -> Decision:
    return "allow-once"


async def no(approval: Approval) -> Decision:
    return "deny"


async def asleep(approval: Approval) -> Decision:
    await anyio.sleep_forever()
    return "allow-once"


async def broken(approval: Approval) -> Decision:
    raise RuntimeError("the terminal is gone")


@pytest.mark.parametrize("operators", [[yes], [asleep, yes], [broken, yes]])
async def test_one_word_is_enough(operators: list[Any]) -> None:
    approvals = Approvals(5)
    for operator in operators:
        approvals.attach(operator)
    await approvals.require(QUESTION)


@pytest.mark.parametrize(
    ("operators", "problem"),
    [
        ([], "none is attached"),
        ([no], "an operator refused it"),
        ([asleep, no], "an operator refused it"),
        ([asleep], "no operator answered in time"),
        ([broken], "no operator answered in time"),
    ],
)
async def test_no_word_means_no(operators: list[Any], problem: str) -> None:
    approvals = Approvals(0.02)
    for operator in operators:
        approvals.attach(operator)
    with pytest.raises(Veto, match=problem):
        await approvals.require(QUESTION)


async def test_an_operator_can_leave() -> None:
    approvals = Approvals()
    leave = approvals.attach(yes)
    leave()
    with pytest.raises(Veto, match="none is attached"):
        await approvals.require(QUESTION)


# --- Calls that no model has made ---------------------------------------------------


async def invoked(bot: Bot, name: str, session: str = "main", **arguments: Any) -> Any:
    return await bot.gateway.invoke_tool(name, arguments, session)


async def test_a_tool_is_invoked_as_a_model_would(tmp_path: Path) -> None:
    seen: list[Any] = []

    class Watch:
        @hookimpl
        async def before_tool_call(self, context: HookContext, call: ToolCall) -> Any:
            if call.arguments.get("sides") == 13:
                raise Veto("unlucky")
            more = call.arguments["sides"] + 1
            return replace(call, arguments={**call.arguments, "sides": more})

        @hookimpl
        async def after_tool_call(self, context: HookContext, call: ToolCall) -> None:
            seen.append((context.session_key, call.name, dict(call.arguments)))

        @hookimpl
        async def tool_result_persist(
            self, context: HookContext, call: ToolCall, result: ToolResult
        ) -> ToolResult:
            return replace(result, text=result.text.upper())

    plugins = {"tools.roll": roll, "hooks.watch": Watch()}
    async with Bot(tmp_path, plugins=plugins) as bot:
        result = await invoked(bot, "roll", "desk", sides=6)
        refused = await invoked(bot, "roll", sides=13)
        wrong = await invoked(bot, "roll", sides=True, colour="red")

    assert (result.text, result.is_error) == ("ROLLED 7", False)
    assert refused.is_error
    assert refused.details["refused"]
    assert "UNLUCKY" in refused.text
    assert wrong.is_error
    assert "COLOUR" in wrong.text
    assert seen[0] == ("agent:main:desk", "roll", {"sides": 7})


@pytest.mark.parametrize(
    ("name", "session", "config"),
    [
        ("nope", "main", {}),
        ("roll", "main", {"tools": {"deny": ["roll"]}}),
        ("roll", "fake:group:42", {"tools": {"shared_deny": ["roll"]}}),
        (
            "roll",
            "main",
            {"agents": {"list": [{"id": "main", "tools": {"deny": ["*"]}}]}},
        ),
    ],
    ids=["unknown", "denied", "shared", "agent"],
)
async def test_what_the_policy_takes_away_cannot_be_invoked(
    name: str, session: str, config: dict[str, Any], tmp_path: Path
) -> None:
    async with Bot(tmp_path, plugins={"tools.roll": roll}, config=config) as bot:
        with pytest.raises(ToolError, match=f"no tool '{name}' may be used"):
            await invoked(bot, name, session)


async def test_an_invoked_tool_has_its_deadline_and_its_operator(
    tmp_path: Path,
) -> None:
    asked: list[Approval] = []

    async def yes(approval: Approval) -> Decision:
        asked.append(approval)
        return "allow-once"

    class Slow(Delete):
        """Never end."""

        async def run(self, params: Any, context: ToolContext) -> ToolResult:
            await anyio.sleep_forever()
            raise AssertionError

    tools = {"tools.delete": Slow(Ask("sure?"))}
    async with Bot(tmp_path, plugins=tools, approver=yes) as bot:
        result = await invoked(bot, "delete", path="a.txt")
    assert result.is_error
    assert "took longer than 0.05 s" in result.text
    assert asked[0].reason == "sure?"

    async with Bot(tmp_path, plugins={"tools.delete": Slow(Ask("sure?"))}) as bot:
        result = await invoked(bot, "delete", path="a.txt")
        await bot.gateway.stop("test")
        with pytest.raises(Busy):
            await invoked(bot, "delete", path="a.txt")
    assert "none is attached" in result.text
