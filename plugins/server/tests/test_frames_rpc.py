"""Further captures, repeated: requests, refusals, handshakes, tokens, pairing.

Methods of other groups are compared by the tests of those.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest
from rustyclaw import ToolContext, tool
from rustyclaw.testing import FakeProvider, call

from .client import ADMIN, READ, Client, Device, Failed, Pending
from .shapes import differences, events, exchanges, frames

if TYPE_CHECKING:
    from .conftest import Running

#: The groups that this module is about.
PREFIXES = (
    "sessions.",
    "device.",
    "exec.",
    "node.",
    "chat.",
    "agent",
    "talk.",
    "voice",
)
#: Their refusals depend on a config and on channels.
OF_OTHER_TESTS = ("config.set", "send")
OTHERS = ("agents.list", "agent.identity.get", "sessions.usage")
MISSING = (
    "payload.result.meta.agentMeta.lastCallUsage",  # the core keeps sums
    "payload.result.meta.systemPromptReport",
    "payload.entry.skillsSnapshot",
    "payload.entry.systemPromptReport",
    "payload.entry.authProfileOverride*",
    "payload.entry.providerOverride",
    "payload.entry.cliSessionIds",
    "payload.entry.compactionCount",
    "payload.entry.sessionFile",
    "payload.entry.displayName",
    "payload.entry.groupId",
    "payload.entry.channel",
    "payload.entry.inputTokens",
    "payload.entry.outputTokens",
    "payload.entry.totalTokens",
    "payload.entry.contextTokens",
    "payload.sessions[].displayName",
    "payload.sessions[].channel",
)
EXTRA = (
    "payload.result.meta.stopReason",
    "payload.tokensBefore",
    "payload.tokensAfter",
    "payload.entry.*",
    "payload.verboseLevel",
)


@tool(name="exec")
async def run_command(command: str, context: ToolContext) -> str:
    """Run a command."""
    return "hello-from-tool"


@pytest.fixture
def plugins() -> Mapping[str, object]:
    return {"tools.exec": run_command}


def about(name: str) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Return the exchanges of a capture that this module is about."""
    return [
        (request, answers)
        for request, answers in exchanges(name)
        if request["method"].startswith(PREFIXES) and request["method"] not in OTHERS
    ]


async def compare(
    client: Client, request: dict[str, Any], answers: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Repeat a request; return our answers after they were compared."""
    pending = await client.request(request["method"], request.get("params"))
    found = []
    for theirs in answers:
        ours = await pending.frame()
        assert ours["ok"] == theirs["ok"], (ours, request)
        assert differences(theirs, ours, missing=MISSING, extra=EXTRA) == [], request
        if "error" in theirs:
            assert ours["error"]["code"] == theirs["error"]["code"], request
        found.append(ours)
    return found


# --- agent ----------------------------------------------------------------------------


class TestAgent:
    @pytest.fixture
    def fake_provider(self) -> FakeProvider:
        asks = ["Let me run that.", *call("exec", command="echo hello-from-tool")]
        return FakeProvider(script=[asks, "The tool said: hello-from-tool (done)"])

    #: Ours can put a message into a conversation that has just begun.
    BETTER = ("chat.inject",)

    async def test_replay(self, running: Running) -> None:
        client = await running.client(caps=["tool-events"])

        for request, answers in about("agent-two-stage"):
            if request["method"] in self.BETTER:
                assert (await client.ask("chat.inject", **request["params"]))["ok"]
                continue
            if request["method"] == "sessions.compact":
                request["params"]["maxLines"] = 2  # ours has fewer lines
            await compare(client, request, answers)

        for name in ("talk.mode", "voicewake.changed"):
            (theirs,) = events("agent-two-stage", name)
            assert differences(theirs, await client.event(name)) == []

    async def test_two_stages(self, running: Running) -> None:
        client = await running.client()

        pending = await client.request(
            "agent", {"message": "go", "idempotencyKey": "k", "sessionKey": "main"}
        )
        first, last = await pending.answer(), await pending.answer()

        assert (first["status"], first["runId"]) == ("accepted", "k")
        assert (last["status"], last["summary"]) == ("ok", "completed")
        texts = [part["text"] for part in last["result"]["payloads"]]
        assert texts[-1] == "The tool said: hello-from-tool (done)"


# --- Sessions and agents --------------------------------------------------------------


async def test_sessions(running: Running) -> None:
    client = await running.client()

    for request, answers in about("sessions"):
        await compare(client, request, answers)


class TestSeveralAgents:
    @pytest.fixture
    def settings(self) -> Mapping[str, Any]:
        return {"auth": {"mode": "password", "password": "pw-1"}}

    @pytest.fixture
    def config(self) -> Mapping[str, Any]:
        agents = [{"id": "home", "name": "Home", "default": True}, {"id": "work"}]
        return {"agents": {"list": agents}}

    async def test_replay(self, running: Running) -> None:
        client = await running.client(shown={"password": "pw-1"}, scopes=[ADMIN])

        for request, answers in about("password-multi-agent"):
            (ours,) = await compare(client, request, answers[:1])
            if request["method"] == "chat.send":
                run_id = ours["payload"]["runId"]
                final = await client.event("chat", state="final", runId=run_id)
                (theirs,) = events(
                    "password-multi-agent", "chat", state="final", runId=run_id
                )
                assert final["sessionKey"] == theirs["sessionKey"]


# --- Refusals -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["errors", "scopes", "token-without-device"])
async def test_refusals(running: Running, name: str) -> None:
    scopes = {"scopes": [READ], "errors": [ADMIN]}.get(name, [ADMIN])
    signed = {"signature": ""} if name == "token-without-device" else {}
    client = await running.client(scopes=scopes, **signed)

    for request, answers in exchanges(name):
        error = answers[0].get("error") if answers else None
        if error is None or running.server.method(request["method"]) is None:
            continue
        if request["method"] in OF_OTHER_TESTS:
            continue
        await client.send(request)
        ours = await Pending(client, request["id"]).frame()
        assert ours.get("error") == error, request


async def test_an_unknown_method_is_unknown_to_admins_alone(running: Running) -> None:
    admin, reader = await running.client(), await running.client(scopes=[READ])

    with pytest.raises(Failed, match=r"unknown method: no\.such"):
        await admin.ask("no.such")
    with pytest.raises(Failed, match=r"missing scope: operator\.admin"):
        await reader.ask("no.such")


# --- Handshakes -----------------------------------------------------------------------


def cases() -> dict[str, list[dict[str, Any]]]:
    """Return the lines of each captured handshake by its name."""
    found: dict[str, list[dict[str, Any]]] = {}
    name = ""
    for line in frames("handshake-failures"):
        if line["dir"] == "case":
            name = line["name"]
        else:
            found.setdefault(name, []).append(line)
    return found


CASES = cases()
#: Ours speaks protocol 4 as well, names only the first thing that is wrong, and lets
#: a page of another port of this machine in only if the config names it.
OTHERWISE = {
    "protocol-too-new",
    "connect-unknown-client-id",
    "control-ui-loopback-origin-other-port",
}


@pytest.mark.parametrize("name", sorted(CASES))
async def test_handshake(running: Running, name: str) -> None:
    lines = CASES[name]
    if name in OTHERWISE or any(line["t"] > 9000 for line in lines):
        pytest.skip("ours is another, on purpose")
    sent = next((line["frame"] for line in lines if line["dir"] == "out"), None)
    answer = next(
        (
            line["frame"]
            for line in lines
            if line["dir"] == "in" and line["frame"]["type"] == "res"
        ),
        None,
    )
    close = next(line for line in lines if line["dir"] == "close")
    params = (sent or {}).get("params", {})
    headers: dict[str, str] = {}
    if name == "host-header-remote" or name.startswith("remote"):
        headers["x-forwarded-for"] = "192.0.2.7"
    if name == "control-ui-no-device":
        headers["origin"] = running.url
    if name == "control-ui-bad-origin":
        # Ours refuses such a page before it is a WebSocket.
        from websockets.exceptions import InvalidStatus

        with pytest.raises(InvalidStatus, match="403"):
            await running.socket(headers={"origin": "https://evil.example"})
        return
    client = await running.socket(headers=headers)
    if sent is None or set(sent) == {"raw"}:
        await client.send("hello")
    elif sent.get("method") != "connect" or not params.get("client"):
        await client.send(sent)
    else:
        await connect_as(client, name, params)
    if answer is None:
        assert (await client.closed())[0] == close["code"]
        return
    ours = await client._next(lambda f: f["type"] == "res", 10, "an answer")
    assert ours["ok"] == answer["ok"], ours
    if answer["ok"]:
        return
    assert ours["error"]["code"] == answer["error"]["code"]
    assert ours["error"]["message"] == answer["error"]["message"]
    theirs = answer["error"].get("details", {})
    assert differences(theirs, ours["error"].get("details", {}), extra=["code"]) == []
    assert await client.closed() == (close["code"], close["reason"])


async def connect_as(client: Client, name: str, params: dict[str, Any]) -> None:
    """Send the ``connect`` of a capture, signed by a device of our own."""
    token = (params.get("auth") or {}).get("token")
    hello = client.hello
    hello.client_id, hello.mode = params["client"]["id"], params["client"]["mode"]
    hello.platform = params["client"]["platform"]
    hello.scopes, hello.role = params["scopes"], params["role"]
    hello.shown = params.get("auth")
    if token == "live-token-123":
        hello.shown = {"token": "a-shared-token-of-tests"}
    proof = params.get("device")
    hello.signature = "" if not proof else "v2" if "nonce" in proof else "v1"
    made = hello.params(client.nonce)
    made |= {k: params[k] for k in ("minProtocol", "maxProtocol")}
    made |= {k: v for k, v in params.items() if k not in made and k != "device"}
    device = made.get("device", {})
    if name == "device-id-mismatch":
        device["id"] = "0" * 64
    elif name == "device-signature-invalid":
        device["signature"] = Device().sign("something else")
    elif name == "device-signature-expired":
        device["signedAt"] -= 3_600_000
    elif name == "device-nonce-mismatch":
        device["nonce"] = "another"
    await client.request("connect", made, "1")


# --- Device tokens and pairing --------------------------------------------------------


async def test_a_device_token_is_good_for_its_scopes(running: Running) -> None:
    device = Device()
    first = await running.client(device=device, scopes=[READ])
    auth = first.hello_ok["auth"]
    (theirs,) = (a[0] for a in [auth_of("device-token")])
    assert differences(theirs, auth) == []
    token = {"token": auth["deviceToken"]}

    again = await running.client(device=device, scopes=[READ], shown=token)
    assert again.hello_ok["auth"]["deviceToken"] == auth["deviceToken"]

    more = await running.socket(device=device, scopes=[ADMIN], shown=token)
    await refused(more, "device-token-scope-upgrade")


def auth_of(name: str) -> list[dict[str, Any]]:
    """Return the ``auth`` objects that a capture's ``hello-ok`` had."""
    payloads = (
        line["frame"].get("payload", {}) for line in frames(name) if line["dir"] == "in"
    )
    return [p["auth"] for p in payloads if p.get("type") == "hello-ok"]


async def refused(client: Client, name: str) -> dict[str, Any]:
    """Connect and be refused as in a capture; return the details."""
    lines = [line for line in frames(name) if line["dir"] != "out"]
    theirs = next(
        line["frame"]["error"] for line in lines if "error" in line.get("frame", {})
    )
    close = lines[-1]
    with pytest.raises(Failed) as failed:
        await client.connect()
    assert (failed.value.code, failed.value.message) == (
        theirs["code"],
        theirs["message"],
    )
    details = failed.value.details or {}
    assert differences(theirs.get("details", {}), details, extra=["code"]) == []
    assert await client.closed() == (close["code"], close["reason"])
    return details


async def test_a_rotated_token_is_stale(running: Running) -> None:
    admin, device = await running.client(), Device()
    client = await running.client(device=device, scopes=[READ])
    old = {"token": client.hello_ok["auth"]["deviceToken"]}
    requests = {r["method"]: a[0] for r, a in exchanges("device-token-rotate")}
    named = {"deviceId": device.id, "role": "operator"}

    rotated = await admin.ask("device.token.rotate", **named)
    theirs = requests["device.token.rotate"]["payload"]
    assert differences(theirs, rotated) == []
    assert (await client.closed())[0] == 1008
    stale = await running.socket(device=device, scopes=[READ], shown=old)
    await refused(stale, "device-token-stale")

    new = await running.client(
        device=device, scopes=[READ], shown={"token": rotated["token"]}
    )
    revoked = await admin.ask("device.token.revoke", **named)
    assert differences(requests["device.token.revoke"]["payload"], revoked) == []
    assert await new.closed() == (1008, "device token revoked")


async def test_a_remote_device_is_paired_by_an_operator(running: Running) -> None:
    admin, device = await running.client(), Device()
    far = {"device": device, "headers": {"x-forwarded-for": "192.0.2.7"}}
    remote = await running.socket(**far, scopes=[READ])
    details = await refused(remote, "device-pairing-remote")
    request_id = details["requestId"]
    name = "device-token-rotate"
    (theirs,) = events(name, "device.pair.requested")
    asked = await admin.event("device.pair.requested")
    assert differences(theirs, asked, extra=["remoteIp"]) == []
    assert asked["requestId"] == request_id

    approved = await admin.ask("device.pair.approve", requestId=request_id)
    (answer,) = (
        a[0] for r, a in exchanges(name) if r["method"] == "device.pair.approve"
    )
    extra = ["device.remoteIp"]
    assert differences(answer["payload"], approved, extra=extra) == []
    resolved = await admin.event("device.pair.resolved", requestId=request_id)
    theirs = events(name, "device.pair.resolved")[0]
    assert differences(theirs, resolved) == []

    paired = await running.client(
        **far | {"headers": {"x-forwarded-for": "192.0.2.7"}}, scopes=[READ]
    )
    (theirs,) = auth_of("device-pairing-remote-after")
    assert differences(theirs, paired.hello_ok["auth"]) == []
    with pytest.raises(Failed, match="unknown requestId"):
        await admin.ask("device.pair.approve", requestId=request_id)


# --- hello-ok and the end -------------------------------------------------------------


async def test_hello_ok(running: Running) -> None:
    client = await running.client(client_id="gateway-client", mode="backend")

    theirs = next(
        f["frame"]["payload"]
        for f in frames("handshake-operator")
        if f["dir"] == "in" and f["frame"]["type"] == "res"
    )
    extra = ("snapshot.health.channel*",)  # by id; theirs has none
    missing = ("snapshot.health.agents[].heartbeat.everyMs",)  # ours has none yet
    assert differences(theirs, client.hello_ok, missing=missing, extra=extra) == []
    known = set(client.hello_ok["features"]["methods"])
    own = {m for m in theirs["features"]["methods"] if m.startswith(PREFIXES)}
    assert own - known - {"agents.list", "agents.create"} <= set(OTHERS) | {
        m for m in own if m.startswith("agents.")
    }


async def test_shutdown(running: Running) -> None:
    client = await running.client()

    await running.gateway.stop("restart")

    (theirs,) = events("shutdown", "shutdown")
    told = await client.event("shutdown")
    assert differences(theirs, told) == []
    assert told["restartExpectedMs"] > 0
    assert await client.closed() == (1012, "service restart")
