"""The command line for Docker, and that its container never stays.

The client here is a script that records how it was called. As the real one it hands
the work to somebody else: what it starts is not ended by ending the client.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import ValidationError
from rustyclaw import ToolContext, ToolError, ToolResult
from rustyclaw_exec.config import ExecConfig
from rustyclaw_exec.tools import ExecTool

_DOCKER = """\
#!{python}
import json, os, subprocess, sys
folder, arguments = {folder!r}, sys.argv[1:]
with open(folder + "/calls", "a") as calls:
    print(json.dumps([arguments, dict(os.environ)]), file=calls)
if arguments[0] == "run":
    if os.path.exists(folder + "/broken"):
        print("docker: Cannot connect to the Docker daemon.", file=sys.stderr)
        sys.exit(125)
    name = next(a for a in arguments if a.startswith("--name="))[7:]
    image = arguments.index("img:1")
    shown = dict(a[6:].split("=", 1) for a in arguments[:image] if a[:6] == "--env=")
    workdir = next(a for a in arguments if a.startswith("--workdir="))[10:]
    command = ["-c", 'echo $$ > "$0"; exec /bin/sh "$@"', folder + "/" + name]
    container = subprocess.Popen(
        ["/bin/sh", *command, *arguments[image + 1:]],
        env=shown, cwd=workdir, start_new_session=True,
    )
    sys.exit(container.wait())
name = arguments[-1]
try:
    pid = int(open(folder + "/" + name).read())
except FileNotFoundError:
    sys.exit("Error: No such container: " + name)
if os.path.exists(folder + "/stuck"):
    sys.exit("Error: permission denied")
os.killpg(pid, 9)
"""


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which the false client keeps its containers."""
    folder = tmp_path / "daemon"
    folder.mkdir()
    client = tmp_path / "bin" / "docker"
    client.parent.mkdir()
    script = _DOCKER.format(python=sys.executable, folder=str(folder))
    client.write_text(script, "utf-8")
    client.chmod(0o700)
    monkeypatch.setenv("PATH", str(client.parent))
    return folder


def calls(daemon: Path) -> list[tuple[list[str], dict[str, str]]]:
    path = daemon / "calls"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return [(arguments, env) for arguments, env in map(json.loads, lines)]


async def run(
    context: ToolContext, command: str, timeout_seconds: float = 30, **config: Any
) -> ToolResult:
    config = {"sandbox": "docker", "sandbox_image": "img:1", **config}
    tool = ExecTool(ExecConfig(**config))
    params = tool.Params(command=command, timeout_seconds=timeout_seconds)
    return await tool.run(params, context)


def container_of(daemon: Path) -> int:
    (path,) = daemon.glob("rustyclaw-exec-*")
    return int(path.read_text() or 0)


async def is_gone(pid: int) -> bool:
    with anyio.move_on_after(10):
        while True:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return True
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            if state == "Z":  # its parent, the client, was killed before it
                return True
            await anyio.sleep(0.02)
    return False


async def test_the_whole_command_line(
    tool_context: ToolContext, daemon: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in os.environ if n.startswith("LC_") or n in ("TZ", "USER")]:
        monkeypatch.delenv(name)
    for name, value in {
        "HOME": "/home/ann",
        "LANG": "C",
        "LOGNAME": "ann",
        "DOCKER_HOST": "unix:///run/x",
        "MY_API_KEY": "canary",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("LANGUAGE", raising=False)
    workspace = tool_context.workspace.resolve()

    result = await run(tool_context, 'echo "a b"', sandbox_paths=("/opt/data",))

    assert result.text == "a b\n[exit status 0]"
    ((arguments, env),) = calls(daemon)
    name = arguments.pop(4)
    assert name.startswith("--name=rustyclaw-exec-")
    assert len(name) == len("--name=rustyclaw-exec-") + 16
    assert arguments == [
        *("run", "--rm", "--init", "--pull=never", "--label=rustyclaw.exec"),
        *("--network=none", "--read-only", "--cap-drop=ALL"),
        "--security-opt=no-new-privileges",
        f"--user={os.getuid()}:{os.getgid()}",
        *("--memory=1024m", "--memory-swap=1024m", "--pids-limit=256", "--cpus=2"),
        "--tmpfs=/tmp",
        "--mount=type=bind,source=/opt/data,target=/opt/data,readonly",
        f"--mount=type=bind,source={workspace},target={workspace}",
        "--tmpfs=/home/ann",
        f"--workdir={workspace}",
        *("--env=HOME=/home/ann", "--env=LANG=C", "--env=LOGNAME=ann"),
        "--env=PATH=/usr/local/bin:/usr/bin:/bin",
        *("--env=TERM=dumb", "--env=TMPDIR=/tmp"),
        *("--entrypoint=/bin/sh", "img:1", "-c", 'echo "a b"'),
    ]
    assert env["DOCKER_HOST"] == "unix:///run/x"
    assert "MY_API_KEY" not in env


async def test_what_can_be_set(tool_context: ToolContext, daemon: Path) -> None:
    await run(
        tool_context,
        "true",
        sandbox_workspace="ro",
        sandbox_network=True,
        sandbox_memory_mb=64,
        sandbox_pids=9,
        sandbox_cpus=0.5,
    )
    await run(tool_context, "true", sandbox_workspace="none")

    (first, _), (second, _) = calls(daemon)
    workspace = tool_context.workspace.resolve()
    mount = f"--mount=type=bind,source={workspace},target={workspace}"
    wanted = {f"{mount},readonly", "--network=bridge", "--memory=64m"}
    assert wanted | {"--pids-limit=9", "--cpus=0.5"} <= {*first}
    assert not [a for a in second if a.startswith("--mount")]
    assert f"--tmpfs={workspace}" in second


async def test_the_state_is_hidden(tool_context: ToolContext, daemon: Path) -> None:
    home = tool_context.home.resolve()
    await run(tool_context, "true", sandbox_paths=(str(home.parent),))
    assert f"--tmpfs={home}" in calls(daemon)[0][0]


# --- How it ends ------------------------------------------------------------------


@pytest.mark.parametrize("why", ["timeout", "flood"])
async def test_what_is_ended_is_removed(
    tool_context: ToolContext, daemon: Path, why: str
) -> None:
    command = "trap '' TERM; " + ("yes" if why == "flood" else "sleep 60; sleep 60")
    config = {"max_flood_bytes": 100_000} if why == "flood" else {}
    result = await run(tool_context, command, timeout_seconds=1.5, **config)

    assert result.details["ending"] == why
    (arguments, _), (removed, _) = calls(daemon)
    assert removed == ["rm", "--force", arguments[4].removeprefix("--name=")]
    assert await is_gone(container_of(daemon))


async def test_what_is_aborted_is_removed(
    tool_context: ToolContext, daemon: Path
) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(run, tool_context, "touch begun; exec sleep 60")
        with anyio.fail_after(10):
            while not (tool_context.workspace / "begun").exists() or not [
                path for path in daemon.glob("rustyclaw-*") if path.read_text()
            ]:
                await anyio.sleep(0.01)
        group.cancel_scope.cancel()

    assert await is_gone(container_of(daemon))
    assert [arguments[0] for arguments, _ in calls(daemon)] == ["run", "rm"]


async def test_what_ends_by_itself_needs_no_second_call(
    tool_context: ToolContext, daemon: Path
) -> None:
    result = await run(tool_context, "exit 3")
    assert result.details["exit_code"] == 3
    assert [arguments[0] for arguments, _ in calls(daemon)] == ["run"]


async def test_a_client_that_fails_leaves_nothing(
    tool_context: ToolContext, daemon: Path
) -> None:
    (daemon / "broken").touch()
    result = await run(tool_context, "touch ran")

    assert result.is_error
    assert "Cannot connect" in result.text
    assert [arguments[0] for arguments, _ in calls(daemon)] == ["run", "rm"]
    assert not (tool_context.workspace / "ran").exists()


async def test_a_container_that_stays_is_told(
    tool_context: ToolContext, daemon: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (daemon / "stuck").touch()
    with caplog.at_level(logging.ERROR, "rustyclaw_exec"):
        await run(tool_context, "exec sleep 60", timeout_seconds=1.5)
    os.killpg(container_of(daemon), signal.SIGKILL)

    assert "a command may still run" in caplog.text
    assert "permission denied" in caplog.text


# --- Without one ------------------------------------------------------------------


async def test_without_docker_nothing_runs(
    tool_context: ToolContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match=r"needs 'docker'.*nothing was run"):
        await run(tool_context, "touch ran")
    assert not (tool_context.workspace / "ran").exists()


async def test_a_path_that_reads_as_an_option_is_refused(
    tool_context: ToolContext, daemon: Path
) -> None:
    with pytest.raises(ToolError, match="cannot be told to mount"):
        await run(tool_context, "true", sandbox_paths=("/opt/x,readonly=false",))
    assert not calls(daemon)


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"sandbox": "docker"}, "needs a `sandbox_image`"),
        ({"sandbox_image": "--privileged"}, "pattern"),
        ({"sandbox_paths": ["data"]}, "no absolute path"),
        ({"sandbox_paths": ["/"]}, "no absolute path"),
        ({"sandbox_paths": ["/opt/../root"]}, "no absolute path"),
        ({"sandbox": "chroot"}, "bubblewrap"),
        ({"sandbox_pids": 0}, "greater"),
    ],
)
def test_a_wrong_config_is_refused(config: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        ExecConfig(**config)


# --- Which runs go there ----------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "session", "tainted", "sandboxed"),
    [
        ("all", "agent:main:main", False, True),
        ("non_main", "agent:main:main", False, False),
        ("non_main", "agent:main:main", True, True),
        ("non_main", "agent:main:telegram:dm:1", False, True),
        ("non_main", "agent:other:main", False, True),
        ("non_main", "agent:main:main:thread:1", False, True),
    ],
)
async def test_scope(
    tool_context: ToolContext,
    daemon: Path,
    scope: Any,
    session: str,
    tainted: bool,
    sandboxed: bool,
) -> None:
    context = replace(tool_context, session_key=session, tainted=tainted)
    await run(context, "true", sandbox_scope=scope)
    assert bool(calls(daemon)) is sandboxed
