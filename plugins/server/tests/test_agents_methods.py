"""Agents, their files, their tasks, and skills."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rustyclaw import load_config

from .client import ADMIN, READ, WRITE, Failed
from .conftest import Running


@pytest.fixture
def config() -> Mapping[str, Any]:
    return {
        "agents": {
            "list": [
                {"id": "home", "identity": {"name": "Sam", "emoji": "s"}},
                {"id": "work", "name": "Work"},
            ]
        },
        "bindings": [
            {"agent": "home", "match": {"channel": "fake"}},
            {"agent": "work", "match": {"channel": "other"}},
        ],
    }


async def test_who_the_agents_are(running: Running) -> None:
    client = await running.client(scopes=[READ])

    agents = await client.ask("agents.list")
    default = await client.ask("agent.identity.get")
    work = await client.ask("agent.identity.get", sessionKey="agent:work:main")

    assert agents["defaultId"] == "home"
    rows = {row["id"]: row for row in agents["agents"]}
    assert rows["home"]["identity"] == {"name": "Sam", "emoji": "s"}
    assert rows["work"]["name"] == "Work"
    assert (default["agentId"], default["name"], default["avatar"]) == (
        "home",
        "Sam",
        "s",
    )
    assert (work["agentId"], work["name"], work["avatar"]) == ("work", "Work", "A")
    with pytest.raises(Failed, match="is of agent 'work'"):
        await client.ask(
            "agent.identity.get", agentId="home", sessionKey="agent:work:main"
        )
    with pytest.raises(Failed, match="there is no agent 'nobody'"):
        await client.ask("agent.identity.get", agentId="nobody")


async def test_an_agent_comes_changes_and_goes(running: Running) -> None:
    client, path = await running.client(), running.gateway.config.path
    path.write_text("# mine\n" + path.read_text())

    made = await client.ask(
        "agents.create", name="Night Owl", emoji="o", model="fake/x"
    )
    assert (made["agentId"], made["restartRequired"]) == ("night-owl", True)
    assert Path(made["workspace"]).is_dir()
    rows = (await client.ask("agents.list"))["agents"]
    assert rows[-1] | {"workspace": ""} == {
        "id": "night-owl",
        "name": "Night Owl",
        "identity": {"emoji": "o"},
        "model": {"primary": "fake/x"},
        "pendingRestart": True,
        "workspace": "",
    }
    with pytest.raises(Failed, match="already exists"):
        await client.ask("agents.create", name="night owl")

    await client.ask("agents.update", agentId="work", name="Toil", emoji="t")
    agent = load_config(path, env={}).agent("work")
    assert (agent.name, agent.identity.emoji) == ("Toil", "t")

    gone = await client.ask("agents.delete", agentId="work")
    assert (gone["ok"], gone["removedBindings"]) == (True, 1)
    config = load_config(path, env={})
    assert config.agent_ids == ("home", "night-owl")
    assert [binding.agent for binding in config.bindings] == ["home"]
    assert path.read_text().startswith("# mine\n")
    assert (await client.event("config.changed"))["changed"] == ["agents"]


@pytest.mark.parametrize(
    ("method", "params", "message"),
    [
        ("agents.create", {"name": "???"}, "no id can be made"),
        ("agents.update", {"agentId": "nobody", "name": "x"}, "not found"),
        ("agents.delete", {"agentId": "nobody"}, "not found"),
        ("agents.delete", {"agentId": "home"}, "cannot be deleted"),
    ],
)
async def test_what_cannot_be_done_changes_nothing(
    running: Running, method: str, params: dict[str, Any], message: str
) -> None:
    client, before = await running.client(), running.gateway.config.path.read_text()

    with pytest.raises(Failed, match=message):
        await client.ask(method, **params)

    assert running.gateway.config.path.read_text() == before


# --- Files ----------------------------------------------------------------------------


async def test_files_are_read_and_written(running: Running) -> None:
    client = await running.client()

    missing = await client.ask("agents.files.get", agentId="home", name="SOUL.md")
    wrote = await client.ask(
        "agents.files.set", agentId="home", name="SOUL.md", content="kind \N{SNAKE}"
    )
    read = await client.ask("agents.files.get", agentId="home", name="SOUL.md")
    rows = (await client.ask("agents.files.list", agentId="home"))["files"]

    assert (missing["file"]["missing"], missing["file"]["content"]) == (True, "")
    assert wrote["ok"] is True
    assert read["file"]["content"] == "kind \N{SNAKE}"
    soul = next(row for row in rows if row["name"] == "SOUL.md")
    assert (soul["missing"], soul["size"]) == (False, 9)
    folder = running.gateway.workspace("home")
    assert [path.name for path in folder.iterdir()] == ["SOUL.md"]  # no draft is left


@pytest.mark.parametrize(
    "name", ["../SOUL.md", "config.yaml", "/etc/passwd", "soul.md", ".", "memory/x.md"]
)
async def test_only_known_files_can_be_touched(running: Running, name: str) -> None:
    client = await running.client()

    with pytest.raises(Failed, match="unsupported file"):
        await client.ask("agents.files.get", agentId="home", name=name)
    with pytest.raises(Failed, match="unsupported file"):
        await client.ask("agents.files.set", agentId="home", name=name, content="x")


async def test_no_link_leads_out_of_the_workspace(
    running: Running, tmp_path: Path
) -> None:
    client, folder = await running.client(), running.gateway.workspace("home")
    folder.mkdir(parents=True)
    outside = tmp_path / "outside.md"
    outside.write_text("secret")
    (folder / "SOUL.md").symlink_to(outside)
    (folder / "TOOLS.md").mkdir()
    os.mkfifo(folder / "USER.md")

    for name in ("SOUL.md", "TOOLS.md", "USER.md"):
        for method, more in (("get", {}), ("set", {"content": "x"})):
            with pytest.raises(Failed, match="no regular file"):
                await client.ask(
                    f"agents.files.{method}", agentId="home", name=name, **more
                )
    assert outside.read_text() == "secret"


async def test_files_have_a_bound_and_an_owner(running: Running) -> None:
    client, folder = await running.client(), running.gateway.workspace("home")
    folder.mkdir(parents=True)
    (folder / "SOUL.md").write_bytes(b"x" * (2**20 + 1))

    with pytest.raises(Failed, match="more than 1048576 bytes"):
        await client.ask("agents.files.get", agentId="home", name="SOUL.md")
    with pytest.raises(Failed, match="unknown agent id"):
        await client.ask("agents.files.list", agentId="nobody")
    reader = await running.client(scopes=[READ])
    with pytest.raises(Failed, match=f"missing scope: {ADMIN}"):
        await reader.ask("agents.files.get", agentId="home", name="SOUL.md")


# --- Tasks ----------------------------------------------------------------------------


async def test_a_task_has_a_session_of_its_own(running: Running) -> None:
    client = await running.client(scopes=[WRITE])

    first = await client.ask(
        "agents.spawn",
        task="count",
        agentId="work",
        label="counting",
        idempotencyKey="k",
    )
    again = await client.ask("agents.spawn", task="count", idempotencyKey="k")

    assert again == first
    assert first["sessionKey"].startswith("agent:work:subagent:")
    assert (first["runId"], first["depth"]) == ("k", 1)
    final = await client.event("chat", state="final", runId="k")
    assert final["sessionKey"] == first["sessionKey"]
    info = await running.gateway.state.sessions.get(first["sessionKey"])
    assert info is not None
    assert info.label == "counting"
    assert len(running.provider.requests) == 1


async def test_tasks_of_tasks_have_a_limit(running: Running) -> None:
    client = await running.client(scopes=[WRITE])
    key, depths = "agent:work:main", []
    for _ in range(3):
        child = await client.ask("agents.spawn", task="go on", sessionKey=key)
        key, depth = child["sessionKey"], child["depth"]
        depths.append(depth)
        assert key.count(":subagent:") == depth

    assert depths == [1, 2, 3]
    assert key.startswith("agent:work:")
    with pytest.raises(Failed, match="3 deep already; at most 3"):
        await client.ask("agents.spawn", task="go on", sessionKey=key)


async def test_a_label_that_is_taken_starts_nothing(running: Running) -> None:
    client = await running.client()
    await client.ask("agents.spawn", task="a", label="x", idempotencyKey="1")

    for _ in range(2):  # nor is it said the second time that it was started
        with pytest.raises(Failed, match="belongs to another session"):
            await client.ask("agents.spawn", task="b", label="x", idempotencyKey="2")


# --- Skills ---------------------------------------------------------------------------


async def test_a_skill_of_the_workspace_hides_an_installed_one(
    running: Running,
) -> None:
    client = await running.client(scopes=[READ])
    folder = running.gateway.workspace("home") / "skills"
    for name, text in {
        "summarize": "---\nname: summarize\ndescription: Mine.\n---\nMy way.\n",
        "plain": "No front matter.",
        "broken": "---\n: [\n---\nstill text",
        "needy": """\
---
name: needy
metadata:
  rustyclaw: {requires: {bins: [no-such-bin, sh], env: [NO_SUCH_VARIABLE]}}
---
""",
    }.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "SKILL.md").write_text(text)
    (folder / "linked").mkdir()
    (folder / "linked" / "SKILL.md").symlink_to("/etc/passwd")

    rows = (await client.ask("skills.status", agentId="home"))["skills"]
    by_name = {row["name"]: row for row in rows}
    mine = await client.ask("skills.get", name="summarize", agentId="home")
    other = await client.ask("skills.get", name="summarize", agentId="work")

    assert {"plain", "broken", "needy", "daily-review"} <= by_name.keys()
    assert "linked" not in by_name
    assert by_name["summarize"]["bundled"] is False
    assert by_name["daily-review"]["bundled"] is True
    assert by_name["needy"]["missing"]["bins"] == ["no-such-bin"]
    assert by_name["needy"]["missing"]["env"] == ["NO_SUCH_VARIABLE"]
    assert by_name["needy"]["eligible"] is False
    assert by_name["plain"]["eligible"] is True
    assert (mine["content"], mine["description"]) == ("My way.", "Mine.")
    assert other["content"] != mine["content"]
    listed = (await client.ask("skills.list"))["skills"]
    assert {row["name"] for row in listed} == by_name.keys()
    with pytest.raises(Failed, match="there is no skill 'nothing'"):
        await client.ask("skills.get", name="nothing")


async def test_nodes_learn_of_programs(running: Running) -> None:
    folder = running.gateway.workspace("work") / "skills" / "x"
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text(
        '---\nmetadata: \'{"openclaw": {"requires": {"anyBins": ["b", "a"]}}}\'\n---\n'
    )
    node = await running.client(role="node", scopes=[])
    client = await running.client()

    assert (await node.ask("skills.bins"))["bins"] == ["a", "b"]
    with pytest.raises(Failed, match="unauthorized role: operator"):
        await client.ask("skills.bins")
    for method, params in [
        ("skills.install", {"name": "x", "installId": "brew"}),
        ("skills.update", {"skillKey": "x", "enabled": False}),
    ]:
        with pytest.raises(Failed) as failed:
            await client.ask(method, **params)
        assert failed.value.code == "UNAVAILABLE"
