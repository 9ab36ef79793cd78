"""Questions to operators: first answers, waits, and what "always" is remembered by."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args

import anyio
import pytest
from rustyclaw import (
    Approval,
    Ask,
    Decision,
    HookContext,
    Outbound,
    RustyclawError,
    Target,
    ToolCall,
    ToolEnded,
    Veto,
    hookimpl,
    tool,
)
from rustyclaw.approvals import Approvals
from rustyclaw.config import config_from
from rustyclaw.state import State
from rustyclaw.testing import Bot, call

CONTEXT = HookContext(agent_id="main", session_key="agent:main:main")


def question(key: str = "", **arguments: Any) -> Approval:
    subject = ToolCall(id="1", name="delete", arguments=arguments)
    return Approval(context=CONTEXT, subject=subject, reason="really?", key=key)


async def asleep(approval: Approval) -> Decision:
    await anyio.sleep_forever()
    return "allow-once"


@asynccontextmanager
async def memory(home: Path) -> AsyncIterator[State]:
    async with State(home, config_from({}, home=home, env={})) as state:
        yield state


async def waiting(approvals: Approvals) -> Approval:
    with anyio.fail_after(5):
        while not approvals.pending:
            await anyio.lowlevel.checkpoint()
    return next(iter(approvals.pending.values()))


# --- Who decides --------------------------------------------------------------------


@pytest.mark.parametrize("decision", get_args(Decision))
async def test_anybody_may_resolve_what_waits(decision: Decision) -> None:
    approvals, outcome = Approvals(), list[str]()
    approvals.attach(asleep)

    async def ask() -> None:
        try:
            await approvals.require(question())
            outcome.append("allowed")
        except Veto as veto:
            outcome.append(veto.reason)

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        asked = await waiting(approvals)
        assert asked.expires_at == pytest.approx(asked.created_at + 120)
        assert approvals.resolve(asked.id, decision) == asked
        with pytest.raises(RustyclawError, match="waits; it may be over"):
            approvals.resolve(asked.id, "allow-once")  # the first answer counts
    assert outcome == [
        "an operator refused it (really?)" if decision == "deny" else "allowed"
    ]
    assert not approvals.pending
    with pytest.raises(RustyclawError, match="waits; it may be over"):
        approvals.resolve(asked.id, "deny")


@pytest.mark.parametrize("answer", [True, False, None, "yes", "Allow-Once", 1])
async def test_an_answer_that_is_no_decision_is_a_no(answer: Any) -> None:
    async def confused(approval: Approval) -> Any:
        return answer

    approvals = Approvals()
    approvals.attach(confused)
    with pytest.raises(Veto):
        await approvals.require(question())


async def test_a_caller_that_leaves_takes_its_question_along() -> None:
    approvals = Approvals()
    approvals.attach(asleep)
    async with anyio.create_task_group() as group:
        group.start_soon(approvals.require, question())
        await waiting(approvals)
        group.cancel_scope.cancel()
    assert not approvals.pending


async def test_a_detached_operator_is_not_asked() -> None:
    approvals = Approvals()
    detach = approvals.attach(asleep)
    detach()
    with pytest.raises(Veto, match="none is attached"):
        await approvals.require(question())


# --- Always -------------------------------------------------------------------------


class Counting:
    """An operator that says always the same, and counts."""

    def __init__(self, answer: Decision) -> None:
        self.answer, self.asked = answer, list[Approval]()

    async def __call__(self, approval: Approval) -> Decision:
        self.asked.append(approval)
        return self.answer


@pytest.mark.parametrize(("answer", "times"), [("allow-once", 3), ("allow-always", 1)])
async def test_always_is_kept_over_a_restart(
    tmp_path: Path, answer: Decision, times: int
) -> None:
    operator = Counting(answer)
    for _ in range(3):
        async with memory(tmp_path) as state:
            approvals = Approvals()
            approvals.memory = state
            approvals.attach(operator)
            await approvals.require(question(path="a", mode=1))
    assert len(operator.asked) == times


async def test_always_means_exactly_this_call(tmp_path: Path) -> None:
    operator = Counting("allow-always")
    async with memory(tmp_path) as state:
        approvals = Approvals()
        approvals.memory = state
        approvals.attach(operator)
        await approvals.require(question(path="a", mode=1))
        await approvals.require(question(mode=1, path="a"))  # in another order
        assert len(operator.asked) == 1
        await approvals.require(question(path="b", mode=1))
        assert len(operator.asked) == 2


async def test_a_key_names_more_than_one_call_and_can_be_forgotten(
    tmp_path: Path,
) -> None:
    operator = Counting("allow-always")
    async with memory(tmp_path) as state:
        approvals = Approvals()
        approvals.memory = state
        detach = approvals.attach(operator)
        await approvals.require(question("exec ls", path="a"))
        detach()
        await approvals.require(question("exec ls", path="b"))  # nobody is needed
        assert [key for key, _ in await state.allowances()] == ["exec ls"]
        assert await state.forget("exec ls")
        assert not await state.forget("exec ls")
        with pytest.raises(Veto, match="none is attached"):
            await approvals.require(question("exec ls", path="b"))


async def test_a_message_is_allowed_always_only_by_a_key(tmp_path: Path) -> None:
    operator = Counting("allow-always")
    message = Outbound(text="hi")
    async with memory(tmp_path) as state:
        approvals = Approvals()
        approvals.memory = state
        approvals.attach(operator)
        for key in ("", "", "mail bob", "mail bob"):
            await approvals.require(
                Approval(context=CONTEXT, subject=message, reason="send?", key=key)
            )
    assert len(operator.asked) == 3


# --- From guards ---------------------------------------------------------------------


@tool
async def delete(path: str) -> str:
    """Delete a file."""
    return f"deleted {path}"


class Guard:
    """Asks about each call."""

    def __init__(self, reason: str, key: str) -> None:
        self.ask = reason, key

    @hookimpl
    async def before_tool_call(self, call: ToolCall) -> None:
        raise Ask(self.ask[0], key=self.ask[1])


async def test_the_key_of_a_guard_is_what_is_remembered(tmp_path: Path) -> None:
    operator = Counting("allow-always")
    plugins = {"hooks.a": Guard("sure?", "a: delete"), "tools.delete": delete}
    script = [call("delete", path="x"), call("delete", path="y"), "done"]
    async with Bot(tmp_path, script=script, plugins=plugins, approver=operator) as bot:
        await bot.say("go")
        assert [a.key for a in operator.asked] == ["a: delete"]
        assert await bot.gateway.state.is_allowed("a: delete")
        ended = [e.result.text for e in bot.events if isinstance(e, ToolEnded)]
    assert ended == ["deleted x", "deleted y"]


async def test_always_to_one_guard_does_not_silence_another(tmp_path: Path) -> None:
    operator = Counting("deny")
    plugins = {
        "hooks.a": Guard("sure?", "a: delete"),
        "hooks.b": Guard("really?", "b: delete"),
        "tools.delete": delete,
    }
    script = [call("delete", path="x"), "done"]
    async with Bot(tmp_path, script=script, plugins=plugins, approver=operator) as bot:
        await bot.gateway.state.allow("a: delete")
        await bot.say("go")
        ended = [e.result.text for e in bot.events if isinstance(e, ToolEnded)]
    assert [(a.reason, a.key) for a in operator.asked] == [("sure?; really?", "")]
    assert "an operator refused it" in ended[0]


async def test_a_message_may_be_allowed_for_always(tmp_path: Path) -> None:
    class Careful:
        @hookimpl
        async def message_sending(self, target: Target, message: Outbound) -> None:
            raise Ask("send it?", key=f"careful: {target.chat_id}")

    operator = Counting("allow-always")
    async with Bot(
        tmp_path, plugins={"hooks.careful": Careful()}, approver=operator
    ) as bot:
        for text in ("one", "two"):
            await bot.channel.deliver(text)
            assert await bot.reply() == text
    assert len(operator.asked) == 1
