"""Every method against every kind of caller, and what is said without a plugin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest
from rustyclaw import Caller, Method, MethodError
from rustyclaw_server.auth.scopes import ANYONE, NODE, authorize
from rustyclaw_server.methods.base import GROUPS, functions_of

from .client import ADMIN, APPROVALS, PAIRING, READ, WRITE, Failed

if TYPE_CHECKING:
    from .conftest import Running

#: What each method of OpenClaw 2026.2.17 needs (sheet section 10), and ours.
SCOPES = {
    READ: """
        health status system-presence last-heartbeat logs.tail usage.status usage.cost
        config.get models.list agents.list agent.identity.get skills.status tts.status
        tts.providers talk.config voicewake.get sessions.list sessions.preview
        chat.history channels.status cron.list cron.status cron.runs node.list
        node.describe sessions.get sessions.subscribe sessions.unsubscribe agent.status
    """,
    WRITE: """
        wake tts.enable tts.disable tts.setProvider tts.convert talk.mode voicewake.set
        chat.send chat.abort agent agent.wait send node.invoke browser.request
        talk.start talk.stop agent.abort
    """,
    ADMIN: """
        system-event set-heartbeats update.run config.schema config.set config.patch
        config.apply agents.create agents.update agents.delete agents.files.list
        agents.files.get agents.files.set skills.install skills.update sessions.resolve
        sessions.patch sessions.reset sessions.delete sessions.compact sessions.usage
        sessions.usage.timeseries sessions.usage.logs chat.inject poll channels.logout
        web.login.start web.login.wait cron.add cron.update cron.remove cron.run
        exec.approvals.get exec.approvals.set exec.approvals.node.get
        exec.approvals.node.set wizard.start wizard.next wizard.cancel wizard.status
        auth.rotate
    """,
    PAIRING: """
        node.rename node.pair.request node.pair.list node.pair.approve node.pair.reject
        node.pair.verify device.pair.list device.pair.approve device.pair.reject
        device.token.rotate device.token.revoke device.pair.remove
    """,
    APPROVALS: """
        exec.approval.request exec.approval.waitDecision exec.approval.resolve
        approvals.list approvals.allowed approvals.forget
    """,
    NODE: "node.invoke.result node.event skills.bins",
}
NEEDED = {name: scope for scope, names in SCOPES.items() for name in names.split()}
#: What each kind of operator may call, by what a method needs.
MAY = {
    (): set(),
    (READ,): {READ},
    (WRITE,): {READ, WRITE},
    (APPROVALS,): {APPROVALS},
    (PAIRING,): {PAIRING},
    (ADMIN,): {READ, WRITE, APPROVALS, PAIRING, ADMIN},
    ("operator.talk.secrets",): set(),
}


async def test_methods_need_what_the_sheet_says(running: Running) -> None:
    found = {method.name: method.scope for method in running.server.methods()}
    known = {READ, WRITE, ADMIN, PAIRING, APPROVALS, NODE, ANYONE}

    wrong = {n: s for n, s in found.items() if n in NEEDED and s != NEEDED[n]}
    assert wrong == {}
    assert set(found.values()) <= known
    assert all(function.__doc__ for g in GROUPS for function in functions_of(g))


@pytest.mark.parametrize("scopes", MAY, ids=lambda scopes: ",".join(scopes) or "none")
async def test_operators(running: Running, scopes: tuple[str, ...]) -> None:
    client = await running.client(scopes=scopes)
    caller = Caller()
    caller.scopes = frozenset(scopes)

    for method in running.server.methods():
        if method.scope in MAY[scopes] or method.scope == ANYONE:
            authorize(caller, method)
            continue
        told = "unauthorized role: operator"
        if method.scope != NODE:
            told = f"missing scope: {method.scope}"
        with pytest.raises(Failed) as failed:
            await client.ask(method.name)
        assert (failed.value.code, failed.value.message) == ("INVALID_REQUEST", told)


async def test_nodes(running: Running) -> None:
    client = await running.client(role="node", scopes=[], mode="node")
    powerful = Caller()
    powerful.role = "node"  # scopes of a node count for nothing

    for method in running.server.methods():
        if method.scope in (NODE, ANYONE):
            authorize(powerful, method)
            continue
        with pytest.raises(MethodError, match="unauthorized role: node"):
            authorize(powerful, method)
        with pytest.raises(Failed, match="unauthorized role: node"):
            await client.ask(method.name)
    with pytest.raises(Failed, match="unauthorized role: node"):
        await client.ask("no.such.method")


async def test_a_node_is_granted_no_scopes(running: Running) -> None:
    client = await running.client(role="node", scopes=[ADMIN], mode="node")

    with pytest.raises(Failed, match="unauthorized role: node"):
        await client.ask("sessions.list")
    await client.settled()
    operator = await running.client()
    pending = await operator.request("exec.approval.request", {"command": "x"})
    await operator.event("exec.approval.requested")
    await client.settled()
    assert not client.events("exec.approval.requested")
    assert pending


async def test_wrong_parameters_are_named(running: Running) -> None:
    """Of each method that has a model, on protocol 3: an unknown key is an error."""
    client = await running.client()
    for method in (f.__method__ for group in GROUPS for f in functions_of(group)):
        if method.params.model_config["extra"] == "allow" or method.scope == NODE:
            continue
        with pytest.raises(Failed) as failed:
            await client.ask(method.name, unknownThing=1)
        assert f"invalid {method.name} params: " in failed.value.message
        assert "unexpected property 'unknownThing'" in failed.value.message


# --- Without a plugin -----------------------------------------------------------------


async def test_what_is_true_is_said(running: Running) -> None:
    client = await running.client()

    assert await client.ask("cron.list", includeDisabled=True) == {"jobs": []}
    assert await client.ask("cron.status") == {
        "enabled": False,
        "storePath": "",
        "jobs": 0,
        "nextWakeAtMs": None,
    }
    status = await client.ask("tts.status")
    assert (status["enabled"], status["auto"]) == (False, "off")
    assert await client.ask("tts.providers") == {"providers": [], "active": None}
    assert await client.ask("tts.disable") == {"enabled": False}
    assert await client.ask("talk.config") == {"config": {}}


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("cron.add", "install rustyclaw-cron"),
        ("cron.runs", "install rustyclaw-cron"),
        ("tts.convert", "install rustyclaw-voice"),
        ("browser.request", "install rustyclaw-browser"),
        ("wizard.start", "run `rustyclaw onboard` in a terminal"),
    ],
)
async def test_what_is_missing_is_said(
    running: Running, name: str, remedy: str
) -> None:
    client = await running.client()

    with pytest.raises(Failed) as failed:
        await client.ask(name, anything=[1])

    assert failed.value.code == "UNAVAILABLE"
    assert failed.value.message == f"{name} is not available here; {remedy}"


async def test_a_plugin_takes_the_place_of_what_is_said_without_it(
    running: Running,
) -> None:
    async def jobs(params: Mapping[str, Any], caller: Caller) -> Any:
        return {"jobs": ["mine"]}

    client = await running.client()
    mine = Method(name="cron.list", handler=jobs, scope=READ)

    running.gateway.methods.add(mine, owner="cron")  # no conflict, whoever is first

    assert await client.ask("cron.list") == {"jobs": ["mine"]}
    listed = [method.name for method in running.server.methods()]
    assert listed.count("cron.list") == 1
    running.gateway.methods.remove("cron")
    assert await client.ask("cron.list") == {"jobs": []}


#: The names of Rusty Claw (sheet section 20).
RUSTY = """
    sessions.list sessions.preview sessions.delete sessions.reset sessions.patch
    sessions.compact agent agent.abort agent.status wake models.list channels.status
    channels.login channels.logout config.get config.set cron.list cron.add cron.remove
    skills.list skills.get talk.config talk.start talk.stop talk.mode node.pair.request
    node.pair.approve node.invoke node.event agents.spawn
"""


@pytest.mark.skipif("agents" not in GROUPS, reason="those groups are being written")
async def test_all_names_of_rusty_claw_can_be_called(running: Running) -> None:
    names = RUSTY.split()
    missing = {name for name in names if running.server.method(name) is None}

    assert len(names) == 30
    assert missing == set()
