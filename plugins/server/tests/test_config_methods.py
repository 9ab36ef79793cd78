"""``config.*``: who may, what is refused, what changes, and who is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rustyclaw import load_config
from rustyclaw.testing import FakeChannel

from .client import ADMIN, READ, WRITE, Failed
from .conftest import TOKEN, Running, serving

COMMENT = "# what I wrote myself\n"


@pytest.fixture
def config() -> Mapping[str, Any]:
    return {
        "agents": {"list": [{"id": "main", "name": "One"}, {"id": "two"}]},
        "channels": {"fake": {"dm_policy": "open"}},
    }


@pytest.fixture
def path(running: Running) -> Path:
    path = running.gateway.config.path
    path.write_text(COMMENT + path.read_text())
    return path


async def test_a_reader_sees_no_secret(running: Running, path: Path) -> None:
    reader = await running.client(scopes=[READ])

    file = await reader.ask("config.get")

    assert TOKEN not in json.dumps(file)
    assert file["parsed"]["hooks"]["server"]["auth"]["token"] != TOKEN
    assert file["config"]["agents"]["defaults"]["max_tokens"] == 4096
    assert file["valid"] is True
    for method, params in [
        ("config.set", {"raw": "{}"}),
        ("config.patch", {"raw": "{}"}),
        ("config.apply", {"raw": "{}"}),
        ("config.schema", {}),
    ]:
        writer = await running.client(scopes=[READ, WRITE])
        with pytest.raises(Failed, match=f"missing scope: {ADMIN}"):
            await writer.ask(method, **params)


async def test_the_whole_file_is_written_as_it_was_shown(
    running: Running, path: Path
) -> None:
    client = await running.client()
    before, file = path.read_text(), await client.ask("config.get")

    answer = await client.ask(
        "config.set",
        raw=file["raw"].replace("name: One", "name: Uno  # new"),
        baseHash=file["hash"],
    )

    assert path.read_text() == before.replace("name: One", "name: Uno  # new").replace(
        f"token: {TOKEN}", f'token: "{TOKEN}"'
    )
    assert answer["ok"] is True
    assert answer["config"]["agents"]["list"][0]["name"] == "Uno"
    assert TOKEN not in json.dumps(answer)
    told = await client.event("config.changed")
    assert told["changed"] == ["agents"]
    assert TOKEN not in json.dumps(told)


@pytest.mark.parametrize(
    ("base", "message"),
    [
        (None, "config base hash required; re-run config.get and retry"),
        ("0" * 64, "config changed since last load; re-run config.get and retry"),
    ],
)
@pytest.mark.parametrize("method", ["config.set", "config.apply", "config.patch"])
async def test_a_change_must_know_what_it_changes(
    running: Running, path: Path, method: str, base: str | None, message: str
) -> None:
    client, before = await running.client(), path.read_text()
    known = {"baseHash": base} if base else {}

    with pytest.raises(Failed) as failed:
        await client.ask(method, raw="{}", **known)

    assert (failed.value.code, failed.value.message) == ("INVALID_REQUEST", message)
    assert path.read_text() == before
    assert not running.gateway.draining


@pytest.mark.parametrize(
    ("raw", "issue"),
    [
        ("agents: {defaults: {max_tokens: -1}}", "agents.defaults.max_tokens"),
        ("agents: {list: [{name: x}]}", "agents.list.0.id"),
        ("hooks: {server: {port: seven}}", "hooks.server.port"),
        ("channels: {fake: {no_such_key: 1}}", "channels.fake.no_such_key"),
        ('{"hooks": {"server": {"limits": 7}}}', "hooks.server.limits"),
    ],
)
async def test_what_is_invalid_never_lands(
    running: Running, path: Path, raw: str, issue: str
) -> None:
    client, before = await running.client(), path.read_text()
    base = (await client.ask("config.get"))["hash"]

    for method in ("config.set", "config.apply"):
        with pytest.raises(Failed, match="invalid config") as failed:
            await client.ask(method, raw=raw, baseHash=base)
        assert [row["path"] for row in failed.value.details["issues"]] == [issue]
    assert path.read_text() == before


@pytest.mark.parametrize("raw", ["a: [", "- x", "[1]", "'", "\t:", "{}}"])
async def test_what_is_no_config_is_refused(
    running: Running, path: Path, raw: str
) -> None:
    client, before = await running.client(), path.read_text()
    base = (await client.ask("config.get"))["hash"]

    with pytest.raises(Failed, match="invalid config"):
        await client.ask("config.set", raw=raw, baseHash=base)

    assert path.read_text() == before


async def test_a_patch_keeps_comments_and_restarts(
    running: Running, path: Path, tmp_path: Path
) -> None:
    client = await running.client()
    before = path.read_text()
    base = (await client.ask("config.get"))["hash"]
    patch = {
        "agents": {
            "list": [{"id": "two", "name": "Two"}],
            "defaults": {"thinking": "low"},
        },
        "channels": {"fake": {"dm_policy": None}},
        "hooks": {"server": {"auth": {"token": "__OPENCLAW_REDACTED__"}}},
    }

    answer = await client.ask(
        "config.patch",
        raw=json.dumps(patch),
        baseHash=base,
        sessionKey="main",
        note="I am back",
        restartDelayMs=0,
    )

    assert path.read_text().startswith(COMMENT)
    config = load_config(path, env={})
    assert [agent.name for agent in config.agents.list] == ["One", "Two"]
    assert config.agents.defaults.thinking == "low"
    assert config.channels == {"fake": {}}
    assert TOKEN in path.read_text()
    assert before.count("\n") - 2 < path.read_text().count("\n")
    restart, sentinel = answer["restart"], answer["sentinel"]
    assert (restart["ok"], restart["delayMs"]) == (True, 0)
    assert restart["reason"] == "config.patch"
    assert sentinel["payload"]["kind"] == "config-patch"
    assert sentinel["payload"]["message"] == "I am back"
    assert (
        json.loads(Path(sentinel["path"]).read_text())["payload"] == sentinel["payload"]
    )
    assert await running.gateway.stop_requested() == "restart"


async def test_after_the_restart_the_session_hears_of_it(
    tmp_path: Path, anyio_backend: Any
) -> None:
    home = tmp_path / "home"
    async with serving(home) as running:
        await running.channel.deliver("hi")
        await running.channel.next_sent()
        key = (await running.gateway.state.sessions.list())[0].key
        client = await running.client()
        await client.ask("gateway.restart", sessionKey=key, note="back", delayMs=0)
        assert await running.gateway.stop_requested() == "restart"

    async with serving(home) as running:
        assert (await running.channel.next_sent()).text == "back"
        await running.channel.deliver("again", message_id="later")
        answer = (await running.channel.next_sent()).text
        assert "gateway-restart: back" in answer  # the fake model repeats its prompt
        assert not (home / "restart-sentinel.json").exists()


async def test_json_changes_a_yaml_file_value_by_value(
    running: Running, path: Path
) -> None:
    client = await running.client()
    file = await client.ask("config.get")
    parsed = file["parsed"]
    parsed["agents"]["list"] = [parsed["agents"]["list"][1], {"id": "three"}]
    parsed["session"] = {"identity_links": {"ann.b": ["x:1"]}}

    await client.ask("config.set", raw=json.dumps(parsed), baseHash=file["hash"])

    assert path.read_text().startswith(COMMENT)
    config = load_config(path, env={})
    assert config.agent_ids == ("two", "three")
    assert config.session.identity_links == {"ann.b": ("x:1",)}
    assert config.hooks["server"]["auth"]["token"] == TOKEN


async def test_only_one_of_two_changes_at_once_lands(
    running: Running, path: Path
) -> None:
    client = await running.client()
    file = await client.ask("config.get")
    sent = [
        await client.request(
            "config.set",
            {"raw": file["raw"].replace("One", name), "baseHash": file["hash"]},
        )
        for name in ("Ann", "Bob")
    ]

    frames = [await one.frame() for one in sent]

    assert sorted(frame["ok"] for frame in frames) == [False, True]
    assert load_config(path, env={}).agents.list[0].name in ("Ann", "Bob")


async def test_a_file_that_is_not_there_needs_no_hash(
    running: Running, path: Path
) -> None:
    client = await running.client()
    path.unlink()

    await client.ask("config.set", raw="agents: {defaults: {model: fake/fake}}\n")

    assert load_config(path, env={}).agents.defaults.model == "fake/fake"


async def test_a_broken_file_is_shown_with_its_problem(
    running: Running, path: Path
) -> None:
    client = await running.client()
    path.write_text(f"hooks: {{server: {{auth: {{token: {TOKEN}")

    file = await client.ask("config.get")

    assert (file["valid"], file["raw"], file["parsed"]) == (False, None, {})
    assert file["issues"]
    assert TOKEN not in json.dumps(file)
    with pytest.raises(Failed, match="fix before patching"):
        await client.ask("config.patch", raw="{}", baseHash=file["hash"])
    await client.ask("config.set", raw="session: {}\n", baseHash=file["hash"])
    assert (await client.ask("config.get"))["valid"] is True


# --- The schema -----------------------------------------------------------------------


@pytest.fixture
def plugins() -> Mapping[str, object]:
    return {"channels.other": FakeChannel}


async def test_the_schema_has_the_sections_of_plugins(running: Running) -> None:
    client = await running.client()

    answer = await client.ask("config.schema")

    text = json.dumps(answer["schema"])
    assert "$ref" not in text
    assert "$defs" not in text
    sections = answer["schema"]["properties"]
    assert "port" in sections["hooks"]["properties"]["server"]["properties"]
    assert "dm_policy" in sections["channels"]["properties"]["other"]["properties"]
    hints = answer["uiHints"]
    assert hints["agents"]["order"] == 10
    assert hints["hooks.server.auth.token"]["sensitive"] is True
    assert hints["agents.defaults.max_tokens"]["help"]


async def test_a_setting_can_be_looked_up(running: Running) -> None:
    client = await running.client(scopes=[READ])

    whole = await client.ask("config.schema.lookup", path=".")
    agents = await client.ask("config.schema.lookup", path="agents.list[0]")
    token = await client.ask("config.schema.lookup", path="hooks.server.auth.token")

    assert {"agents", "hooks"} <= {row["key"] for row in whole["children"]}
    rows = {row["key"]: row for row in agents["children"]}
    assert rows["id"]["required"] is True
    assert rows["identity"]["hasChildren"] is True
    assert rows["name"]["path"] == "agents.list.0.name"
    assert token["hint"]["sensitive"] is True
    assert token["children"] == []
    for path in ("nobody", "agents.defaults.model.x"):
        with pytest.raises(Failed, match="config schema path not found"):
            await client.ask("config.schema.lookup", path=path)
