"""Nodes: what they may be asked for, what they answer, what they are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest
from rustyclaw_server.nodes import _OF_PLATFORM

from .client import ADMIN, PAIRING, READ, WRITE, Client, Device, Failed
from .shapes import differences, events, exchanges, frames

if TYPE_CHECKING:
    from .conftest import Running


async def node(running: Running, **options: Any) -> Client:
    """Connect the node of the capture, or another one."""
    sent = next(f["frame"]["params"] for f in frames("node") if f["dir"] == "out")
    own = ("commands", "permissions", "pathEnv")
    extra = {k: sent[k] for k in own} | options.pop("extra", {})
    client = {**sent["client"], **options.pop("about", {})}
    made: dict[str, Any] = {
        "role": "node",
        "scopes": [],
        "caps": sent["caps"],
        "client_id": client["id"],
        "mode": client["mode"],
        "platform": client["platform"],
        "extra": {**extra, "client": client},
    }
    return await running.client(**{**made, **options})


def answers_of(method: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the captured calls of a method with their first answers."""
    found = exchanges("device-token-rotate")
    return [(r["params"], a[0]) for r, a in found if r["method"] == method]


# --- Listing --------------------------------------------------------------------------


async def test_a_node_is_listed(running: Running) -> None:
    operator = await running.client()
    client = await node(running)

    ours = await operator.ask("node.list")

    (_, theirs), *_ = answers_of("node.list")
    assert differences(theirs["payload"], ours) == []
    (row,) = ours["nodes"]
    assert row["commands"] == ["system.run", "system.which"], "only allowed ones"
    described = await operator.ask("node.describe", nodeId=row["nodeId"])
    assert described == {"ts": described["ts"], **row}
    await client.close()
    (row,) = (await operator.ask("node.list"))["nodes"]
    assert (row["connected"], row["paired"], row["commands"]) == (False, True, [])


async def test_a_node_gets_a_name_that_stays(running: Running) -> None:
    operator, device = await running.client(), Device()
    client = await node(running, device=device)

    renamed = await operator.ask("node.rename", nodeId=device.id, displayName=" Desk ")

    assert renamed == {"nodeId": device.id, "displayName": "Desk"}
    await client.close()
    await node(running, device=device)
    row = await operator.ask("node.describe", nodeId=device.id)
    assert row["displayName"] == "Desk"
    with pytest.raises(Failed, match="unknown nodeId"):
        await operator.ask("node.rename", nodeId="nope", displayName="x")


# --- Asking ---------------------------------------------------------------------------


async def test_replay(running: Running) -> None:
    operator = await running.client()
    client = await node(running)
    node_id = client.hello.device.id  # type: ignore[union-attr]
    asked = events("node", "node.invoke.request")
    results = [r for r, _ in exchanges("node") if r["method"] == "node.invoke.result"]

    for params, theirs in answers_of("node.invoke"):
        if params["nodeId"] != "nope":
            params["nodeId"] = node_id
        if params["idempotencyKey"] == "k5":  # it does not answer in time
            params["timeoutMs"] = 30
        pending = await operator.request("node.invoke", params)
        if params["idempotencyKey"] in ("k1", "k4"):
            request = await client.event_frame("node.invoke.request")
            assert "seq" not in request
            assert differences(asked, [request["payload"]]) == []
            result = dict(results.pop(0)["params"])
            result |= {"id": request["payload"]["id"], "nodeId": node_id}
            assert await client.ask("node.invoke.result", **result) == {"ok": True}
        ours = await pending.frame()
        assert differences(theirs, ours) == [], params
        if "error" in theirs:
            assert ours["error"] == theirs["error"]


async def test_only_the_node_is_asked_and_only_it_may_answer(running: Running) -> None:
    operator, first, second = (
        await running.client(),
        await node(running),
        await node(running),
    )
    ask = {"nodeId": first.hello.device.id, "command": "system.which"}  # type: ignore[union-attr]
    pending = await operator.request("node.invoke", {**ask, "idempotencyKey": "1"})
    request = await first.event("node.invoke.request")
    assert request["paramsJSON"] is None

    answer = {"id": request["id"], "ok": True, "payload": {"n": 1}}
    theft = {**answer, "nodeId": second.hello.device.id}  # type: ignore[union-attr]
    assert (await second.ask("node.invoke.result", **theft))["ignored"]
    with pytest.raises(Failed, match="nodeId mismatch"):
        await second.ask("node.invoke.result", **answer, nodeId=ask["nodeId"])
    own = {**answer, "nodeId": ask["nodeId"]}
    assert await first.ask("node.invoke.result", **own) == {"ok": True}

    assert (await pending.answer())["payload"] == {"n": 1}
    assert (await first.ask("node.invoke.result", **own))["ignored"], "it is late"
    for other in (operator, second):
        await other.settled()
        assert not other.events("node.invoke.request")


async def test_a_repeated_key_shares_the_answer(running: Running) -> None:
    operator, client = await running.client(), await node(running)
    node_id = client.hello.device.id  # type: ignore[union-attr]
    ask = {"nodeId": node_id, "command": "system.which", "idempotencyKey": "once"}

    first = await operator.request("node.invoke", ask)
    again = await operator.request("node.invoke", ask)
    request = await client.event("node.invoke.request")
    await client.ask(
        "node.invoke.result", id=request["id"], nodeId=node_id, ok=True, payload=7
    )

    assert (await first.answer()) == (await again.answer())
    assert (await operator.ask("node.invoke", **ask))["payload"] == 7
    await client.settled()
    assert len(client.events("node.invoke.request")) == 1


async def test_who_waits_is_told_when_the_node_goes(running: Running) -> None:
    operator, client = await running.client(), await node(running)
    node_id = client.hello.device.id  # type: ignore[union-attr]
    ask = {"nodeId": node_id, "command": "system.run", "idempotencyKey": "k"}
    pending = await operator.request("node.invoke", ask)
    await client.event("node.invoke.request")

    await client.close()

    with pytest.raises(Failed, match="node not connected") as failed:
        await pending.answer(5)
    assert failed.value.details == {"code": "NOT_CONNECTED"}


@pytest.mark.parametrize(
    ("platform", "allowed", "refused"),
    [
        ("linux", "system.run", "canvas.snapshot"),
        ("windows", "system.run", "location.get"),
        ("darwin", "canvas.snapshot", "camera.snap"),
        ("iOS 18.2", "location.get", "system.run"),
        ("android", "photos.latest", "sms.send"),
        ("toaster", "", "system.run"),
    ],
)
async def test_commands_by_platform(
    running: Running, platform: str, allowed: str, refused: str
) -> None:
    offers = [*_OF_PLATFORM["macos"], "camera.snap", "sms.send"]
    offers += ["system.execApprovals.get"]
    operator = await running.client()
    client = await node(
        running,
        platform=platform,
        about={"platform": platform},
        extra={"commands": offers},
    )
    node_id = client.hello.device.id  # type: ignore[union-attr]
    (row,) = (await operator.ask("node.list"))["nodes"]

    assert (allowed in row["commands"]) == bool(allowed)
    assert refused not in row["commands"]
    for command in (refused, "system.execApprovals.get", "bogus"):
        with pytest.raises(Failed, match="node command not allowed") as failed:
            await operator.ask(
                "node.invoke", nodeId=node_id, command=command, idempotencyKey=command
            )
        assert failed.value.details["reason"] == "command not allowlisted"


class TestConfig:
    @pytest.fixture
    def settings(self) -> Mapping[str, Any]:
        return {
            "nodes": {
                "allow_commands": ["camera.snap"],
                "deny_commands": ["system.run"],
            }
        }

    async def test_the_config_has_the_last_word(self, running: Running) -> None:
        operator = await running.client()
        await node(running)

        (row,) = (await operator.ask("node.list"))["nodes"]

        assert row["commands"] == ["system.which", "camera.snap"]


async def test_what_a_node_does_not_offer_is_not_asked(running: Running) -> None:
    operator, client = await running.client(), await node(running)
    node_id = client.hello.device.id  # type: ignore[union-attr]
    ask = {"nodeId": node_id, "command": "system.notify", "idempotencyKey": "k"}

    with pytest.raises(Failed) as failed:
        await operator.ask("node.invoke", **ask)

    assert failed.value.details["reason"] == "command not declared by node"


async def test_approvals_of_a_node_are_relayed(running: Running) -> None:
    operator, client = await running.client(), await node(running)
    node_id = client.hello.device.id  # type: ignore[union-attr]
    pending = await operator.request(
        "exec.approvals.node.set",
        {"nodeId": node_id, "file": {"version": 1}, "baseHash": "h"},
    )
    request = await client.event("node.invoke.request")
    assert request["command"] == "system.execApprovals.set"
    assert request["paramsJSON"] == '{"file":{"version":1},"baseHash":"h"}'

    result = {"id": request["id"], "nodeId": node_id, "ok": True}
    await client.ask("node.invoke.result", **result, payloadJSON='{"exists":true}')

    assert await pending.answer() == {"exists": True}


# --- What nodes are told, and tell ----------------------------------------------------


async def test_a_node_hears_of_sessions_that_it_has_asked_for(running: Running) -> None:
    operator, client = await running.client(), await node(running)
    subscribe = next(
        r["params"] for r, _ in exchanges("node") if r["method"] == "node.event"
    )

    await send(operator, "agent:main:main", "before")
    assert await client.ask("node.event", **subscribe) == {"ok": True}
    await send(operator, "agent:main:other", "elsewhere")
    await send(operator, "agent:main:main", "hi node")
    await client.event("chat", state="final", runId="hi node")
    off = {"event": "chat.unsubscribe", "payload": {"sessionKey": "main"}}
    await client.ask("node.event", **off)
    await send(operator, "agent:main:main", "after")
    await client.settled()

    heard = [*client.events("chat"), *client.events("agent")]
    assert {frame["payload"]["runId"] for frame in heard} == {"hi node"}
    assert not any("seq" in frame for frame in heard)
    assert not client.events("sessions.changed")


async def send(client: Client, key: str, text: str) -> None:
    """Say something and wait for the answer; the text is the run's id."""
    sent = {"sessionKey": key, "message": text, "idempotencyKey": text}
    await client.ask("chat.send", **sent)
    await client.event("chat", state="final", runId=text)


@pytest.mark.parametrize(
    ("event", "payload", "said"),
    [
        ("voice.transcript", {"text": "what time is it"}, "what time is it"),
        ("agent.request", {"message": "look", "sessionKey": "desk"}, "look"),
    ],
)
async def test_a_node_speaks_to_the_agent(
    running: Running, event: str, payload: dict[str, Any], said: str
) -> None:
    operator, client = await running.client(), await node(running)

    await client.ask("node.event", event=event, payload=payload)

    final = await operator.event("chat", state="final")
    assert final["message"]["content"][0]["text"] == said
    assert final["sessionKey"].endswith(payload.get("sessionKey", "main"))


@pytest.mark.parametrize(
    "event", ["exec.finished", "of.the.future", "voice.transcript"]
)
async def test_other_events_are_taken(running: Running, event: str) -> None:
    client = await node(running)

    assert await client.ask("node.event", event=event, payload=[1]) == {"ok": True}
    with pytest.raises(Failed, match="payloadJSON is not JSON"):
        await client.ask("node.event", event=event, payloadJSON="{")


async def test_words_that_wake(running: Running) -> None:
    operator = await running.client()
    client = await node(running)
    assert await client.event("voicewake.changed") == {"triggers": ["rustyclaw"]}

    words = [" hey claw ", "", "x" * 100, *map(str, range(50))]
    chosen = await operator.ask("voicewake.set", triggers=words)

    assert chosen["triggers"][:2] == ["hey claw", "x" * 64]
    assert len(chosen["triggers"]) == 32
    assert await client.event("voicewake.changed") == chosen
    assert await operator.ask("voicewake.get") == chosen
    assert (await operator.ask("voicewake.set", triggers=[])) == {
        "triggers": ["rustyclaw"]
    }


async def test_nodes_may_call_only_their_own_methods(running: Running) -> None:
    client = await node(running)

    for name in ("health", "node.list", "chat.send", "no.such"):
        with pytest.raises(Failed, match="unauthorized role: node"):
            await client.ask(name)


# --- The older pairing ----------------------------------------------------------------


async def test_pairing_the_older_way(running: Running) -> None:
    operator = await running.client(scopes=[PAIRING])
    (params, theirs), *_ = answers_of("node.pair.request")

    asked = await operator.ask("node.pair.request", **params)
    again = await operator.ask("node.pair.request", **params)

    assert differences(theirs["payload"], asked) == []
    assert (again["created"], again["request"]) == (False, asked["request"])
    (event,) = events("device-token-rotate", "node.pair.requested")
    assert differences(event, await operator.event("node.pair.requested")) == []
    (_, listed), *_ = answers_of("node.pair.list")
    ours = await operator.ask("node.pair.list")
    assert differences(listed["payload"], ours) == []
    request_id = asked["request"]["requestId"]
    approved = await operator.ask("node.pair.approve", requestId=request_id)
    token, node_id = approved["node"]["token"], params["nodeId"]
    resolved = await operator.event("node.pair.resolved")
    assert resolved["decision"] == "approved"
    verified = await operator.ask("node.pair.verify", nodeId=node_id, token=token)
    assert verified["ok"]
    assert verified["node"]["displayName"] == "Legacy"
    assert await operator.ask("node.pair.verify", nodeId=node_id, token="x") == {
        "ok": False
    }
    (paired,) = (await operator.ask("node.pair.list"))["paired"]
    assert token not in str(paired)
    assert "tokenHash" not in paired

    repair = await operator.ask("node.pair.request", **params)
    assert repair["request"]["isRepair"]
    rejected = await operator.ask(
        "node.pair.reject", requestId=repair["request"]["requestId"]
    )
    assert rejected["nodeId"] == node_id
    with pytest.raises(Failed, match="unknown requestId"):
        await operator.ask("node.pair.approve", requestId=request_id)


# --- Without a plugin that talks ------------------------------------------------------


async def test_a_page_cannot_talk_without_a_phone(running: Running) -> None:
    page = await running.client(
        mode="webchat",
        client_id="webchat-ui",
        scopes=[READ, WRITE, ADMIN],
        headers={"origin": running.url},
    )

    with pytest.raises(Failed, match="needs a phone"):
        await page.ask("talk.mode", enabled=True)
    await node(running, platform="iOS 18", about={"platform": "iOS 18"})
    assert (await page.ask("talk.mode", enabled=True))["enabled"]
    assert (await page.ask("talk.start"))["enabled"]
    assert not (await page.ask("talk.stop"))["enabled"]
