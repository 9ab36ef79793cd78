"""Runs a command in a container of its own, by the command line of Docker.

The workspace is at its usual path, so that what was judged is what runs. The options
are those of ``docker run``; ``--pull`` needs Docker 20.10.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from secrets import token_hex

from rustyclaw import ToolError

from rustyclaw_exec.config import ExecConfig
from rustyclaw_exec.launch import SHELL, Job, Launch, hides_state, program

#: What the client needs to find its daemon; the container sees none of it.
_CLIENT = re.compile(r"DOCKER_\w+|HOME|PATH|SSH_AUTH_SOCK|XDG_RUNTIME_DIR")
_AMBIGUOUS = re.compile(r'[:,"\n\r]')


def docker(job: Job, settings: ExecConfig) -> Launch:
    """Return the launch of a command in a container, and what removes that.

    :raises ToolError: Docker is missing, or a path cannot be told to it.
    """
    client, name = program("docker"), f"rustyclaw-exec-{token_hex(8)}"
    network = "bridge" if settings.sandbox_network else "none"
    argv = [client, "run", "--rm", "--init", "--pull=never", f"--name={name}"]
    argv += ["--label=rustyclaw.exec", f"--network={network}", "--read-only"]
    argv += ["--cap-drop=ALL", "--security-opt=no-new-privileges"]
    argv += [f"--user={os.getuid()}:{os.getgid()}"]
    memory = f"{settings.sandbox_memory_mb}m"
    argv += [f"--memory={memory}", f"--memory-swap={memory}"]
    argv += [
        f"--pids-limit={settings.sandbox_pids}",
        f"--cpus={settings.sandbox_cpus:g}",
    ]
    argv += ["--tmpfs=/tmp", *_mounts(job, settings), f"--workdir={job.folder}"]
    environment = {**job.environment, "TMPDIR": "/tmp"}  # noqa: S108 - a private one
    argv += [f"--env={name}={value}" for name, value in sorted(environment.items())]
    argv += [f"--entrypoint={SHELL}", settings.sandbox_image, "-c", job.command]
    known = {name: v for name, v in os.environ.items() if _CLIENT.fullmatch(name)}
    remove = (client, "rm", "--force", name)
    return Launch(argv=argv, environment=known, remove=remove)


def _mounts(job: Job, settings: ExecConfig) -> list[str]:
    """Return the options for the workspace and what is shown besides."""
    shown = {Path(path): ",readonly" for path in settings.sandbox_paths}
    if settings.sandbox_workspace != "none":
        is_ro = settings.sandbox_workspace == "ro"
        shown[job.workspace] = ",readonly" if is_ro else ""
    empty = [] if settings.sandbox_workspace != "none" else [job.workspace]
    if job.home != Path("/") and job.home not in shown:
        empty.append(job.home)
    if hides_state(job, list(shown)):
        empty.append(job.state)
    for path in (*shown, *empty):
        if _AMBIGUOUS.search(str(path)):
            problem = f"docker cannot be told to mount {str(path)!r}; nothing was run"
            raise ToolError(f"{problem}. Move it to a path without `:`, `,` and quotes")
    mounts = [
        f"--mount=type=bind,source={path},target={path}{access}"
        for path, access in shown.items()
    ]
    return mounts + [f"--tmpfs={path}" for path in empty]
