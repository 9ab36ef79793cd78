"""A real sandbox: what a command sees there, and that nothing of it stays."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from rustyclaw import ToolContext, ToolError, ToolResult
from rustyclaw_exec.config import ExecConfig
from rustyclaw_exec.tools import ExecTool

_PROBE = ("--unshare-user", "--unshare-all", "--cap-drop", "ALL", "--ro-bind", "/", "/")


def _refusal() -> str:
    """Return why there is no sandbox on this machine, or nothing."""
    if shutil.which("bwrap") is None or shutil.which("prlimit") is None:
        return "bubblewrap or prlimit is not installed"
    tried = subprocess.run(["bwrap", *_PROBE, "true"], capture_output=True, text=True)
    return tried.stderr and f"no user namespaces: {tried.stderr}"


_REFUSAL = _refusal()
needs_sandbox = pytest.mark.skipif(bool(_REFUSAL), reason=_REFUSAL)


async def run(
    context: ToolContext, command: str, timeout_seconds: float = 30, **config: Any
) -> ToolResult:
    tool = ExecTool(ExecConfig(sandbox="bubblewrap", **config))
    params = tool.Params(command=command, timeout_seconds=timeout_seconds)
    return await tool.run(params, context)


async def ok(context: ToolContext, command: str, **config: Any) -> str:
    result = await run(context, command, **config)
    assert not result.is_error, result.text
    return result.text.removesuffix("[exit status 0]").strip()


# --- What it sees -----------------------------------------------------------------


@needs_sandbox
async def test_it_works_in_the_workspace_at_its_own_path(
    tool_context: ToolContext,
) -> None:
    workspace = tool_context.workspace.resolve()
    (workspace / "sub").mkdir()
    shown = await ok(tool_context, "cd sub && pwd && echo hello > file && cat file")

    assert shown == f"{workspace}/sub\nhello"
    assert (workspace / "sub/file").read_text() == "hello\n"
    assert (workspace / "sub/file").stat().st_uid == os.getuid()


@needs_sandbox
async def test_of_all_else_there_is_nothing(
    tool_context: ToolContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "person"
    home.mkdir()
    (home / "diary").write_text("secret")
    (tool_context.home / "state.db").write_text("secret")
    monkeypatch.setenv("HOME", str(home))

    shown = await ok(tool_context, f"ls -A ~ {tool_context.home} /tmp; ls /")
    folders = shown.rpartition("\n\n")[2].split("\n")[1:]

    assert "diary" not in shown
    assert "state.db" not in shown
    assert "root" not in folders
    assert "var" not in folders
    result = await run(tool_context, "cat /etc/shadow /etc/machine-id")
    assert result.text.count("No such file") == 2


@needs_sandbox
async def test_home_and_tmp_are_private_and_empty(
    tool_context: ToolContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / "person").mkdir()

    await ok(tool_context, 'touch ~/mine "$TMPDIR/mine" && test "$TMPDIR" = /tmp')

    assert not list(tmp_path.glob("**/mine"))
    assert not Path("/tmp/mine").exists()


@needs_sandbox
async def test_the_system_cannot_be_changed(tool_context: ToolContext) -> None:
    for path in ("/usr/x", "/etc/passwd", "/bin/x"):
        result = await run(tool_context, f"echo x >> {path}")
        assert "Read-only file system" in result.text, path


@needs_sandbox
@pytest.mark.parametrize(
    ("access", "command", "problem"),
    [
        ("ro", "cat file; touch new", "Read-only file system"),
        ("none", "touch new; ls -A; cat file", "No such file"),
    ],
)
async def test_the_workspace_can_be_closed(
    tool_context: ToolContext, access: Any, command: str, problem: str
) -> None:
    (tool_context.workspace / "file").write_text("content")
    result = await run(tool_context, command, sandbox_workspace=access)

    assert problem in result.text
    assert ("content" in result.text) is (access == "ro")
    assert os.listdir(tool_context.workspace) == ["file"]


@needs_sandbox
async def test_further_paths_are_shown_but_never_the_state(
    tool_context: ToolContext, tmp_path: Path
) -> None:
    (tmp_path / "book").write_text("read me")
    (tool_context.home / "state.db").write_text("secret")
    (tool_context.workspace / "mine").touch()
    result = await run(
        tool_context,
        f"cat {tmp_path}/book; touch {tmp_path}/x; ls; cat {tool_context.home}/*",
        sandbox_paths=(str(tmp_path),),
    )

    assert result.text.startswith("read me")
    assert "mine" in result.text
    assert "secret" not in result.text
    assert "Read-only" in result.text


@needs_sandbox
async def test_state_within_the_workspace_is_hidden(
    tool_context: ToolContext, tmp_path: Path
) -> None:
    (tool_context.home / "state.db").write_text("secret")
    (tmp_path / "file").write_text("mine")
    context = ToolContext(
        agent_id="main",
        session_key="agent:main:main",
        run_id="1",
        channel="",
        workspace=tmp_path,
        agent_dir=tool_context.agent_dir,
        home=tool_context.home,
    )
    assert await ok(context, "cat file; ls -A home") == "mine"


@needs_sandbox
async def test_there_is_no_network_unless_wanted(tool_context: ToolContext) -> None:
    probe = tool_context.workspace / "probe.py"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        probe.write_text(
            f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 5)\n"
        )
        python = Path(sys.executable).resolve()
        command = f"{python} probe.py"
        paths = () if python.is_relative_to("/usr") else (str(python.parents[1]),)
        refused = await run(tool_context, command, sandbox_paths=paths)
        assert "Connection refused" in refused.text
        await ok(tool_context, command, sandbox_paths=paths, sandbox_network=True)


@needs_sandbox
async def test_the_environment_is_built_from_the_list(
    tool_context: ToolContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_API_KEY", "canary")
    monkeypatch.setenv("WANTED", "yes")
    shown = await ok(tool_context, "env; cat /proc/*/environ", env_allow=("WANTED",))

    assert "WANTED=yes" in shown
    assert "canary" not in shown


@needs_sandbox
async def test_it_has_no_privileges_and_sees_no_process(
    tool_context: ToolContext,
) -> None:
    shown = await ok(tool_context, "cat /proc/self/status; ls /proc")

    assert re.search(r"^NoNewPrivs:\s*1$", shown, re.MULTILINE)
    assert re.search(r"^CapEff:\s*0+$", shown, re.MULTILINE)
    assert re.search(r"^CapBnd:\s*0+$", shown, re.MULTILINE)
    assert len(re.findall(r"^\d+$", shown, re.MULTILINE)) < 6


# --- Limits -----------------------------------------------------------------------


@needs_sandbox
async def test_memory_is_limited(tool_context: ToolContext) -> None:
    command = "head -c 200M /dev/zero | tail -c 200M | wc -c"
    assert "exhausted" in (await run(tool_context, command, sandbox_memory_mb=64)).text
    assert await ok(tool_context, command) == "209715200"


@needs_sandbox
@pytest.mark.skipif(os.getuid() == 0, reason="the kernel counts no process of root")
async def test_processes_are_limited(tool_context: ToolContext) -> None:
    command = "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait"
    assert "fork" in (await run(tool_context, command, sandbox_pids=4)).text
    await ok(tool_context, command, sandbox_pids=64)


# --- How it ends ------------------------------------------------------------------


def _alive(mark: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark in (text := path.read_bytes().decode("utf-8", "replace")):
                found.append(text)
        except OSError:
            continue
    return found


async def _gone(mark: str) -> None:
    with anyio.fail_after(10):
        while _alive(mark):
            await anyio.sleep(0.02)


@needs_sandbox
async def test_nothing_outlives_its_time(tool_context: ToolContext) -> None:
    seconds = f"7{os.getpid()}"
    command = f"trap '' TERM HUP; setsid sleep {seconds} & sleep {seconds}"
    result = await run(tool_context, command, timeout_seconds=0.5)

    assert result.details["ending"] == "timeout"
    await _gone(seconds)


@needs_sandbox
async def test_an_abort_ends_it(tool_context: ToolContext) -> None:
    seconds = f"8{os.getpid()}"
    command = f"touch begun; setsid sleep {seconds} & wait"
    async with anyio.create_task_group() as group:
        group.start_soon(run, tool_context, command)
        with anyio.fail_after(10):
            while not (tool_context.workspace / "begun").exists():
                await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    await _gone(seconds)


@needs_sandbox
async def test_what_it_left_behind_ends_with_it(tool_context: ToolContext) -> None:
    seconds = f"9{os.getpid()}"
    await ok(tool_context, f"setsid sleep {seconds} >/dev/null 2>&1 & true")
    await _gone(seconds)


@needs_sandbox
async def test_it_ends_with_no_thread_of_the_event_loop(
    tool_context: ToolContext, anyio_backend_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if anyio_backend_name == "trio":  # its threads leave sooner than in ten seconds
        import trio._core._thread_cache as cache

        monkeypatch.setattr(cache, "IDLE_TIMEOUT", 0.05)
    assert await ok(tool_context, "sleep 0.7; echo there") == "there"


# --- Without one ------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["bwrap", "prlimit"])
async def test_without_a_sandbox_nothing_runs(
    tool_context: ToolContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    missing: str,
) -> None:
    for name in {"bwrap", "prlimit"} - {missing}:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match=f"needs '{missing}'.*nothing was run"):
        await run(tool_context, "touch ran")
    assert not (tool_context.workspace / "ran").exists()


async def test_a_sandbox_that_is_refused_runs_nothing(
    tool_context: ToolContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("bwrap", "prlimit"):
        problem = "echo 'bwrap: no permissions to create a new namespace' >&2; exit 1"
        (tmp_path / name).write_text(f"#!/bin/sh\n{problem}\n")
        (tmp_path / name).chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    result = await run(tool_context, "touch ran")

    assert result.is_error
    assert "no permissions" in result.text
    assert not (tool_context.workspace / "ran").exists()
