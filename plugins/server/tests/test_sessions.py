"""Sessions: filters, titles, settings, resets, and who is told of changes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from rustyclaw import Message
from rustyclaw.testing import FakeProvider, call, hang

from .client import READ, Client, Failed
from .conftest import serving

if TYPE_CHECKING:
    from .conftest import Running

LONG = "please explain to me in very great detail how the tides come about, and why"


async def say(client: Client, key: str, text: str, run_id: str = "") -> Any:
    """Say something and return the final event."""
    run_id = run_id or f"{key} {text}"
    sent = {"sessionKey": key, "message": text, "idempotencyKey": run_id}
    await client.ask("chat.send", **sent)
    return await client.event("chat", state="final", runId=run_id)


async def keys(client: Client, **filters: Any) -> list[str]:
    """Return the keys that a list has."""
    rows = (await client.ask("sessions.list", **filters))["sessions"]
    return [row["key"] for row in rows]


# --- Lists ----------------------------------------------------------------------------


async def test_filters(running: Running) -> None:
    client = await running.client()
    for key in ("main", "desk", "cron:job1", "cron:job1:run:u1"):
        await say(client, key, LONG)
    await client.ask("sessions.patch", key="desk", label="My desk", spawnedBy="main")

    assert await keys(client, limit=1) == ["agent:main:desk"], "the newest first"
    assert len(await keys(client)) == 3, "runs of a schedule are hidden"
    assert await keys(client, label="My desk") == ["agent:main:desk"]
    assert await keys(client, search="DESK") == ["agent:main:desk"]
    assert await keys(client, spawnedBy="main") == ["agent:main:desk"]
    assert await keys(client, agentId="nobody") == []
    assert len(await keys(client, activeMinutes=1)) == 3
    (row,) = (await client.ask("sessions.list", label="My desk"))["sessions"]
    assert "derivedTitle" not in row
    for wrong in ({"limit": 0}, {"activeMinutes": "1"}, {"bogus": True}):
        with pytest.raises(Failed, match=r"invalid sessions\.list params"):
            await client.ask("sessions.list", **wrong)


async def test_titles_and_last_messages(running: Running) -> None:
    client = await running.client()
    await say(client, "main", f"{LONG}\n\nand quickly")
    wanted = {"includeDerivedTitles": True, "includeLastMessage": True}

    (row,) = (await client.ask("sessions.list", **wanted))["sessions"]

    assert row["derivedTitle"] == f"{LONG[:57]}..."
    assert row["lastMessagePreview"] == f"{LONG} and quickly"
    await say(client, "main", "more")
    (row,) = (await client.ask("sessions.list", **wanted))["sessions"]
    assert row["lastMessagePreview"] == "more"


async def test_a_damaged_transcript_hides_no_other(
    running: Running, tmp_path: Path
) -> None:
    client = await running.client()
    await say(client, "main", "one")
    await say(client, "desk", "two")
    info = await running.gateway.state.sessions.get("desk")
    assert info is not None
    path = running.gateway.state.sessions.path_of(info)
    path.unlink()
    path.mkdir()

    rows = await client.ask("sessions.list", includeDerivedTitles=True)
    previews = await client.ask("sessions.preview", keys=["desk", "main", "a/b"])

    assert [row.get("derivedTitle") for row in rows["sessions"]] == [None, "one"]
    assert [p["status"] for p in previews["previews"]] == ["error", "ok", "missing"]


class TestPreview:
    @pytest.fixture
    def fake_provider(self) -> FakeProvider:
        return FakeProvider(script=[["Looking.", *call("nothing")], "Done at last."])

    async def test_tools_are_called_so(self, running: Running) -> None:
        client = await running.client()
        await say(client, "main", "go")

        (preview,) = (await client.ask("sessions.preview", keys=["main"]))["previews"]
        (short,) = (
            await client.ask("sessions.preview", keys=["main"], limit=1, maxChars=20)
        )["previews"]

        assert [item["role"] for item in preview["items"]] == [
            *("user", "tool", "tool", "assistant")
        ]
        assert preview["items"][1]["text"] == "Looking."
        assert short["items"] == [{"role": "assistant", "text": "Done at last."}]
        with pytest.raises(Failed, match="keys"):
            await client.ask("sessions.preview", keys=["k"] * 65)


async def test_pages(running: Running) -> None:
    client = await running.client()
    for number in range(6):
        await say(client, "main", f"say {number}")

    texts: list[str] = []
    before = None
    for _ in range(4):
        page = {"key": "main", "limit": 5}
        answer = await client.ask(
            "sessions.get", **page | ({} if before is None else {"before": before})
        )
        texts = [m["content"][0]["text"] for m in answer["messages"]] + texts
        before = answer.get("before")
        if before is None:
            break

    assert texts == [f"say {number}" for number in range(6) for _ in (0, 1)]
    assert answer["total"] == 12
    with pytest.raises(Failed, match="No session found: nope"):
        await client.ask("sessions.get", key="nope")


async def test_resolve(running: Running) -> None:
    client = await running.client()
    await say(client, "desk", "hi")
    patched = await client.ask("sessions.patch", key="desk", label="L")
    wanted = {"ok": True, "key": "agent:main:desk"}

    for asked in (
        {"key": "Desk"},
        {"key": "agent:main:desk"},
        {"label": "L"},
        {"sessionId": patched["entry"]["sessionId"]},
    ):
        assert await client.ask("sessions.resolve", **asked) == wanted
    for wrong in ({"label": "M"}, {"key": "desk", "spawnedBy": "x"}):
        with pytest.raises(Failed, match="No session found"):
            await client.ask("sessions.resolve", **wrong)
    for wrong in ({}, {"key": "desk", "label": "L"}):
        with pytest.raises(Failed, match="exactly one"):
            await client.ask("sessions.resolve", **wrong)


# --- Settings -------------------------------------------------------------------------


async def test_settings_stay_and_are_cleared(
    tmp_path: Path, anyio_backend: Any
) -> None:
    chosen = {
        "label": "Desk",
        "thinkingLevel": "low",
        "verboseLevel": "full",
        "reasoningLevel": "stream",
        "responseUsage": "tokens",
        "model": "fake/other",
    }
    async with serving(tmp_path) as running:
        client = await running.client()
        patched = await client.ask("sessions.patch", key="main", **chosen)
        assert patched["resolved"] == {"modelProvider": "fake", "model": "other"}
        assert patched["key"] == "agent:main:main"
        assert patched["path"].endswith("state.db")
    async with serving(tmp_path) as running:
        client = await running.client()
        (row,) = (await client.ask("sessions.list"))["sessions"]
        assert {name: row[name] for name in chosen} == {**chosen, "model": "other"}
        assert running.server.runs.verbose_of == {"agent:main:main": "full"}
        history = await client.ask("chat.history", sessionKey="main")
        assert history["thinkingLevel"] == "low"
        assert history["verboseLevel"] == "full"

        reset = await client.ask("sessions.reset", key="main")
        assert reset["entry"]["verboseLevel"] == "full"
        assert reset["entry"]["label"] == "Desk"
        await client.ask("sessions.patch", key="main", **dict.fromkeys(chosen))
        (row,) = (await client.ask("sessions.list"))["sessions"]
        assert not {*chosen} - {"model"} & row.keys()
        assert row["model"] == "fake"
        assert not running.server.runs.verbose_of


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"thinkingLevel": "deep"}, 'invalid thinkingLevel (use "off"|"minimal"|"low"'),
        ({"verboseLevel": "loud"}, 'invalid verboseLevel (use "off"|"on"|"full")'),
        ({"reasoningLevel": "1"}, 'invalid reasoningLevel (use "off"|"on"|"stream")'),
        ({"label": "x" * 65}, "label"),
        ({"label": ""}, "label"),
        ({"model": "nobody/knows"}, "model 'nobody/knows' cannot be used"),
        ({"execSecurity": "deny"}, "execSecurity 'deny' is not kept per session"),
        ({"execHost": "sandbox"}, "execHost 'sandbox' is not kept per session"),
        ({"sendPolicy": "deny"}, "sendPolicy 'deny' is not kept per session"),
        ({"elevatedLevel": "full"}, "elevatedLevel 'full' is not kept per session"),
        ({"bogus": 1}, "unexpected property 'bogus'"),
        ({"key": "agent:nobody:main"}, "there is no agent 'nobody'"),
        ({"key": "a/b"}, "is not a session key"),
    ],
)
async def test_wrong_settings(
    running: Running, change: dict[str, Any], problem: str
) -> None:
    client = await running.client()

    with pytest.raises(Failed) as failed:
        await client.ask("sessions.patch", **{"key": "main", **change})

    assert problem in failed.value.message
    assert await keys(client) == [], "nothing was made"


async def test_what_is_so_anyway_can_be_set(running: Running) -> None:
    client = await running.client()

    fixed = {"elevatedLevel": "off", "execHost": "gateway", "sendPolicy": "allow"}
    patched = await client.ask("sessions.patch", key="main", execAsk=None, **fixed)

    assert not fixed.keys() & patched["entry"].keys()


async def test_labels_are_unique(running: Running) -> None:
    client = await running.client()
    await client.ask("sessions.patch", key="a", label="L")

    with pytest.raises(Failed, match="belongs to another session"):
        await client.ask("sessions.patch", key="b", label="L")


# --- Resets ---------------------------------------------------------------------------


class TestBusy:
    @pytest.fixture
    def fake_provider(self) -> FakeProvider:
        return FakeProvider(script=[hang(after=1), "next"])

    @pytest.mark.parametrize("method", ["sessions.reset", "sessions.delete"])
    async def test_a_run_is_aborted_first(self, running: Running, method: str) -> None:
        client = await running.client()
        sent = {"sessionKey": "desk", "message": "talk", "idempotencyKey": "r1"}
        await client.ask("chat.send", **sent)
        await client.event("chat", state="delta")
        queued = {**sent, "idempotencyKey": "r2"}
        await client.ask("chat.send", **queued)

        answer = await client.ask(method, key="desk")

        aborted = [
            f["payload"]["runId"]
            for f in client.events("chat")
            if f["payload"]["state"] == "aborted"
        ]
        assert aborted[0] == "r1"
        assert len(aborted) == 2, "what waited as well"
        assert answer["ok"]
        assert not running.gateway.active_runs()
        assert len(running.provider.requests) == 1
        assert await keys(client) == (
            ["agent:main:desk"] if method == "sessions.reset" else []
        )


async def test_reset_keeps_the_key_and_nothing_that_was_said(running: Running) -> None:
    client = await running.client()
    await say(client, "main", "remember")
    (before,) = (await client.ask("sessions.list"))["sessions"]

    answer = await client.ask("sessions.reset", key="main", reason="new")

    assert answer["key"] == "agent:main:main"
    assert answer["entry"]["sessionId"] != before["sessionId"]
    assert (await client.ask("chat.history", sessionKey="main"))["messages"] == []


async def test_delete(running: Running) -> None:
    client = await running.client()
    await say(client, "desk", "hi")
    await client.ask("sessions.patch", key="desk", verboseLevel="on")

    deleted = await client.ask("sessions.delete", key="desk")

    assert deleted["deleted"]
    (archived,) = deleted["archived"]
    assert await anyio.Path(archived).is_file()
    assert not running.server.settings.get("agent:main:desk")
    again = await client.ask("sessions.delete", key="desk")
    assert (again["deleted"], again["archived"]) == (False, [])
    with pytest.raises(Failed, match="Cannot delete the main session"):
        await client.ask("sessions.delete", key="agent:main:main")


class TestCompact:
    @pytest.fixture
    def config(self) -> dict[str, Any]:
        return {"session": {"compact_keep_recent": 1}}

    @pytest.fixture
    def fake_provider(self) -> FakeProvider:
        return FakeProvider(script=["one", "two", "three", "the gist of it"])

    async def test_by_a_summary(self, running: Running) -> None:
        client = await running.client()
        assert (await client.ask("sessions.compact", key="main"))["reason"]
        for text in ("a", "b", "c"):
            await say(client, "main", text)

        answer = await client.ask("sessions.compact", key="main", instructions="names")

        assert answer["compacted"]
        assert "names" in running.provider.requests[-1].system
        first = (await client.ask("sessions.get", key="main"))["messages"]
        assert any("the gist of it" in str(message) for message in first)

    async def test_to_some_lines(self, running: Running) -> None:
        client = await running.client()
        for text in ("a", "b", "c"):
            await say(client, "main", text)

        answer = await client.ask("sessions.compact", key="main", maxLines=2)
        again = await client.ask("sessions.compact", key="main", maxLines=400)

        assert (answer["compacted"], answer["kept"]) == (True, 2)
        assert (again["compacted"], again["reason"]) == (False, "nothing to shorten")
        assert again["kept"] == 2
        assert len(running.provider.requests) == 3, "no model was asked"

    async def test_what_is_kept_is_counted_from_the_last_time(
        self, running: Running
    ) -> None:
        client = await running.client()
        for text in ("a", "b", "c"):
            await say(client, "main", text)
        await client.ask("sessions.compact", key="main", maxLines=4)
        await say(client, "main", "d")

        answer = await client.ask("sessions.compact", key="main", maxLines=2)

        assert (answer["compacted"], answer["kept"]) == (True, 2)


# --- Who is told ----------------------------------------------------------------------


async def test_readers_are_told_of_changes(running: Running) -> None:
    client, reader = await running.client(), await running.client(scopes=[READ])
    powerless = await running.client(scopes=[])
    assert await reader.ask("sessions.subscribe") == {"subscribed": True}
    assert await reader.ask("sessions.unsubscribe") == {"subscribed": False}

    async def reason() -> str:
        changed = await reader.event("sessions.changed", sessionKey="agent:main:desk")
        return str(changed["reason"])

    await say(client, "desk", "hi")
    assert await reason() == "run"
    await client.ask("sessions.patch", key="desk", label="L")
    assert await reason() == "patch"
    await client.ask("sessions.reset", key="desk")
    assert await reason() == "reset"
    await running.gateway.command("/new", "desk")  # by whomever
    assert await reason() == "reset"
    await running.gateway.inject("desk", Message.user("hi"))
    await client.ask("sessions.delete", key="desk")
    assert await reason() == "delete"
    await powerless.settled()
    assert not powerless.events("sessions.changed")
    assert not powerless.events("chat")
