"""Status, system events, waking, heartbeats, hooks and plugins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from rustyclaw import HookContext, Prompt, hookimpl
from rustyclaw.testing import FakeProvider

from .client import ADMIN, READ, WRITE, Failed
from .conftest import Running


class Stamp:
    """A hook plugin of some other author."""

    @hookimpl
    async def before_agent_start(
        self, context: HookContext, prompt: Prompt
    ) -> Prompt | None:
        return None


@pytest.fixture
def plugins() -> Mapping[str, object]:
    return {"hooks.stamp": Stamp()}


async def say(running: Running, text: str, key: str = "k1") -> None:
    client = await running.client()
    await client.ask("chat.send", sessionKey="main", message=text, idempotencyKey=key)
    await client.event("chat", state="final", runId=key)


async def test_status_tells_of_sessions(running: Running) -> None:
    await say(running, "hi")
    admin, reader = await running.client(), await running.client(scopes=[READ])
    await admin.ask("system-event", text="the door rang")

    status, less = await admin.ask("status"), await reader.ask("status")

    row = status["sessions"]["recent"][0]
    assert (row["key"], row["kind"]) == ("agent:main:main", "direct")
    assert row["inputTokens"] > 0
    assert row["remainingTokens"] == row["contextTokens"] - row["totalTokens"]
    assert status["sessions"]["defaults"] == {"model": "fake", "contextTokens": 200_000}
    assert status["channelSummary"] == ["Fake: connected"]
    assert status["queuedSystemEvents"][0].endswith("the door rang")
    assert less["queuedSystemEvents"] == []
    assert less["sessions"]["paths"] == []
    assert less["sessions"]["byAgent"][0]["path"] == "[redacted]"


async def test_a_system_event_reaches_the_next_message_once(running: Running) -> None:
    client = await running.client()
    presence = client.hello_ok["snapshot"]["stateVersion"]["presence"]
    await client.ask("system-event", text="the door rang", host="bell", mode="node")
    await client.ask("system-event", text="the door rang", host="bell", mode="node")

    event = await client.event_frame("presence")
    assert event["stateVersion"]["presence"] > presence
    assert "bell" in [row.get("host") for row in event["payload"]["presence"]]
    await say(running, "hi", "k1")
    await say(running, "hi", "k2")

    said = [request.messages[-1].text for request in running.provider.requests]
    assert said[0].count("the door rang") == 1
    assert "the door rang" not in said[1]


async def test_what_a_node_repeats_is_no_news(running: Running) -> None:
    client = await running.client()
    for _ in range(3):
        await client.ask("system-event", text="Node: ann is idle", instanceId="i")

    assert len(running.server.system_events.waiting("agent:main:main")) == 1


async def test_waking_now_answers_in_the_last_chat(
    running: Running, fake_provider: FakeProvider
) -> None:
    await running.channel.deliver("hello")
    await running.channel.next_sent()
    key = (await running.gateway.state.sessions.list())[0].key
    client = await running.client(scopes=[WRITE])

    answer = await client.ask("wake", mode="now", text="look", sessionKey=key)

    final = await client.event("chat", state="final", runId=answer["runId"])
    assert final["sessionKey"] == key
    assert (await running.channel.next_sent()).text == "System: look"


async def test_waking_later_waits_for_the_next_message(running: Running) -> None:
    client = await running.client()

    assert await client.ask("wake", mode="next-heartbeat", text="look") == {"ok": True}
    assert running.gateway.active_runs() == []
    await say(running, "hi")

    assert "look" in running.provider.requests[-1].messages[-1].text
    with pytest.raises(Failed, match="there is no agent 'nobody'"):
        await client.ask("wake", mode="now", text="x", sessionKey="agent:nobody:main")
    for params in ({"mode": "now"}, {"mode": "x", "text": "y"}, {"text": "y"}):
        with pytest.raises(Failed, match="invalid wake params"):
            await client.ask("wake", **params)


async def test_heartbeats_are_a_plugins(running: Running) -> None:
    client = await running.client()
    heard: list[Any] = []
    running.gateway.feed.watch(heard.append)
    assert await client.ask("last-heartbeat") is None

    running.gateway.feed.announce("heartbeat", {"ts": 1, "status": "sent"})

    assert await client.event("heartbeat") == {"ts": 1, "status": "sent"}
    assert await client.ask("last-heartbeat") == {"ts": 1, "status": "sent"}
    await client.ask("set-heartbeats", enabled=False)
    assert heard[-1].name == "heartbeats.switch"
    assert heard[-1].payload == {"enabled": False}


async def test_updates_are_for_pip(running: Running) -> None:
    client = await running.client()

    with pytest.raises(Failed, match="pip install --upgrade rustyclaw") as failed:
        await client.ask("update.run")

    assert failed.value.code == "UNAVAILABLE"


# --- The life of a message ------------------------------------------------------------


async def test_who_wants_to_sees_the_hooks(running: Running) -> None:
    watcher = await running.client(caps=["hook-events"], scopes=[READ])
    powerless = await running.client(caps=["hook-events"], scopes=[])
    other = await running.client()

    await say(running, "hi")

    seen = await watcher.event("hook", plugin="stamp")
    assert seen["hook"] == "before_agent_start"
    assert (seen["outcome"], seen["sessionKey"]) == ("ok", "agent:main:main")
    assert seen["runId"] == "k1"
    assert 0 <= seen["seconds"] < 5
    for client in (powerless, other):
        await client.settled()
        assert client.events("hook") == []


async def test_all_hooks_are_listed_in_order(running: Running) -> None:
    client = await running.client(scopes=[READ])

    answer = await client.ask("hooks.list")

    rows = {row["name"]: row for row in answer["hooks"]}
    assert answer["capability"] == "hook-events"
    assert list(rows)[:2] == ["gateway_start", "message_received"]
    assert len(rows) == 17
    assert rows["before_tool_call"]["kind"] == "guard"
    names = [plugin["name"] for plugin in rows["before_agent_start"]["plugins"]]
    assert names == ["server", "stamp"]


# --- Plugins --------------------------------------------------------------------------


async def test_a_plugin_is_denied_and_allowed_again(running: Running) -> None:
    client = await running.client()

    denied = await client.ask("plugins.deny", name="exec")
    again = await client.ask("plugins.deny", name="exec")
    allowed = await client.ask("plugins.allow", name="exec")

    assert (denied["deny"], denied["restartRequired"]) == (["exec"], True)
    assert again["restartRequired"] is False
    assert (allowed["deny"], allowed["allow"]) == ([], None)
    assert (await client.event("config.changed"))["changed"] == ["plugins"]
    with pytest.raises(Failed, match="the server cannot deny itself"):
        await client.ask("plugins.deny", name="server")


async def test_an_allow_list_grows(running: Running) -> None:
    client, path = await running.client(), running.gateway.config.path
    path.write_text(path.read_text() + "plugins: {allow: [server, fake]}\n")

    answer = await client.ask("plugins.allow", name="exec")

    assert answer["allow"] == ["server", "fake", "exec"]


async def test_the_doctor_finds_what_is_wrong(running: Running) -> None:
    client = await running.client()
    assert (await client.ask("doctor.run"))["ok"] is True

    path = running.gateway.config.path
    path.write_text(path.read_text() + "session: {fsync: sometimes}\n")
    answer = await client.ask("doctor.run")

    assert answer["ok"] is False
    texts = [row["text"] for row in answer["checks"] if row["mark"] == "!!"]
    assert texts[0].startswith("session.fsync: ")
    reader = await running.client(scopes=[READ])
    with pytest.raises(Failed, match=f"missing scope: {ADMIN}"):
        await reader.ask("doctor.run")
    assert (await reader.ask("plugins.list")) == {"plugins": []}


async def test_readers_hear_that_another_model_steps_in(running: Running) -> None:
    reader, powerless = (
        await running.client(scopes=[READ]),
        await running.client(signature=""),
    )
    told = {"sessionKey": "agent:main:main", "from": "a/x", "to": "b/y"}

    running.gateway.feed.announce("fallback", told, READ)

    assert await reader.event("fallback") == told
    await powerless.settled()
    assert not powerless.events("fallback")
