"""What "allow always" means: this command, in this folder, with these files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rustyclaw import Approval, Ask, Decision, ToolContext
from rustyclaw.testing import Bot, call
from rustyclaw_exec.config import ExecConfig
from rustyclaw_exec.drift import digests
from rustyclaw_exec.tools import ExecTool

ALLOWLIST = ExecConfig(mode="allowlist", allow=("ls",))


async def key_of(
    context: ToolContext, command: str, config: ExecConfig = ALLOWLIST, **more: Any
) -> str:
    tool = ExecTool(config)
    with pytest.raises(Ask) as asked:
        await tool.check(tool.Params(command=command, **more), context)
    return asked.value.key


async def test_the_key_names_agent_tool_and_facts(tool_context: ToolContext) -> None:
    agent, tool, facts = (await key_of(tool_context, "make it")).split(" ", 2)
    assert (agent, tool) == ("main", "exec")
    assert json.loads(facts) == {
        "command": "make it",
        "cwd": str(tool_context.workspace.resolve()),
        "files": {},
        "sandbox": "none",
    }


async def test_how_long_it_may_take_is_no_matter(tool_context: ToolContext) -> None:
    short, long = [
        await key_of(tool_context, "make", timeout_seconds=seconds)
        for seconds in (1, 9)
    ]
    assert short == long


async def test_all_else_is_another_question(tool_context: ToolContext) -> None:
    (tool_context.workspace / "sub").mkdir()
    boxed = ALLOWLIST.model_copy(update={"sandbox": "bubblewrap"})
    keys = {
        await key_of(tool_context, "make"),
        await key_of(tool_context, "make "),
        await key_of(tool_context, "make", workdir="sub"),
        await key_of(tool_context, "make", boxed),
        await key_of(replace(tool_context, agent_id="other"), "make"),
    }
    assert len(keys) == 5


@pytest.mark.parametrize("command", ["sh run.sh", "./run.sh", "'run.sh'", "x <run.sh"])
async def test_a_file_that_changes_is_another_question(
    tool_context: ToolContext, command: str
) -> None:
    script = tool_context.workspace / "run.sh"
    script.write_text("echo harmless")
    before = digests(command, script.parent.resolve(), script.parent.resolve())
    script.write_text("rm -rf .")
    after = digests(command, script.parent.resolve(), script.parent.resolve())
    assert len(before) == len(after) == 1
    assert before != after


def test_a_large_file_that_is_written_is_another(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 2_000_000)
    before = digests("cat file", tmp_path, tmp_path)
    with file.open("r+b") as opened:
        opened.seek(1_999_999)
        opened.write(b"y")
    assert digests("cat file", tmp_path, tmp_path) != before


def test_only_files_of_the_workspace_are_read(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (tmp_path / "outside").touch()
    (workspace / "loop").symlink_to("loop")
    (workspace / "link").symlink_to(tmp_path / "outside")
    command = "cat ../outside link loop . /etc/passwd a\0b " + "x" * 5000
    assert digests(command, workspace, workspace) == {}


async def test_always_lasts_until_the_script_changes(tmp_path: Path) -> None:
    asked = []

    async def operator(approval: Approval) -> Decision:
        asked.append(approval)
        return "allow-always"

    command = call("exec", command="sh run.sh")
    config = {"agents": {"defaults": {"workspace": str(tmp_path / "work")}}}
    (tmp_path / "work").mkdir()
    script = tmp_path / "work" / "run.sh"
    script.write_text("echo one")
    tool = ExecTool(ALLOWLIST.model_copy(update={"allow": ("ls",)}))
    async with Bot(
        tmp_path / "home",
        script=[command, "ok", command, "ok", command, "ok"],
        plugins={"tools.exec": tool},
        config=config,
        approver=operator,
    ) as bot:
        for count in (1, 1, 2):
            await bot.say("run it")
            assert len(asked) == count
            if len(bot.provider.requests) == 4:
                script.write_text("echo two")
