"""What stands in the audit log after real runs of a gateway."""

from __future__ import annotations

import json
import logging
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from rustyclaw import tool
from rustyclaw.testing import Bot, call
from rustyclaw_audit.config import AuditConfig
from rustyclaw_audit.log import AuditLog, verify
from rustyclaw_audit.plugin import AuditPlugin

SECRET = "sk-ant-canary-0123456789abcdef"


@tool
async def send_key(key: str) -> str:
    """Send a key somewhere."""
    return f"sent {key}"


def records(home: Path) -> list[dict[str, Any]]:
    (file,) = (home / "audit").glob("*.jsonl")
    assert file.stat().st_mode & 0o777 == 0o600
    return [json.loads(line) for line in file.read_text().splitlines()]


def talk(home: Path, plugin: AuditPlugin, **more: Any) -> Bot:
    return Bot(
        home,
        script=[[*call("send_key", key=SECRET)], f"the key is {SECRET}", "hello"],
        plugins={"hooks.audit": plugin, "tools.send_key": send_key},
        **more,
    )


async def test_it_tells_who_did_what_in_order(tmp_path: Path) -> None:
    async with talk(tmp_path, AuditPlugin()) as bot:
        await bot.say("go")
        await bot.channel.deliver("hi", sender="bob")
        await bot.reply()
    found = records(tmp_path)
    assert [r["hook"] for r in found[:6]] == [
        "gateway_start",
        "session_start",
        "before_agent_start",
        "llm_input",
        "llm_output",
        "before_tool_call",
    ]
    assert found[-1]["hook"] == "gateway_stop"
    received = next(r for r in found if r["hook"] == "message_received")
    assert (received["sender"], received["channel"]) == ("bob", "fake")
    after = next(r for r in found if r["hook"] == "after_tool_call")
    assert (after["tool"], after["is_error"]) == ("send_key", False)
    assert after["session"] == "agent:main:main"
    assert after["run"]
    assert not list(verify(tmp_path / "audit"))


@pytest.mark.parametrize("include_text", [False, True])
async def test_no_secret_is_written(tmp_path: Path, include_text: bool) -> None:
    plugin = AuditPlugin(AuditConfig(include_text=include_text))
    config = {"providers": {"other": {"api_key": SECRET}}}
    async with talk(tmp_path, plugin, config=config) as bot:
        await bot.say(f"use {SECRET}")
    text = json.dumps(records(tmp_path))
    assert SECRET not in text
    assert ("the key is" in text) is include_text


async def test_texts_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    async with talk(tmp_path, AuditPlugin()) as bot:
        await bot.say("a very private question")
    assert "private" not in json.dumps(records(tmp_path))


async def test_a_line_that_was_removed_shows(tmp_path: Path) -> None:
    async with talk(tmp_path, AuditPlugin()) as bot:
        await bot.say("go")
    (file,) = (tmp_path / "audit").glob("*.jsonl")
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:3] + lines[4:]))
    (problem,) = verify(tmp_path / "audit")
    assert problem.startswith(f"{file.name}:4: ")
    file.write_text("".join([*lines[:3], "nonsense\n", *lines[4:]]))
    assert len(list(verify(tmp_path / "audit"))) == 2


async def test_the_chain_goes_on_after_a_restart(tmp_path: Path) -> None:
    for _ in range(2):
        async with talk(tmp_path, AuditPlugin()) as bot:
            await bot.say("go")
    assert not list(verify(tmp_path / "audit"))


def test_old_files_are_removed(tmp_path: Path) -> None:
    old, new = tmp_path / "audit-2020-01-01.jsonl", tmp_path / "audit-2026-01-01.jsonl"
    for path in (old, new):
        path.write_text("{}\n")
    os.utime(old, (0, time.time() - 31 * 86_400))
    AuditLog(tmp_path).remove_old(30)
    assert (old.exists(), new.exists()) == (False, True)


@contextmanager
def full_disk() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_costs_no_answer_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rustyclaw_audit.plugin._RETRY_SECONDS", 0.01)
    plugin = AuditPlugin()
    async with talk(tmp_path, plugin) as bot:
        await bot.say("go")
        with anyio.fail_after(5):
            while plugin._buffer:
                await anyio.lowlevel.checkpoint()
        before = len(records(tmp_path))
        with full_disk(), caplog.at_level(logging.ERROR):
            plugin._record("before_reset", None)
            with anyio.fail_after(5):
                while "cannot be written" not in caplog.text:
                    await anyio.lowlevel.checkpoint()
        with anyio.fail_after(5):
            while plugin._buffer:
                await anyio.lowlevel.checkpoint()
        assert len(records(tmp_path)) == before + 1
    assert caplog.text.count("cannot be written") == 1
    assert not list(verify(tmp_path / "audit"))


async def test_what_finds_no_room_is_counted(tmp_path: Path) -> None:
    plugin = AuditPlugin(AuditConfig(buffer_records=1))
    for _ in range(3):
        plugin._record("before_reset", None)
    async with talk(tmp_path, plugin):
        pass
    assert any(r.get("dropped") for r in records(tmp_path))


def test_a_torn_line_spoils_only_itself(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    log.append([{"hook": "one"}])
    (file,) = tmp_path.glob("*.jsonl")
    with file.open("a") as stream:
        stream.write('{"hook": "to')  # as a kill in the middle of a write leaves it
    AuditLog(tmp_path).append([{"hook": "three"}])
    assert [p.partition(": ")[2] for p in verify(tmp_path)] == ["it is no audit record"]
