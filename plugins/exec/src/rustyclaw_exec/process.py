"""Runs one shell command and always gets rid of it.

The pipes are our own, not the event loop's: a grandchild that left the process group
keeps its end open for as long as it likes, and we stop reading.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import anyio
from anyio.abc import Process

from rustyclaw_exec.launch import SHELL, Launch
from rustyclaw_exec.output import HeadTail

logger = logging.getLogger(__name__)

Ending = Literal["exited", "timeout", "flood"]

_CHUNK_BYTES = 65_536
#: How long output may still come after the shell itself has ended.
_LINGER_SECONDS = 0.5
_REAP_SECONDS = 2.0
_POLL_SECONDS = 0.02
_REMOVE_SECONDS = 15.0
#: A client that failed itself: its container may have been left behind.
_CLIENT_FAILED = {125, -signal.SIGKILL, -signal.SIGTERM}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a command is ended; see `ExecConfig`."""

    timeout_seconds: float
    grace_seconds: float
    output_bytes: int
    flood_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a command ended.

    :param exit_code: Negative for a signal; ``None`` if it could not be reaped.
    """

    ending: Ending
    exit_code: int | None
    stdout: HeadTail
    stderr: HeadTail
    seconds: float


class _Pipe:
    """Our end of a pipe, and what came through it."""

    def __init__(self, limit: int) -> None:
        self._ours, self.theirs = os.pipe()
        os.set_blocking(self._ours, False)
        self.kept = HeadTail(limit)

    async def ready(self) -> None:
        """Wait until there is something to read, or nothing ever again."""
        await anyio.wait_readable(self._ours)

    def read(self) -> bool:
        """Take what is there; return ``False`` at the end."""
        with suppress(BlockingIOError):
            chunk = os.read(self._ours, _CHUNK_BYTES)
            self.kept.add(chunk)
            return bool(chunk)
        return True

    def close_theirs(self) -> None:
        """Close the end that the command has a copy of."""
        os.close(self.theirs)

    def close(self) -> None:
        """Stop listening."""
        os.close(self._ours)


async def run_launch(launch: Launch, *, folder: Path, limits: Limits) -> Finished:
    """Run a command in a session of its own.

    :raises OSError: It could not be started.
    """
    started = anyio.current_time()
    pipes = out, err = _Pipe(limits.output_bytes), _Pipe(limits.output_bytes)
    try:
        try:
            with anyio.CancelScope(shield=True):  # or a child could be lost at birth
                process = await anyio.open_process(
                    _held(launch),
                    stdin=subprocess.DEVNULL,
                    stdout=out.theirs,
                    stderr=err.theirs,
                    cwd=folder,
                    env=launch.environment,
                    start_new_session=True,
                )
        finally:
            out.close_theirs()
            err.close_theirs()
        ending = await _attend(process, pipes, limits, launch.remove)
    finally:
        out.close()
        err.close()
    return Finished(
        ending=ending,
        exit_code=process.returncode,
        stdout=out.kept,
        stderr=err.kept,
        seconds=anyio.current_time() - started,
    )


async def _attend(
    process: Process, pipes: tuple[_Pipe, _Pipe], limits: Limits, remove: Sequence[str]
) -> Ending:
    """Read until the command ends or must be ended."""
    silent = anyio.Event()
    reading = len(pipes)
    ending: Ending = "timeout"

    async def read(pipe: _Pipe) -> None:
        nonlocal reading, ending
        await pipe.ready()
        while pipe.read():
            if sum(p.kept.total for p in pipes) > limits.flood_bytes:
                ending = "flood"
                deadline.cancel()
            await pipe.ready()
        reading -= 1
        if not reading:
            silent.set()

    try:
        with anyio.move_on_after(limits.timeout_seconds) as deadline:
            async with anyio.create_task_group() as readers:
                for pipe in pipes:
                    readers.start_soon(read, pipe)
                await process.wait()
                with anyio.move_on_after(_LINGER_SECONDS):
                    await silent.wait()
                readers.cancel_scope.cancel()
            ending = "exited"
    finally:
        if ending != "exited" or process.returncode in _CLIENT_FAILED:
            with anyio.CancelScope(shield=True):
                if ending != "exited":
                    await _end_group(process, limits.grace_seconds)
                await _remove(remove)
        if ending != "exited":
            for pipe in pipes:
                pipe.read()  # the last words
    return ending


def _held(launch: Launch) -> Sequence[str]:
    """Return what to start, so that no thread takes a command along that ends early.

    Only asyncio starts processes in the thread of its event loop, which ends with the
    gateway; elsewhere a shell is put between.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        if launch.tied:
            return [SHELL, "-c", '"$@"; exit $?', SHELL, *launch.argv]
    return launch.argv


async def _remove(argv: Sequence[str]) -> None:
    """End what a daemon runs for us; what was not there is gone as well."""
    if not argv:
        return
    try:
        with anyio.fail_after(_REMOVE_SECONDS):
            done = await anyio.run_process(argv, check=False, start_new_session=True)
    except (OSError, TimeoutError) as exc:
        logger.error("%s failed, a command may still run: %r", " ".join(argv), exc)
    else:
        if done.returncode and b"no such container" not in done.stderr.lower():
            problem = done.stderr.decode("utf-8", "replace").strip()[:512]
            logger.error("%s failed, a command may still run: %r", argv, problem)


async def _end_group(process: Process, grace_seconds: float) -> None:
    """End the whole process group, at first politely, and reap the shell."""
    _signal_group(process.pid, signal.SIGTERM)
    with anyio.move_on_after(grace_seconds):
        await process.wait()
        while _signal_group(process.pid, 0):  # noqa: ASYNC110  no event tells us
            await anyio.sleep(_POLL_SECONDS)
        return
    _signal_group(process.pid, signal.SIGKILL)
    with anyio.move_on_after(_REAP_SECONDS):
        await process.wait()


def _signal_group(group: int, number: int) -> bool:
    """Send a signal; return whether the group still has members."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, but alive
        pass
    return True
