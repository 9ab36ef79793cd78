"""The flow of a conversation: order, waiting, stopping, and who is told what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from rustyclaw import ProviderError, ThinkingDelta, ToolContext, ToolResult, tool
from rustyclaw.testing import FakeProvider, call

from .client import READ, WRITE, Client, Failed
from .pacing import Paced
from .shapes import differences, events

if TYPE_CHECKING:
    from .conftest import Running


@tool(name="exec")
async def run_command(command: str, context: ToolContext) -> ToolResult:
    """Run a command."""
    return ToolResult(text="hello-from-tool", details={"exit_code": 0})


@pytest.fixture
def plugins() -> Mapping[str, object]:
    return {"tools.exec": run_command}


@pytest.fixture
def gate() -> anyio.Event:
    return anyio.Event()


async def send(client: Client, text: str, run_id: str = "", **more: Any) -> Any:
    """Say something in the main session; the text is the run's id."""
    sent = {"sessionKey": "main", "message": text, "idempotencyKey": run_id or text}
    return await client.ask("chat.send", **{**sent, **more})


def chats(client: Client, state: str = "", run_id: str = "") -> list[dict[str, Any]]:
    """Return the payloads of the ``chat`` events so far."""
    return [
        frame["payload"]
        for frame in client.events("chat")
        if state in ("", frame["payload"]["state"])
        and run_id in ("", frame["payload"]["runId"])
    ]


def text_of(payload: dict[str, Any]) -> str:
    """Return the text of a ``chat`` event."""
    return str(payload["message"]["content"][0]["text"])


# --- Order and numbers ----------------------------------------------------------------


class TestDeltas:
    @pytest.fixture
    def fake_provider(self) -> FakeProvider:
        pieces = [part for n in range(40) for part in (f"{n:04} ", 0.01)]
        return Paced(script=[[*pieces, "the end"]])

    async def test_text_is_throttled_and_its_end_is_not_lost(
        self, running: Running
    ) -> None:
        client = await running.client()
        await send(client, "go")
        final = await client.event("chat", state="final")

        deltas = chats(client, "delta")
        whole = "".join(f"{n:04} " for n in range(40)) + "the end"
        assert text_of(deltas[-1]) == text_of(final) == whole
        assert 2 <= len(deltas) <= 20, "40 pieces in 0.4 s"
        assert "".join(d["deltaText"] for d in deltas) == whole
        for one, two in pairwise(deltas):
            assert text_of(two).startswith(text_of(one)), "it is cumulative"
        assert {text_of(d) for d in deltas} == {
            f["payload"]["data"]["text"]
            for f in client.events("agent")
            if f["payload"]["stream"] == "assistant"
        }

    async def test_numbers_have_no_gaps(self, running: Running) -> None:
        client = await running.client(caps=["tool-events"])
        late = await running.client(scopes=[READ])
        await send(client, "go")
        for one in (client, late):
            await one.event("chat", state="final")
            numbers = [f["seq"] for f in one.events() if "seq" in f]
            assert numbers == list(range(1, len(numbers) + 1))
        runs = [f["payload"]["seq"] for f in client.events("agent")]
        assert runs == list(range(1, len(runs) + 1))

    async def test_the_answer_comes_before_the_first_event(
        self, running: Running
    ) -> None:
        client = await running.client()
        pending = await client.request(
            "chat.send", {"sessionKey": "main", "message": "go", "idempotencyKey": "go"}
        )
        await client.event("chat", state="final")

        order = [
            f.get("event") or f["id"]
            for f in client.frames
            if f.get("event") in ("agent", "chat") or f.get("id") == pending.id
        ]
        assert order[0] == pending.id

    async def test_history_has_the_answer_before_the_final_event(
        self, running: Running
    ) -> None:
        client = await running.client()
        await send(client, "go")
        final = await client.event("chat", state="final")
        info = await running.gateway.state.sessions.get("main")
        assert info is not None
        transcript = await running.gateway.state.sessions.transcript(info)
        last = transcript.entries[-1].message

        assert last is not None
        assert last.text == text_of(final)


async def test_health_and_presence_carry_versions(running: Running) -> None:
    client = await running.client()
    health = await client.event_frame("health")
    before = health["stateVersion"]
    other = await running.client()
    await other.close()

    presence = await client.event_frame("presence")

    assert presence["stateVersion"]["presence"] > before["presence"]
    rows = presence["payload"]["presence"]
    assert [row["reason"] for row in rows][:2] == ["self", "disconnect"]


class TestTick:
    @pytest.fixture
    def settings(self) -> Mapping[str, Any]:
        return {"limits": {"tick_seconds": 0.05}}

    async def test_tick(self, running: Running) -> None:
        client = await running.client()

        ticks = [await client.event("tick") for _ in range(3)]

        assert all(type(tick["ts"]) is int for tick in ticks)
        assert client.hello_ok["policy"]["tickIntervalMs"] == 50


# --- Waiting --------------------------------------------------------------------------


class TestBusy:
    @pytest.fixture
    def fake_provider(self, gate: anyio.Event) -> FakeProvider:
        return Paced(script=[["one", gate], "two", "three"])

    async def test_what_waits_runs_under_another_id(
        self, running: Running, gate: anyio.Event
    ) -> None:
        client = await running.client()
        await send(client, "first")
        await client.event("chat", state="delta", runId="first")

        assert (await send(client, "second"))["status"] == "started"
        silent = await client.event("chat", state="final", runId="second")
        assert "message" not in silent
        assert silent["sessionKey"] == "agent:main:main"
        assert (await send(client, "second"))["status"] == "ok", "it was taken"
        gate.set()

        await client.event("chat", state="final", runId="first")
        final = await client.event("chat", state="final")
        assert final["runId"] not in ("first", "second")
        assert text_of(final) == "two"
        assert len(running.provider.requests) == 2

    async def test_what_waits_can_be_aborted(
        self, running: Running, gate: anyio.Event
    ) -> None:
        client = await running.client()
        await send(client, "first")
        await client.event("chat", state="delta", runId="first")
        await send(client, "second")
        waiting = next(
            run.run_id
            for run in running.server.runs.active_in("agent:main:main")
            if run.run_id != "first"
        )

        aborted = await client.ask("chat.abort", sessionKey="main", runId=waiting)

        assert aborted == {"ok": True, "aborted": True, "runIds": [waiting]}
        assert (await client.event("chat", state="aborted"))["runId"] == waiting
        gate.set()
        await client.event("chat", state="final", runId="first")
        await send(client, "third", "third")
        final = await client.event("chat", state="final", runId="third")
        assert text_of(final) == "two", "the second was never asked"

    async def test_abort_all_by_a_word(
        self, running: Running, gate: anyio.Event
    ) -> None:
        client = await running.client()
        await send(client, "first")
        await client.event("chat", state="delta", runId="first")
        await send(client, "second")

        stopped = await send(client, "/stop")

        assert stopped["aborted"]
        assert len(stopped["runIds"]) == 2
        event = await client.event("chat", state="aborted", runId="first")
        assert event["stopReason"] == "stop"
        assert text_of(event) == "one"
        assert not (await send(client, "STOP"))["aborted"]

    async def test_agent_waits_for_its_turn(
        self, running: Running, gate: anyio.Event
    ) -> None:
        client = await running.client()
        await send(client, "first")
        await client.event("chat", state="delta")
        asked = {"message": "x", "idempotencyKey": "a1", "sessionKey": "main"}
        pending = await client.request("agent", asked)
        assert (await pending.answer())["status"] == "accepted"
        waits = await client.ask("agent.wait", runId="a1", timeoutMs=10)
        assert waits == {"runId": "a1", "status": "timeout"}
        status = await client.ask("agent.status")
        assert [run["runId"] for run in status["activeAgents"]] == ["first"]
        gate.set()

        assert (await pending.answer())["status"] == "ok"
        assert (await client.ask("agent.wait", runId="a1"))["status"] == "ok"
        assert (await client.ask("agent.abort", runId="a1")) == {"aborted": 0}


class TestAbort:
    @pytest.fixture
    def fake_provider(self, gate: anyio.Event) -> FakeProvider:
        return Paced(script=[["some words", gate], "again"])

    async def test_what_was_said_is_kept(self, running: Running) -> None:
        client = await running.client()
        await send(client, "go")
        await client.event("chat", state="delta")

        with pytest.raises(Failed, match="runId does not match sessionKey"):
            await client.ask("chat.abort", sessionKey="other", runId="go")
        pending = await client.request(
            "chat.abort", {"sessionKey": "main", "runId": "go"}
        )
        assert (await pending.answer())["aborted"]

        (aborted,) = chats(client, "aborted")
        assert (aborted["stopReason"], text_of(aborted)) == ("rpc", "some words")
        order = [
            f.get("event") or f.get("id")
            for f in client.frames
            if f.get("id") == pending.id
            or f.get("payload", {}).get("state") == "aborted"
        ]
        assert order == ["chat", pending.id]
        assert (await client.ask("agent.wait", runId="go"))["status"] == "ok"
        assert (await send(client, "go"))["status"] == "ok"
        again = await client.ask("chat.abort", sessionKey="main", runId="go")
        assert (again["aborted"], again["runIds"]) == (False, [])
        history = await client.ask("chat.history", sessionKey="main")
        assert "some words" in str(history["messages"][-1])
        (row,) = (await client.ask("sessions.list"))["sessions"]
        assert row["abortedLastRun"]
        assert len(chats(client, "aborted")) == 1
        await send(client, "more")
        await client.event("chat", state="final", runId="more")
        (row,) = (await client.ask("sessions.list"))["sessions"]
        assert not row["abortedLastRun"]


class TestFailure:
    @pytest.fixture
    def fake_provider(self) -> FakeProvider:
        return FakeProvider(default=ProviderError("bad key sk-canary", kind="auth"))

    async def test_a_repeated_key_says_what_went_wrong(self, running: Running) -> None:
        running.gateway.config.redactor.add("sk-canary")
        client = await running.client()
        await send(client, "go")

        error = await client.event("chat", state="error")

        assert "sk-canary" not in error["errorMessage"]
        with pytest.raises(Failed) as failed:
            await send(client, "go")
        assert failed.value.payload == {
            "runId": "go",
            "status": "error",
            "summary": error["errorMessage"],
        }
        waited = await client.ask("agent.wait", runId="go")
        assert (waited["status"], waited["error"]) == ("error", error["errorMessage"])
        asked = {"message": "x", "idempotencyKey": "a1"}
        pending = await client.request("agent", asked)
        assert (await pending.answer())["status"] == "accepted"
        with pytest.raises(Failed) as failed:
            await pending.answer()
        assert failed.value.payload["status"] == "error"
        assert failed.value.code == "UNAVAILABLE"


async def test_many_keys_at_once_are_one_run(running: Running) -> None:
    client, other = await running.client(), await running.client()
    sent = {"sessionKey": "main", "message": "hi", "idempotencyKey": "k"}
    pending = [await c.request("chat.send", sent) for c in (client, other) * 5]

    answers = [await p.answer() for p in pending]
    await client.event("chat", state="final", runId="k")

    assert {answer["runId"] for answer in answers} == {"k"}
    assert [a["status"] for a in answers].count("started") == 1
    assert len(running.provider.requests) == 1


# --- Tools ----------------------------------------------------------------------------


class TestTools:
    @pytest.fixture
    def fake_provider(self) -> FakeProvider:
        asks = ["Let me run that.", *call("exec", command="echo hi")]
        return FakeProvider(script=[asks, "The tool said: hello"])

    async def test_only_who_asked_for_tools_hears_of_them(
        self, running: Running
    ) -> None:
        runner = await running.client(caps=["tool-events"])
        watcher = await running.client(caps=["tool-results"], scopes=[READ])
        other = await running.client(caps=["tool-events"])
        plain = await running.client()
        await send(runner, "go")
        for client in (runner, watcher, other, plain):
            await client.event("chat", state="final")

        def tools(client: Client) -> list[dict[str, Any]]:
            frames = client.events("agent")
            assert not any(
                "seq" in f for f in frames if f["payload"]["stream"] == "tool"
            )
            return [
                f["payload"]["data"] for f in frames if f["payload"]["stream"] == "tool"
            ]

        assert [data["phase"] for data in tools(runner)] == ["start", "result"]
        assert tools(runner)[0]["args"] == {"command": "echo hi"}
        assert "result" not in tools(runner)[1]
        content = tools(watcher)[1]["result"]["content"]
        assert content == [{"type": "text", "text": "hello-from-tool"}]
        assert tools(other) == tools(plain) == []

    async def test_results_are_shown_if_the_session_says_so(
        self, running: Running
    ) -> None:
        client = await running.client(caps=["tool-events"])
        await client.ask("sessions.patch", key="main", verboseLevel="full")
        await send(client, "go")
        await client.event("chat", state="final")

        (result,) = (
            f["payload"]["data"]
            for f in client.events("agent")
            if f["payload"]["data"].get("phase") == "result"
        )
        assert result["result"]["content"][0]["text"] == "hello-from-tool"

    async def test_protocol_4_shows_all_that_was_said(self, running: Running) -> None:
        newer = await running.client(protocol=(4, 4), caps=["tool-events"])
        older = await running.client()
        await send(newer, "go", unknownParameter=True)

        final = await newer.event("chat", state="final")
        old_final = await older.event("chat", state="final")

        assert text_of(final) == "Let me run that.\n\nThe tool said: hello"
        assert text_of(old_final) == "The tool said: hello"
        deltas = chats(newer, "delta")
        assert "".join(d["deltaText"] for d in deltas) == text_of(final)
        theirs = events("v4-chat-tool", "chat")
        for payload in chats(newer):
            extra = ("[].usage", "[].stopReason")
            assert differences(theirs, [payload], extra=extra) == []
        for one, two in pairwise(deltas):
            assert text_of(two).startswith(text_of(one))

    @pytest.mark.parametrize("verbose", ["off", "full"])
    async def test_protocol_4_shows_what_is_worked_on(
        self, verbose: str, running: Running
    ) -> None:
        newer = await running.client(protocol=(4, 4), caps=["tool-events"])
        older = await running.client(caps=["tool-events"])
        await newer.ask("sessions.patch", key="main", verboseLevel=verbose)
        await send(newer, "go")
        for client in (newer, older):
            await client.event("chat", state="final")

        def items(phase: str, payloads: Iterable[dict[str, Any]]) -> list[Any]:
            shown = [p for p in payloads if p["stream"] in ("item", "command_output")]
            return [p for p in shown if p["data"]["phase"] == phase]

        ours = [f["payload"] for f in newer.events("agent")]
        theirs = events("v4-chat-tool", "agent")
        # where a command ran is not ours to tell; the rest is for who may see results
        missing = ["[].data.cwd"] + ["[].data.summary"] * (verbose == "off")
        for phase in ("start", "end"):
            wanted = items(phase, theirs)
            if verbose == "off":
                wanted = [p for p in wanted if p["stream"] == "item"]
            mine = items(phase, ours)
            assert [p["stream"] for p in mine] == [p["stream"] for p in wanted]
            assert differences(wanted, mine, missing=missing) == []
        assert not items("end", (f["payload"] for f in older.events("agent")))
        for output in (p["data"] for p in ours if p["stream"] == "command_output"):
            assert (output["output"], output["exitCode"]) == ("hello-from-tool", 0)


class TestJoining:
    @pytest.fixture
    def fake_provider(self, gate: anyio.Event) -> FakeProvider:
        asks = ["Let me see.", gate, *call("exec", command="echo hi")]
        return Paced(script=[asks, "done", "me too"])

    async def test_who_joins_hears_of_the_tools_of_a_run(
        self, running: Running, gate: anyio.Event
    ) -> None:
        first, late = [await running.client(caps=["tool-events"]) for _ in range(2)]
        await send(first, "go")
        await first.event("chat", state="delta")
        await send(late, "me too")
        gate.set()

        heard = await late.event("agent", stream="tool")

        assert heard["runId"] == "go"


class TestThinking:
    @pytest.fixture
    def fake_provider(self) -> FakeProvider:
        think = [ThinkingDelta(text="Hm, "), ThinkingDelta(text="yes.")]
        return FakeProvider(script=[[*think, "Yes."], [*think, "Yes."]])

    async def test_thoughts_are_shown_if_the_session_says_so(
        self, running: Running
    ) -> None:
        client = await running.client()
        await send(client, "one")
        await client.event("chat", state="final", runId="one")
        await client.ask("sessions.patch", key="main", reasoningLevel="stream")
        await send(client, "two")
        await client.event("chat", state="final", runId="two")

        thoughts = [
            f["payload"]
            for f in client.events("agent")
            if f["payload"]["stream"] == "thinking"
        ]
        assert [t["runId"] for t in thoughts] == ["two", "two"]
        assert thoughts[-1]["data"] == {"text": "Hm, yes.", "delta": "yes."}


# --- Who is told ----------------------------------------------------------------------


async def test_only_readers_hear_of_conversations(running: Running) -> None:
    client = await running.client()
    writer, powerless = (
        await running.client(scopes=[WRITE]),
        await running.client(signature=""),
    )
    await send(client, "secret words")

    await writer.event("chat", state="final")
    await powerless.settled()

    assert not powerless.events("chat")
    assert not powerless.events("agent")


async def test_runs_of_channels_are_shown(running: Running) -> None:
    client = await running.client()

    await running.channel.deliver("from a phone")

    final = await client.event("chat", state="final")
    assert text_of(final) == "from a phone"
    assert (await running.channel.next_sent()).text == "from a phone"


async def test_chat_inject(running: Running) -> None:
    client = await running.client()

    injected = await client.ask(
        "chat.inject", sessionKey="main", message="a note", label="Note"
    )

    event = await client.event("chat", state="final")
    assert event["runId"] == f"inject-{injected['messageId']}"
    assert (event["seq"], text_of(event)) == (0, "[Note]\n\na note")
    history = await client.ask("chat.history", sessionKey="main")
    assert history["messages"][-1]["content"][0]["text"] == "[Note]\n\na note"
    assert not running.provider.requests


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"message": ""}, "message or attachment required"),
        ({"message": " \n"}, "message or attachment required"),
        ({"sessionKey": "agent:nobody:x"}, "there is no agent 'nobody'"),
        ({"sessionKey": "../etc"}, "is not a session key"),
        ({"idempotencyKey": ""}, "idempotencyKey"),
        ({"attachments": [{"content": "*"}]}, "is not base64"),
        ({"attachments": [{"content": 1}]}, "must be base64 text"),
        ({"attachments": [{}] * 33}, "attachments"),
        ({"timeoutMs": -1}, "timeoutMs"),
    ],
)
async def test_wrong_messages(
    running: Running, params: dict[str, Any], problem: str
) -> None:
    client = await running.client()

    with pytest.raises(Failed, match=problem.replace("(", r"\(")):
        await send(client, "hi", **params)
    await client.settled()
    assert not client.events("agent")


async def test_lone_surrogates_do_no_harm(running: Running) -> None:
    client = await running.client()

    await send(client, "half \ud83d", "half")

    final = await client.event("chat", state="final")
    assert text_of(final) == "half \ufffd"


async def test_a_gateway_that_stops_takes_nothing_new(running: Running) -> None:
    client = await running.client()
    running.gateway.draining = True

    with pytest.raises(Failed, match="is stopping") as failed:
        await send(client, "hi")
    with pytest.raises(Failed, match="is stopping"):
        await client.ask("agent", message="hi", idempotencyKey="a")

    assert failed.value.code == "UNAVAILABLE"
    running.gateway.draining = False
