"""What is started for a command: a shell as it is, or one in a sandbox."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rustyclaw import ToolContext, ToolError

from rustyclaw_exec.config import ExecConfig

SHELL = "/bin/sh"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A command that was judged, and the places that it was judged by.

    :param environment: All variables that the command sees.
    """

    command: str
    folder: Path
    workspace: Path
    state: Path
    home: Path
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A process to start.

    :param environment: Of the process itself, which may be a client of a daemon.
    :param remove: What ends the command if the process ended before it.
    :param tied: It ends with the thread that has started it.
    """

    argv: Sequence[str]
    environment: Mapping[str, str]
    remove: Sequence[str] = ()
    tied: bool = False


def is_sandboxed(settings: ExecConfig, context: ToolContext) -> bool:
    """Return whether a command of this run goes into the sandbox.

    A run that has read untrusted content is never spared.
    """
    is_main = context.session_key == f"agent:{context.agent_id}:main"
    spared = settings.sandbox_scope == "non_main" and is_main and not context.tainted
    return settings.sandbox != "none" and not spared


def plain(job: Job) -> Launch:
    """Return the launch of a command without a sandbox."""
    return Launch(argv=(SHELL, "-c", job.command), environment=job.environment)


def program(name: str) -> str:
    """Return the path of a program that a sandbox needs.

    :raises ToolError: It is not installed, so that nothing may run.
    """
    if found := shutil.which(name):
        return found
    raise ToolError(
        f"the sandbox needs {name!r}, which is not on the PATH of the gateway; nothing "
        "was run. Install it, or change tools.exec.sandbox"
    )


def hides_state(job: Job, visible: Sequence[Path]) -> bool:
    """Return whether the gateway's state lies in something that is shown."""
    return any(job.state.is_relative_to(path) for path in visible)
