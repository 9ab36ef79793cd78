"""Runs a command in namespaces of its own, by bubblewrap.

It sees the system and the workspace at their usual paths, so that what was judged is
what runs; of everything else there is nothing. See ``bwrap(1)``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from rustyclaw_exec.config import ExecConfig
from rustyclaw_exec.launch import SHELL, Job, Launch, hides_state, program

_MIB = 1_048_576
_SYSTEM = Path("/usr")
#: Links into ``/usr`` on most systems, folders on some.
_BESIDE_USR = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
#: What programs need to start, to know names and to trust certificates; no more.
_ETC = (
    *("alternatives", "ca-certificates", "crypto-policies", "group", "hosts"),
    *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "mime.types"),
    *("nsswitch.conf", "os-release", "passwd", "pki/ca-trust", "pki/tls/certs"),
    *("protocols", "resolv.conf"),
    *("services", "ssl/certs", "ssl/openssl.cnf", "timezone"),
)
_ISOLATION = (
    "--unshare-user",  # not only if possible: without it the sandbox is refused
    "--unshare-all",
    "--die-with-parent",
    "--new-session",
    "--cap-drop",
    "ALL",
)


def bubblewrap(job: Job, settings: ExecConfig) -> Launch:
    """Return the launch of a command in a sandbox.

    The limits hold for each process (memory) and for the sandbox (processes); the
    latter not if the gateway runs as root.

    :raises ToolError: A program is missing.
    """
    argv = [program("bwrap"), *_ISOLATION]
    if settings.sandbox_network:
        argv.append("--share-net")
    argv += [*_system(), *_places(job, settings), "--chdir", str(job.folder), "--"]
    argv += [
        program("prlimit"),
        f"--as={settings.sandbox_memory_mb * _MIB}",
        f"--nproc={settings.sandbox_pids}",
        "--core=0",
        "--",
    ]
    environment = {**job.environment, "TMPDIR": "/tmp"}  # noqa: S108 - a private one
    argv += [SHELL, "-c", job.command]
    return Launch(argv=argv, environment=environment, tied=True)


def _system() -> Iterator[str]:
    """Yield the options that show the system."""
    yield from ("--ro-bind", str(_SYSTEM), str(_SYSTEM))
    for path in _BESIDE_USR:
        if os.path.islink(path):
            yield from ("--symlink", os.readlink(path), path)
        else:
            yield from ("--ro-bind-try", path, path)
    for name in _ETC:
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
    yield from ("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp")  # noqa: S108 - a private one


def _places(job: Job, settings: ExecConfig) -> Iterator[str]:
    """Yield the options for what is below and beside the workspace, parents first."""
    shown = [Path(path) for path in settings.sandbox_paths]
    mounts: dict[Path, tuple[str, ...]] = {
        path: ("--ro-bind", str(path)) for path in shown
    }
    for folder in map(Path, settings.trusted_dirs):
        if not _is_of_system(folder):
            mounts.setdefault(folder, ("--ro-bind-try", str(folder)))
    if job.home != Path("/") and not _is_of_system(job.home):
        mounts.setdefault(job.home, ("--tmpfs",))
    access = {"ro": ("--ro-bind",), "rw": ("--bind",), "none": ("--tmpfs",)}
    kind = access[settings.sandbox_workspace]
    source = () if settings.sandbox_workspace == "none" else (str(job.workspace),)
    mounts[job.workspace] = (*kind, *source)
    if hides_state(job, [*shown, job.workspace]):
        mounts[job.state] = ("--tmpfs",)
    for path in sorted(mounts, key=lambda path: len(path.parts)):
        yield from (*mounts[path], str(path))
    if settings.sandbox_workspace == "none":
        yield from ("--dir", str(job.folder))


def _is_of_system(path: Path) -> bool:
    parents = (_SYSTEM, *map(Path, _BESIDE_USR), Path("/etc"))
    return any(path.is_relative_to(parent) for parent in parents)
