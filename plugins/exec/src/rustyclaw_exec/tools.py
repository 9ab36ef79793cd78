"""The tool ``exec``."""

from __future__ import annotations

import json
import os
from pathlib import Path

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field
from rustyclaw import Ask, Tool, ToolContext, ToolError, ToolResult, Veto

from rustyclaw_exec.bubblewrap import bubblewrap
from rustyclaw_exec.config import ExecConfig
from rustyclaw_exec.docker import docker
from rustyclaw_exec.drift import digests
from rustyclaw_exec.environment import child_environment
from rustyclaw_exec.launch import Job, Launch, is_sandboxed, plain
from rustyclaw_exec.output import shares
from rustyclaw_exec.paths import Places
from rustyclaw_exec.policy import MAX_CHARACTERS, Policy
from rustyclaw_exec.process import Finished, Limits, run_launch
from rustyclaw_exec.verdict import Verdict


class ExecTool(Tool):
    """Run a shell command in the workspace and return its output.

    It runs with /bin/sh, without input and with a clean environment. Commands that
    could do harm are refused or wait for an operator; say what you need it for.
    """

    name = "exec"
    effects = frozenset({"exec"})
    timeout_seconds = 660.0  # more than any call may ask for, see `ExecConfig`
    Config = ExecConfig

    class Params(BaseModel):
        """A command and where and how long to run it."""

        model_config = ConfigDict(extra="forbid")

        command: str = Field(
            min_length=1, max_length=MAX_CHARACTERS, description="for /bin/sh -c"
        )
        timeout_seconds: float = Field(
            30, gt=0, description="the command is killed after this time"
        )
        workdir: str = Field(
            "", max_length=4096, description="folder below the workspace to run in"
        )

    def __init__(self, config: ExecConfig | None = None) -> None:
        self._settings = settings = config or ExecConfig()
        super().__init__(settings)
        self._policy = Policy(settings.mode, settings.allow, settings.trusted_dirs)

    async def check(self, params: Params, context: ToolContext) -> None:
        """Judge the command; see `Policy`.

        :raises Veto: The command is forbidden.
        :raises Ask: An operator must decide.
        :raises ToolError: The folder to run in is not in the workspace.
        """
        verdict = await anyio.to_thread.run_sync(self._judge, params, context)
        reason = f"{verdict.reason} [{verdict.rule}]"
        if verdict.decision == "deny":
            raise Veto(reason)
        if verdict.decision == "ask":
            key = await anyio.to_thread.run_sync(self._key, params, context)
            raise Ask(reason, key=key)

    def _judge(self, params: Params, context: ToolContext) -> Verdict:
        folder = _folder(params.workdir, context)
        return self._policy.judge(params.command, _places(context), str(folder))

    def _key(self, params: Params, context: ToolContext) -> str:
        """Return what "always" means: this text, here, with these files."""
        folder = _folder(params.workdir, context)
        sandboxed = is_sandboxed(self._settings, context)
        facts = {
            "command": params.command,
            "cwd": str(folder),
            "files": digests(params.command, folder, context.workspace.resolve()),
            "sandbox": self._settings.sandbox if sandboxed else "none",
        }
        return f"{context.agent_id} {self.name} {json.dumps(facts)}"

    def _launch(self, params: Params, folder: Path, context: ToolContext) -> Launch:
        """Return what to start.

        :raises ToolError: The sandbox is not to be had.
        """
        settings, places = self._settings, _places(context)
        job = Job(
            command=params.command,
            folder=folder,
            workspace=Path(places.workspace),
            state=Path(places.state),
            home=Path(places.home),
            environment=child_environment(
                os.environ, folders=settings.trusted_dirs, allow=settings.env_allow
            ),
        )
        if not is_sandboxed(settings, context):
            return plain(job)
        return {"bubblewrap": bubblewrap, "docker": docker}[settings.sandbox](
            job, settings
        )

    async def run(self, params: Params, context: ToolContext) -> ToolResult:
        """Run the command.

        :raises ToolError: It could not be started, or not in its sandbox.
        """
        settings = self._settings
        folder = await anyio.to_thread.run_sync(_folder, params.workdir, context)
        if "\0" in params.command:
            raise ToolError("a command cannot hold a NUL character; remove it")
        limits = Limits(
            timeout_seconds=min(params.timeout_seconds, settings.max_timeout_seconds),
            grace_seconds=settings.kill_grace_seconds,
            output_bytes=settings.max_output_bytes,
            flood_bytes=settings.max_flood_bytes,
        )
        launch = await anyio.to_thread.run_sync(self._launch, params, folder, context)
        try:
            finished = await run_launch(launch, folder=folder, limits=limits)
        except OSError as exc:
            raise ToolError(f"the command could not be started: {exc}") from None
        return _result(finished, limits)


def _places(context: ToolContext) -> Places:
    return Places(
        home=str(Path.home()),
        workspace=str(context.workspace.resolve()),
        state=str(context.home.resolve()),
    )


def _folder(workdir: str, context: ToolContext) -> Path:
    """Return the folder to run in.

    :raises ToolError: It is no folder in the workspace.
    """
    workspace = context.workspace.resolve()
    try:
        folder = (workspace / workdir).resolve()
        found = folder.is_relative_to(workspace) and folder.is_dir()
    except (OSError, ValueError):  # a loop of links, a NUL
        found = False
    if not found:
        raise ToolError(
            f"{workdir!r} is no folder in the workspace; give a relative path to one"
        )
    return folder


def _result(finished: Finished, limits: Limits) -> ToolResult:
    """Return what the model reads: output, errors, and how it ended."""
    sizes = finished.stdout.total, finished.stderr.total
    for_out, for_err = shares(limits.output_bytes, *sizes)
    parts = [finished.stdout.text(for_out).rstrip("\n")]
    if finished.stderr.total:
        parts += ["[stderr]", finished.stderr.text(for_err).rstrip("\n")]
    parts.append(f"[{_status(finished, limits)}]")
    return ToolResult(
        text="\n".join(part for part in parts if part),
        is_error=finished.ending != "exited" or finished.exit_code != 0,
        details={
            "exit_code": finished.exit_code,
            "ending": finished.ending,
            "seconds": round(finished.seconds, 3),
            "truncated": sum(sizes) > limits.output_bytes,
        },
    )


def _status(finished: Finished, limits: Limits) -> str:
    if finished.ending == "timeout":
        return f"killed: it ran longer than {limits.timeout_seconds:g} s"
    if finished.ending == "flood":
        return f"killed: it printed more than {limits.flood_bytes} bytes"
    code = finished.exit_code
    if code is not None and code < 0:
        return f"killed by signal {-code}"
    return f"exit status {code}"
