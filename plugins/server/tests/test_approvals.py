"""Operators are asked, answer once, and see what they have allowed for always."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from rustyclaw import (
    Approval,
    Ask,
    HookContext,
    MethodError,
    ToolCall,
    ToolContext,
    hookimpl,
    tool,
)
from rustyclaw.testing import FakeProvider, call
from rustyclaw_server.approvals import _request

from .client import APPROVALS, READ, WRITE, Client, Failed
from .shapes import differences, events, exchanges

if TYPE_CHECKING:
    from .conftest import Running


@tool(name="exec")
async def run_command(command: str, context: ToolContext) -> str:
    """Run a command."""
    return f"ran {command}"


class Careful:
    @hookimpl
    async def before_tool_call(self, call: ToolCall) -> None:
        raise Ask("it is not listed")


@pytest.fixture
def plugins() -> Mapping[str, object]:
    return {"tools.exec": run_command, "hooks.careful": Careful()}


@pytest.fixture
def fake_provider() -> FakeProvider:
    return FakeProvider(
        script=[
            item
            for _ in range(3)
            for item in (call("exec", command="rm -rf build sk-canary"), "done")
        ]
    )


def unlike(name: str, ours: dict[str, Any], **extra: Any) -> list[str]:
    """Return how an event differs from those of its kind in the captures."""
    return differences(events("exec-approvals", name), [ours], **extra)


# --- The gateway's own questions ------------------------------------------------------


async def ask_agent(client: Client, run_id: str) -> None:
    sent = {"sessionKey": "main", "message": "clean up", "idempotencyKey": run_id}
    await client.ask("chat.send", **sent)


async def test_an_operator_allows_a_call_once(running: Running) -> None:
    client = await running.client()
    await ask_agent(client, "r1")

    question = await client.event("exec.approval.requested")

    extra = ("[].request.tool", "[].request.reason")
    assert unlike("exec.approval.requested", question, extra=extra) == []
    assert question["request"]["command"] == "rm -rf build sk-canary"
    assert question["request"]["reason"] == "it is not listed"
    (waiting,) = (await client.ask("approvals.list"))["approvals"]
    assert waiting == question
    answer = {"id": question["id"], "decision": "allow-once"}
    assert await client.ask("exec.approval.resolve", **answer) == {"ok": True}
    resolved = await client.event("exec.approval.resolved")
    assert unlike("exec.approval.resolved", resolved) == []
    await client.event("chat", state="final", runId="r1")
    result = running.provider.requests[-1].messages[-1]
    assert "ran rm -rf build" in result.content[0].text  # type: ignore[union-attr]
    with pytest.raises(Failed, match="unknown approval id"):
        await client.ask("exec.approval.resolve", **answer)


async def test_a_refusal_is_told_to_the_model(running: Running) -> None:
    client = await running.client()
    await ask_agent(client, "r1")
    question = await client.event("exec.approval.requested")

    await client.ask("exec.approval.resolve", id=question["id"], decision="deny")

    await client.event("chat", state="final", runId="r1")
    result: Any = running.provider.requests[-1].messages[-1].content[0]
    assert result.is_error
    assert "an operator refused it" in result.text


async def test_what_is_allowed_for_always_can_be_taken_back(running: Running) -> None:
    client = await running.client()
    await ask_agent(client, "r1")
    question = await client.event("exec.approval.requested")
    await client.ask(
        "exec.approval.resolve", id=question["id"], decision="allow-always"
    )
    await client.event("chat", state="final", runId="r1")
    await ask_agent(client, "r2")  # nobody is asked
    await client.event("chat", state="final", runId="r2")
    assert len(client.events("exec.approval.requested")) == 1

    (allowed,) = (await client.ask("approvals.allowed"))["allowed"]
    file = await client.ask("exec.approvals.get")
    (entry,) = file["file"]["agents"]["main"]["allowlist"]
    assert "rm -rf build" in entry["pattern"]
    new = {"version": 1, "agents": {"main": {"allowlist": [{"pattern": "git *"}]}}}
    for base in ({}, {"baseHash": "0"}, {"baseHash": file["hash"]}):
        with pytest.raises(Failed, match=r"base hash|changed|only be taken back"):
            await client.ask("exec.approvals.set", file=new, **base)
    done = await client.ask(
        "exec.approvals.set", file={"version": 1}, baseHash=file["hash"]
    )
    assert not done["exists"]
    assert not (await client.ask("approvals.allowed"))["allowed"]
    forgotten = await client.ask("approvals.forget", key=allowed["key"])
    assert forgotten == {"ok": True, "forgotten": False}

    await ask_agent(client, "r3")  # they are asked again
    await client.event("exec.approval.requested")


async def test_without_an_operator_no_means_no_at_once(running: Running) -> None:
    client = await running.client(scopes=[READ, WRITE])

    await ask_agent(client, "r1")

    await client.event("chat", 5, state="final", runId="r1")
    result: Any = running.provider.requests[-1].messages[-1].content[0]
    assert "none is attached" in result.text
    assert not client.events("exec.approval.requested")


async def test_the_agent_cannot_approve(running: Running) -> None:
    client = await running.client()
    await ask_agent(client, "r1")
    question = await client.event("exec.approval.requested")

    answer = {"id": question["id"], "decision": "allow-once"}
    with pytest.raises(MethodError, match="only an operator's client"):
        await running.gateway.call("exec.approval.resolve", answer)


async def test_an_aborted_run_withdraws_its_question(running: Running) -> None:
    client = await running.client()
    await ask_agent(client, "r1")
    question = await client.event("exec.approval.requested")

    await client.ask("chat.abort", sessionKey="main")

    resolved = await client.event("exec.approval.resolved", id=question["id"])
    assert resolved["decision"] is None
    assert not (await client.ask("approvals.list"))["approvals"]


async def test_secrets_are_not_shown(running: Running) -> None:
    running.gateway.config.redactor.add("sk-canary")
    client = await running.client()
    await ask_agent(client, "r1")

    question = await client.event("exec.approval.requested")

    assert "sk-canary" not in str(question)


# --- Questions of clients -------------------------------------------------------------


async def test_replay(running: Running) -> None:
    client, operator = await running.client(), await running.client(scopes=[APPROVALS])
    (two_phase, stages), (plain, (silence,)) = exchanges("exec-approvals")

    pending = await client.request(two_phase["method"], two_phase["params"])
    accepted = await pending.frame()
    assert differences(stages[0], accepted) == []
    question = await operator.event("exec.approval.requested")
    assert unlike("exec.approval.requested", question) == []
    waiting = await operator.request(
        "exec.approval.waitDecision", {"id": question["id"]}
    )
    with pytest.raises(Failed, match=r"^INVALID_REQUEST: invalid decision$"):
        await operator.ask("exec.approval.resolve", id=question["id"], decision="maybe")
    await operator.ask(
        "exec.approval.resolve", id=question["id"], decision="allow-once"
    )
    assert differences(stages[1], await pending.frame()) == []
    assert (await waiting.answer())["decision"] == "allow-once"

    pending = await client.request(plain["method"], plain["params"] | {"timeoutMs": 50})
    ours = await pending.frame()
    assert differences(silence, ours) == []
    assert ours["payload"]["decision"] is None


async def test_two_answers_at_once_count_once(running: Running) -> None:
    first, second = await running.client(), await running.client()
    pending = await first.request("exec.approval.request", {"command": "ls"})
    question = await second.event("exec.approval.requested")

    outcomes: list[str] = []

    async def decide(client: Client, decision: str) -> None:
        try:
            await client.ask(
                "exec.approval.resolve", id=question["id"], decision=decision
            )
            outcomes.append(decision)
        except Failed:
            outcomes.append("")

    async with anyio.create_task_group() as group:
        group.start_soon(decide, first, "deny")
        group.start_soon(decide, second, "allow-once")
    assert sorted([(await pending.answer())["decision"], ""]) == sorted(outcomes)


async def test_only_who_may_decide_hears_of_it(running: Running) -> None:
    reader = await running.client(scopes=[READ, WRITE])
    asker = await running.client(scopes=[APPROVALS])

    await (
        await asker.request("exec.approval.request", {"command": "x", "timeoutMs": 20})
    ).answer()

    await reader.settled()
    assert not reader.events("exec.approval.requested")
    with pytest.raises(Failed, match=r"missing scope: operator\.approvals"):
        await reader.ask("exec.approval.resolve", id="x", decision="deny")
    with pytest.raises(Failed, match=r"missing scope: operator\.admin"):
        await asker.ask("exec.approvals.get")
    with pytest.raises(Failed, match="approval expired or not found"):
        await asker.ask("exec.approval.waitDecision", id="nope")


async def test_a_very_long_command_says_that_it_goes_on(running: Running) -> None:
    approval = Approval(
        context=HookContext(agent_id="main", session_key="agent:main:main"),
        subject=ToolCall(id="1", name="exec", arguments={"command": "x" * 9000}),
        reason="long",
    )

    assert _request(approval)["command"].endswith(
        "(5000 more characters are not shown)"
    )
