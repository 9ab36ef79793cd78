"""Real processes: what a command sees, and that none outlives its call."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from rustyclaw import Ask, ToolContext, ToolError, ToolResult, Veto
from rustyclaw_exec.config import ExecConfig
from rustyclaw_exec.output import HeadTail, clean, shares
from rustyclaw_exec.tools import ExecTool


async def run(
    context: ToolContext, command: str, config: ExecConfig | None = None, **more: Any
) -> ToolResult:
    tool = ExecTool(config)
    return await tool.run(tool.Params(command=command, **more), context)


def is_alive(pid: int) -> bool:
    """Return whether a process still runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


async def eventually(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not condition():
            await anyio.sleep(0.01)


def pids(context: ToolContext) -> list[int]:
    path = context.workspace / "pids"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


# --- What comes back -------------------------------------------------------------


async def test_output_errors_and_status(tool_context: ToolContext) -> None:
    result = await run(tool_context, "echo out; echo err >&2; exit 3")
    assert result.text == "out\n[stderr]\nerr\n[exit status 3]"
    assert result.is_error
    assert result.details["exit_code"] == 3
    assert result.details["truncated"] is False


async def test_success_is_no_error(tool_context: ToolContext) -> None:
    result = await run(tool_context, "true")
    assert (result.text, result.is_error) == ("[exit status 0]", False)


async def test_a_signal_is_told(tool_context: ToolContext) -> None:
    result = await run(tool_context, "kill -9 $$")
    assert result.text == "[killed by signal 9]"
    assert result.is_error


async def test_it_runs_in_the_workspace(tool_context: ToolContext) -> None:
    (tool_context.workspace / "sub").mkdir()
    result = await run(tool_context, "pwd; ls")
    assert result.text.startswith(f"{tool_context.workspace.resolve()}\nsub\n")
    result = await run(tool_context, "pwd", workdir="sub")
    assert result.text.startswith(f"{tool_context.workspace.resolve()}/sub\n")


@pytest.mark.parametrize("workdir", ["..", "/", "missing", "file", "link", "a\0b"])
async def test_it_runs_nowhere_else(tool_context: ToolContext, workdir: str) -> None:
    (tool_context.workspace / "file").touch()
    (tool_context.workspace / "link").symlink_to("/")
    with pytest.raises(ToolError, match="no folder in the workspace"):
        await run(tool_context, "pwd", workdir=workdir)


async def test_the_environment_is_built_from_a_list(
    tool_context: ToolContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MY_API_KEY", "LD_AUDIT", "PYTHONPATH", "BASH_ENV", "ENV", "OTHER"):
        monkeypatch.setenv(name, "/canary")
    monkeypatch.setenv("LC_TIME", "C")
    monkeypatch.setenv("WANTED", "yes")
    result = await run(tool_context, "env", ExecConfig(env_allow=("WANTED",)))
    found = dict(line.partition("=")[::2] for line in result.text.splitlines()[:-1])
    assert "/canary" not in result.text
    assert found["PATH"] == "/usr/local/bin:/usr/bin:/bin"
    assert (found["TERM"], found["LC_TIME"], found["WANTED"]) == ("dumb", "C", "yes")
    known = {"HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "PATH"}
    known |= {"TERM", "WANTED", "PWD", "OLDPWD", "SHLVL", "_"}
    assert {n for n in found if not n.startswith("LC_")} <= known


async def test_there_is_no_input(tool_context: ToolContext) -> None:
    result = await run(tool_context, "cat; read x || echo none", timeout_seconds=10)
    assert result.text == "none\n[exit status 0]"


async def test_a_nul_cannot_be_run(tool_context: ToolContext) -> None:
    with pytest.raises(ToolError, match="NUL"):
        await run(tool_context, "echo a\0b")


async def test_a_workspace_that_is_gone(tool_context: ToolContext) -> None:
    tool_context.workspace.rmdir()
    with pytest.raises(ToolError, match="no folder"):
        await run(tool_context, "pwd")


# --- Too much output -------------------------------------------------------------


async def test_a_flood_is_cut_and_its_ends_are_kept(tool_context: ToolContext) -> None:
    config = ExecConfig(max_output_bytes=2048)
    result = await run(
        tool_context, "echo head; yes x | head -c 300000; echo tail", config
    )
    assert result.text.startswith("head\n")
    assert result.text.endswith("tail\n[exit status 0]")
    assert "bytes left out" in result.text
    assert len(result.text) < 2200
    assert result.details["truncated"] is True


async def test_neither_stream_starves_the_other(tool_context: ToolContext) -> None:
    config = ExecConfig(max_output_bytes=2048)
    result = await run(tool_context, "yes x | head -c 90000; echo problem >&2", config)
    assert "[stderr]\nproblem\n" in result.text
    assert len(result.text) < 2200


async def test_an_endless_flood_is_ended(tool_context: ToolContext) -> None:
    config = ExecConfig(max_output_bytes=2048, max_flood_bytes=200_000)
    result = await run(tool_context, "yes", config, timeout_seconds=60)
    assert result.text.endswith("[killed: it printed more than 200000 bytes]")
    assert result.is_error
    assert result.details["ending"] == "flood"


def test_memory_stays_bounded() -> None:
    kept = HeadTail(1000)
    for _ in range(10_000):
        kept.add(b"x" * 777)
    assert kept.total == 7_770_000
    assert len(kept._head) + len(kept._tail) < 4000
    assert len(kept.text(1000)) < 1100


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x1b[31mred\x1b[0m", "red"),
        (b"\x1b]0;title\x07x", "x"),
        (b"\x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"a\rb\r\nc", "a\nb\nc"),
        (b"a\x00b\x08c\x7f", "abc"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        ("\u202eabc".encode(), "abc"),
        (b"\x1b", ""),
        (b"tab\tand\nline", "tab\tand\nline"),
    ],
)
def test_output_cannot_steer_a_terminal(data: bytes, text: str) -> None:
    assert clean(data) == text


@pytest.mark.parametrize(
    ("limit", "first", "second", "expected"),
    [
        (100, 10, 20, (10, 20)),
        (100, 500, 20, (80, 20)),
        (100, 20, 500, (20, 80)),
        (100, 500, 500, (50, 50)),
    ],
)
def test_shares(limit: int, first: int, second: int, expected: tuple[int, int]) -> None:
    assert shares(limit, first, second) == expected


# --- Getting rid of it -----------------------------------------------------------

FAMILY = "echo $$ >> pids; (sh -c 'echo $$ >> pids; exec sleep 300') & sleep 300"


async def test_a_timeout_ends_the_whole_family(tool_context: ToolContext) -> None:
    result = await run(tool_context, FAMILY, timeout_seconds=1)
    assert result.text.endswith("[killed: it ran longer than 1 s]")
    assert result.is_error
    assert len(pids(tool_context)) == 2
    await eventually(lambda: not any(map(is_alive, pids(tool_context))))


async def test_what_ignores_sigterm_is_killed(tool_context: ToolContext) -> None:
    command = f"trap '' TERM; {FAMILY}"
    config = ExecConfig(kill_grace_seconds=0.1)
    await run(tool_context, command, config, timeout_seconds=1)
    await eventually(lambda: not any(map(is_alive, pids(tool_context))))


async def test_cancellation_ends_the_whole_family(tool_context: ToolContext) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(run, tool_context, FAMILY)
        await eventually(lambda: len(pids(tool_context)) == 2)
        group.cancel_scope.cancel()
    await eventually(lambda: not any(map(is_alive, pids(tool_context))))


async def test_the_timeout_of_the_config_wins(tool_context: ToolContext) -> None:
    config = ExecConfig(max_timeout_seconds=0.2)
    result = await run(tool_context, "sleep 300", config, timeout_seconds=500)
    assert "longer than 0.2 s" in result.text


@pytest.mark.parametrize("ends", ["exit 0", "sleep 300"])
async def test_a_grandchild_that_left_the_group_cannot_hang_us(
    tool_context: ToolContext, ends: str
) -> None:
    command = (
        f"setsid sh -c 'echo $$ >> pids; exec sleep 300' & echo said; sleep 0.2; {ends}"
    )
    with anyio.fail_after(20):
        result = await run(tool_context, command, timeout_seconds=1)
    assert result.text.startswith("said\n")
    for pid in pids(tool_context):
        os.kill(pid, signal.SIGKILL)


async def test_a_background_job_may_stay(tool_context: ToolContext) -> None:
    command = "nohup sh -c 'echo $$ >> pids; exec sleep 300' > log 2>&1 & sleep 0.2"
    result = await run(tool_context, command)
    assert not result.is_error
    (pid,) = pids(tool_context)
    assert is_alive(pid)
    os.kill(pid, signal.SIGKILL)


async def test_no_descriptor_is_left_open(tool_context: ToolContext) -> None:
    await run(tool_context, "true")
    before = len(os.listdir("/proc/self/fd"))
    for command in ("true", "exit 1", "sleep 9"):
        await run(tool_context, command, timeout_seconds=0.2)
    assert len(os.listdir("/proc/self/fd")) <= before


# --- The judge in front ----------------------------------------------------------


async def test_harmless_commands_pass(tool_context: ToolContext) -> None:
    tool = ExecTool()
    await tool.check(tool.Params(command="ls -la && git status"), tool_context)


async def test_forbidden_commands_are_refused(tool_context: ToolContext) -> None:
    tool = ExecTool()
    with pytest.raises(Veto, match=r"destroys a root.*\[destroy.tree\]"):
        await tool.check(tool.Params(command="rm -rf /"), tool_context)


async def test_risky_commands_ask(tool_context: ToolContext) -> None:
    tool = ExecTool()
    with pytest.raises(Ask, match=r"credentials.*\[secret.read\]"):
        await tool.check(tool.Params(command="cat ~/.ssh/id_rsa"), tool_context)


async def test_the_gateway_home_is_known(tool_context: ToolContext) -> None:
    tool = ExecTool()
    command = f"echo x > {tool_context.home}/config.yaml"
    with pytest.raises(Veto, match=r"control.state"):
        await tool.check(tool.Params(command=command), tool_context)


async def test_the_folder_is_judged_as_well(tool_context: ToolContext) -> None:
    tool = ExecTool()
    (tool_context.workspace / "sub").mkdir()
    params = tool.Params(command="rm -rf ../a", workdir="sub")
    await tool.check(params, tool_context)  # still below the workspace
    with pytest.raises((Veto, Ask)):
        await tool.check(tool.Params(command="rm -rf ../a"), tool_context)
    with pytest.raises(ToolError):
        await tool.check(tool.Params(command="ls", workdir=".."), tool_context)


@pytest.mark.parametrize(("mode", "error"), [("deny", Veto), ("allowlist", Ask)])
async def test_modes(
    tool_context: ToolContext, mode: Any, error: type[Exception]
) -> None:
    tool = ExecTool(ExecConfig(mode=mode, allow=("ls",)))
    with pytest.raises(error, match=r"\[mode\."):
        await tool.check(tool.Params(command="pwd"), tool_context)
