"""Channels, senders who want in, messages that clients send, tools and models."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Self

import anyio
import pytest
from rustyclaw import ChannelError, ModelInfo, ProviderError, load_config, tool
from rustyclaw.testing import FakeChannel, FakeProvider
from rustyclaw_server import catalog

from .client import PAIRING, READ, WRITE, Failed
from .conftest import Running

SECRET = "a-secret-of-the-channel"


class Told(FakeChannel):
    """A channel that tells of itself, and has a picture to scan."""

    facts: Mapping[str, Any] = {}

    def status(self) -> Mapping[str, Any]:
        return self.facts


class Rude(FakeChannel):
    """A channel whose status fails."""

    def status(self) -> Mapping[str, Any]:
        raise RuntimeError(f"no status for {SECRET}")


class Broken(FakeProvider):
    """A provider that does not open."""

    async def __aenter__(self) -> Self:
        raise ProviderError(f"bad key {SECRET}", kind="auth", provider="broken")


class Stuck(FakeProvider):
    """A provider that hangs while it opens."""

    async def __aenter__(self) -> Self:
        await anyio.sleep_forever()
        return self


class Seeing(FakeProvider):
    """A provider with several models."""

    asked = 0

    async def models(self) -> Sequence[ModelInfo]:
        Seeing.asked += 1
        return ModelInfo(id="big", vision=True, reasoning=True), ModelInfo(id="fake")


@tool(effects={"write"})
async def carve(text: str) -> str:
    """Carve a text into stone."""
    return text


@pytest.fixture
def fake_provider() -> FakeProvider:
    Seeing.asked = 0
    return Seeing()


@pytest.fixture
def told() -> Told:
    return Told(name="told")


@pytest.fixture
def plugins(told: Told) -> Mapping[str, object]:
    return {
        "channels.told": told,
        "channels.rude": Rude(name="rude"),
        "providers.broken": Broken(),
        "tools.stone": carve,
    }


@pytest.fixture
def config() -> Mapping[str, Any]:
    return {
        "channels": {
            "fake": {"dm_policy": "open"},
            "told": {"bot_token": SECRET},
            "off": {"enabled": False},
        }
    }


async def test_how_channels_are(running: Running, told: Told) -> None:
    client = await running.client(scopes=[READ])
    told.facts = {"label": "Told You", "mode": "polling", "token": SECRET, "n": 1}
    await running.channel.deliver("hi")
    await running.channel.next_sent()

    status = await client.ask("channels.status", probe=True, timeoutMs=8000)

    assert status["channelOrder"] == ["fake", "off", "rude", "told"]
    assert status["channelLabels"]["told"] == "Told You"
    (row,) = status["channelAccounts"]["told"]
    assert (row["mode"], row["n"], row["running"]) == ("polling", 1, True)
    (fake,) = status["channelAccounts"]["fake"]
    assert fake["lastInboundAt"] <= fake["lastOutboundAt"]
    assert (fake["connected"], fake["dmPolicy"]) == (True, "open")
    assert status["channelAccounts"]["off"][0]["lastError"] == "disabled"
    assert status["channels"]["off"]["running"] is False
    assert "status failed" in status["channelAccounts"]["rude"][0]["lastError"]
    assert SECRET not in json.dumps(status)
    told.facts = {"accounts": [{"accountId": "a"}, {"accountId": "b", "linked": True}]}
    rows = (await client.ask("channels.status"))["channelAccounts"]["told"]
    assert [(row["accountId"], row.get("linked")) for row in rows] == [
        ("a", None),
        ("b", True),
    ]


async def test_a_channel_stops_and_starts(running: Running) -> None:
    client, path = await running.client(), running.gateway.config.path

    out = await client.ask("channels.logout", channel="fake")

    assert (out["cleared"], out["loggedOut"]) == (True, True)
    assert running.gateway.channels["fake"].state == "stopped"
    assert load_config(path, env={}).channels["fake"]["enabled"] is False
    assert "enabled: false" in path.read_text()
    await running.channel.deliver("is somebody there?")
    answer = await client.ask("channels.login", channel="fake")
    assert (answer["started"], answer["restartRequired"]) == (True, False)
    assert (await running.channel.next_sent()).text == "is somebody there?"
    assert "enabled: true" in path.read_text()
    assert SECRET in path.read_text()

    off = await client.ask("channels.login", channel="off")
    assert (off["started"], off["restartRequired"]) == (False, True)
    for method in ("channels.login", "channels.logout"):
        with pytest.raises(Failed, match="invalid channel 'nobody'"):
            await client.ask(method, channel="nobody")


async def test_a_picture_links_a_channel(running: Running, told: Told) -> None:
    client = await running.client()
    for method in ("web.login.start", "web.login.wait"):
        with pytest.raises(Failed, match="web login provider is not available"):
            await client.ask(method)
        assert method not in client.hello_ok["features"]["methods"]

    told.facts = {"linked": False, "qrDataUrl": "data:image/png;base64,AA=="}
    shown = await client.ask("web.login.start", force=True)
    waiting = await client.request("web.login.wait", {"timeoutMs": 5000})
    told.facts = {"linked": True}

    assert shown["qrDataUrl"] == "data:image/png;base64,AA=="
    assert (await waiting.answer())["connected"] is True
    told.facts = {"linked": False}
    assert (await client.ask("web.login.wait", timeoutMs=1))["connected"] is False


# --- Sending --------------------------------------------------------------------------


async def test_a_message_is_sent_once(running: Running) -> None:
    client = await running.client(scopes=[WRITE])
    params = {"to": "bob", "message": "hello", "channel": "fake", "idempotencyKey": "k"}

    first = await client.ask("send", **params)
    again = await client.ask("send", **params)

    assert first == again
    assert first["messageId"] == "out-1"
    assert (first["channel"], first["chatId"], first["runId"]) == ("fake", "bob", "k")
    (posted,) = running.channel.posted
    assert (posted.target.chat_id, posted.message.text) == ("bob", "hello")


async def test_duplicates_at_once_share_an_answer(running: Running) -> None:
    client = await running.client()
    params = {"to": "bob", "message": "hello", "channel": "fake", "idempotencyKey": "k"}

    sent = [await client.request("send", params) for _ in range(3)]
    answers = [await one.answer() for one in sent]

    assert answers[0] == answers[1] == answers[2]
    assert len(running.channel.posted) == 1


async def test_a_message_that_is_refused_is_an_error(running: Running) -> None:
    client = await running.client()
    running.channel.fail_next(ChannelError("no such chat", permanent=True))

    with pytest.raises(Failed, match="no such chat") as failed:
        await client.ask(
            "send", to="x", message="y", channel="fake", idempotencyKey="k"
        )

    assert failed.value.code == "UNAVAILABLE"


@pytest.mark.parametrize(
    ("method", "params", "message"),
    [
        ("send", {"message": "x"}, "unsupported channel: whatsapp"),
        ("send", {"message": "x", "channel": "nope"}, "unsupported channel: nope"),
        ("send", {"message": " ", "channel": "fake"}, "text or media is required"),
        ("send", {"mediaUrl": "file:///etc/passwd"}, "media by URL is not supported"),
        ("poll", {"question": "a?", "options": ["x", "y"]}, "unsupported poll channel"),
        (
            "poll",
            {"question": "a?", "options": ["x", "y"], "channel": "fake"},
            "cannot make polls",
        ),
    ],
)
async def test_what_cannot_be_sent(
    running: Running, method: str, params: dict[str, Any], message: str
) -> None:
    client = await running.client()

    with pytest.raises(Failed, match=message):
        await client.ask(method, to="x", idempotencyKey="k", **params)

    assert running.channel.posted == []


# --- Senders who want in --------------------------------------------------------------


async def test_a_sender_is_let_in_and_told_so(running: Running, told: Told) -> None:
    told.config = told.config.model_copy(
        update={"dm_policy": "pairing", "allow_from": ()}
    )
    client = await running.client(scopes=[PAIRING])
    reader = await running.client(scopes=[READ])
    await told.deliver("let me in", sender="eve")
    assert await client.event("pairing") == {"channel": "told"}
    assert "rustyclaw pairing approve told" in (await told.next_sent()).text

    (row,) = (await client.ask("pairing.list"))["pending"]
    with pytest.raises(Failed, match="has the code 'WRONG'"):
        await client.ask("pairing.approve", channel="told", code="WRONG")
    answer = await client.ask(
        "pairing.approve", channel="told", code=row["code"].lower()
    )

    assert row["sender"] == "eve"
    assert answer == {
        "ok": True,
        "channel": "told",
        "sender": "eve",
        "name": None,
        "told": True,
    }
    posted = await told.next_sent()
    assert (posted.text, told.posted[-1].target.chat_id) == (
        "You are paired. Write whatever you like.",
        "eve",
    )
    event = await client.event("pairing", decision="approved")
    assert event["sender"] == "eve"
    await told.deliver("thanks", sender="eve")
    assert (await told.next_sent()).text == "thanks"
    await reader.settled()
    assert reader.events("pairing") == []


async def test_a_sender_is_turned_away(running: Running, told: Told) -> None:
    told.config = told.config.model_copy(
        update={"dm_policy": "pairing", "allow_from": ()}
    )
    client = await running.client(scopes=[PAIRING])
    await told.deliver("let me in", sender="eve")
    await told.next_sent()
    (row,) = (await client.ask("pairing.list"))["pending"]

    answer = await client.ask("pairing.reject", channel="told", code=row["code"])

    assert (answer["ok"], answer["told"]) == (True, False)
    assert (await client.ask("pairing.list"))["pending"] == []
    assert len(told.posted) == 1


# --- Models, tools, commands ----------------------------------------------------------


async def test_a_broken_provider_does_not_break_the_list(running: Running) -> None:
    client = await running.client(scopes=[READ])

    models = (await client.ask("models.list"))["models"]
    auth = (await client.ask("models.authStatus"))["providers"]
    for _ in range(3):
        await client.ask("models.list", view="configured")

    assert [(row["provider"], row["id"]) for row in models] == [
        ("fake", "big"),
        ("fake", "fake"),
    ]
    assert (models[0]["input"], models[0]["reasoning"]) == (["text", "image"], True)
    by_name = {row["provider"]: row for row in auth}
    assert by_name["fake"]["status"] == "static"
    assert by_name["broken"]["status"] == "missing"
    assert SECRET not in json.dumps(auth)
    assert Seeing.asked == 1


async def test_a_stuck_provider_is_not_waited_for(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "_OPEN_SECONDS", 0.05)
    broken = running.gateway.loader.load("providers", "broken")
    monkeypatch.setattr(broken, "__class__", Stuck)
    client = await running.client(scopes=[READ])

    auth = (await client.ask("models.authStatus"))["providers"]

    assert {row["provider"]: row.get("reason") for row in auth} == {
        "fake": None,
        "broken": "it did not open in 0.05 s",
    }


async def test_tools_are_listed_by_plugin(running: Running) -> None:
    client = await running.client(scopes=[READ])

    (group,) = (await client.ask("tools.catalog"))["groups"]
    (row,) = (await client.ask("tools.list"))["tools"]

    assert (group["id"], group["source"]) == ("stone", "plugin")
    assert (group["tools"][0]["id"], group["tools"][0]["risk"]) == ("carve", "medium")
    assert row["description"] == "Carve a text into stone."
    assert row["effects"] == ["write"]
    assert list(row["parameters"]["properties"]) == ["text"]


async def test_every_command_that_is_listed_is_answered(running: Running) -> None:
    client = await running.client(scopes=[READ])

    listed = (await client.ask("commands.list", includeArgs=True))["commands"]

    helped = await running.gateway.command("/help", "main")
    assert helped is not None
    known = re.findall(r"(?:^| or )/(\w+)( \[\w+\])?", helped, re.MULTILINE)
    rows = {row["name"]: row["acceptsArgs"] for row in listed}
    assert rows == {name: bool(argument) for name, argument in known}
    assert all(("args" in row) == row["acceptsArgs"] for row in listed)
    for name in rows:
        assert await running.gateway.command(f"/{name}", "agent:main:main")
