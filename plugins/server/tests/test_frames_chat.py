"""Conversations as captured from a real gateway, held again with ours.

The same requests get answers of the same shape, and the events come in the same order.
Where ours is another on purpose, the reason stands beside the tolerance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from rustyclaw import ProviderError, ToolContext, tool
from rustyclaw.testing import FakeProvider, call

from .client import Client
from .pacing import Paced
from .shapes import differences, events, exchanges, frames, incoming

if TYPE_CHECKING:
    from .conftest import Running

#: Keys of answers that we need not have.
MISSING = (
    "payload.sessions[].displayName",  # only channels name people, and only later
    "payload.sessions[].label",
    "payload.sessions[].inputTokens",  # not there before a model has answered
    "payload.sessions[].outputTokens",
    "payload.sessions[].totalTokens",
    "payload.messages[].openclawAbort",
    "payload.messages[].model",  # a real gateway repeats it in what it injects
    "payload.messages[].provider",
    "payload.messages[].api",
    "payload.messages[].usage",
    "payload.messages[].idempotencyKey",
)
#: Keys that only ours has: they are optional everywhere.
EXTRA = ("payload.verboseLevel", "payload.messages[].stopReason")


#: A real gateway greets with a run after ``/new``; ours answers as to any command.
ANSWERED_AT_ONCE = ("chat-slash-new",)
#: What a repeated message is told: ours has answered a command already, and a run that
#: has failed is over, while a real gateway tries again for a while.
REPEATED = {
    "chat-slash-status": "in_flight",
    "chat-slash-new": "in_flight",
    "chat-error": "in_flight",
}


@tool(name="exec")
async def run_command(command: str, context: ToolContext) -> str:
    """Run a command."""
    return "hello-from-tool"


@pytest.fixture
def plugins() -> Mapping[str, object]:
    return {"tools.exec": run_command}


@pytest.fixture
def gate() -> anyio.Event:
    """What the scripted model waits for, so that a repetition finds it at work."""
    return anyio.Event()


def kinds(seen: Iterable[dict[str, Any]]) -> list[str]:
    """Return what events are about; one entry for a text, in however many pieces."""
    found: list[str] = []
    for frame in seen:
        payload = frame.get("payload", {})
        if frame.get("event") == "agent" and "sessionKey" in payload:
            data = payload["data"]
            if data.get("aborted"):
                continue
            kind = f"{payload['stream']} {data.get('phase', '')}".strip()
        elif frame.get("event") == "chat":
            kind = f"chat {payload['state']}"
        else:
            continue
        # Ours reports no progress of a tool, and how many deltas there are is chance.
        if kind not in ("tool update", "chat delta") and found[-1:] != [kind]:
            found.append(kind)
    return found


async def replay(name: str, client: Client, gate: anyio.Event) -> None:
    """Repeat the requests of a capture and compare answers, events and their order.

    The gate is opened when the repetition of a message was answered.
    """
    requests = list(exchanges(name))
    own = {r["params"].get("idempotencyKey") for r, _ in requests}
    for number, (request, answers) in enumerate(requests):
        method, params = request["method"], request["params"]
        if method == "chat.abort":
            await client.event("chat", state="delta")
        ours = await (await client.request(method, params)).frame()
        repeated = (answers[0].get("payload") or {}).get("status")
        if repeated is None or repeated != REPEATED.get(name):
            compare(name, answers[0], ours, request)
        repeats = [r["params"] for r, _ in requests[:number]]
        follows = requests[number + 1][0]["method"] if requests[number + 1 :] else ""
        if method == "chat.send" and params in repeats and follows != "chat.abort":
            gate.set()
            await ended(client, params["idempotencyKey"])
        if method == "chat.abort":
            await ended(client, params["runId"])
    compare_events(name, client)
    theirs = [f for f in incoming(name) if f.get("payload", {}).get("runId") in own]
    if name not in ANSWERED_AT_ONCE:
        assert kinds(client.frames) == kinds(theirs)


async def ended(client: Client, run_id: str) -> None:
    """Wait until a run has ended, for us and for the agent."""
    ends = ("final", "error", "aborted")
    with anyio.fail_after(10):
        while (
            not any(
                p["payload"]["runId"] == run_id and p["payload"]["state"] in ends
                for p in client.events("chat")
            )
            or (await client.ask("agent.status"))["activeAgents"]
        ):
            await client.settled()


def compare(
    name: str, theirs: dict[str, Any], ours: dict[str, Any], about: Any
) -> None:
    """Compare answers: the same outcome, the same shape."""
    assert ours["ok"] == theirs["ok"], (ours, about)
    missing = MISSING
    if name in ANSWERED_AT_ONCE:  # so the new conversation is empty
        missing += ("payload.messages", "payload.previews[].items")
    assert differences(theirs, ours, missing=missing, extra=EXTRA) == [], about
    if status := (theirs.get("payload") or {}).get("status"):
        assert ours["payload"]["status"] == status, about
    if "error" in theirs:
        assert ours["error"]["code"] == theirs["error"]["code"]
        assert ours["error"]["message"] == theirs["error"]["message"]


def compare_events(name: str, client: Client) -> None:
    """Compare the ``agent`` and ``chat`` events with those of a capture."""
    for frame in (*client.events("agent"), *client.events("chat")):
        ours = frame["payload"]
        if frame["event"] == "chat":
            theirs = events(name, "chat", state=ours["state"])
        else:
            phase = ours["data"].get("phase")
            theirs = [
                p
                for p in events(name, "agent", stream=ours["stream"])
                if p["data"].get("phase") == phase and "sessionKey" in p
            ]
        # `deltaText` is for protocol 4, and an end may always say more.
        extra = ("[].deltaText", "[].usage", "[].stopReason")
        if name in ANSWERED_AT_ONCE:
            extra += ("[].message.*",)
        if ours.get("data", {}).get("aborted"):
            continue  # a real gateway was not heard of the run again after an abort
        assert theirs, ours
        assert differences(theirs, [ours], extra=extra) == [], ours
        is_tool = ours.get("stream") == "tool"
        assert ("seq" in frame) != is_tool


def said(*pieces: str) -> list[Any]:
    """Script an answer that takes as long as it would with a real model."""
    return [part for piece in pieces for part in (piece, 0.1)]


# --- chat.send ------------------------------------------------------------------------


class TestPlain:
    @pytest.fixture
    def fake_provider(self, gate: anyio.Event) -> FakeProvider:
        return Paced(script=[[gate, *said("Hello from the ", "fake ", "model.")]])

    async def test_replay(self, running: Running, gate: anyio.Event) -> None:
        client = await running.client()

        await replay("chat-plain", client, gate)

        (final,) = (
            f["payload"]
            for f in client.events("chat")
            if f["payload"]["state"] == "final"
        )
        assert final["sessionKey"] == "agent:main:main"
        assert final["message"]["content"][0]["text"] == "Hello from the fake model."


class TestTools:
    @pytest.fixture
    def fake_provider(self, gate: anyio.Event) -> FakeProvider:
        asks = [gate, "Let me run that.", *call("exec", command="echo hi")]
        return Paced(script=[asks, [*said("The tool said: ", "hello-from-tool")]])

    @pytest.mark.parametrize("name", ["chat-tool-toolevents-cap", "chat-tool-nocap"])
    async def test_replay(self, running: Running, gate: anyio.Event, name: str) -> None:
        connects = next(f["frame"] for f in frames(name) if f["dir"] == "out")
        client = await running.client(caps=connects["params"]["caps"])
        if "sessionId" in next(a for r, a in exchanges(name))[0]["payload"]:
            await earlier(running, "earlier")

        await replay(name, client, gate)


async def earlier(running: Running, *texts: str) -> None:
    """Give the main session a past, which the captured one had."""
    from rustyclaw import Message

    for text in texts:
        await running.gateway.inject("main", Message.user(text))
        await running.gateway.inject("main", Message.assistant(text))


class TestAbort:
    @pytest.fixture
    def fake_provider(self, gate: anyio.Event) -> FakeProvider:
        return Paced(script=[[*said(*(f"chunk{n} " for n in range(4))), gate]])

    async def test_replay(self, running: Running, gate: anyio.Event) -> None:
        await earlier(running, "earlier")
        client = await running.client()

        await replay("chat-abort", client, gate)

        aborted = next(
            f["payload"]
            for f in client.events("chat")
            if f["payload"]["state"] == "aborted"
        )
        assert aborted["sessionKey"] == "main", "as the client wrote it"


class TestError:
    @pytest.fixture
    def fake_provider(self, gate: anyio.Event) -> FakeProvider:
        return Paced(script=[[gate, ProviderError("500 fake failure")]] * 9)

    async def test_replay(self, running: Running, gate: anyio.Event) -> None:
        await earlier(running, "earlier")
        client = await running.client()

        await replay("chat-error", client, gate)


class TestCommands:
    @pytest.mark.parametrize("name", ["chat-slash-status", "chat-slash-new"])
    async def test_replay(self, running: Running, gate: anyio.Event, name: str) -> None:
        await earlier(running, "earlier")
        client = await running.client()

        await replay(name, client, gate)
