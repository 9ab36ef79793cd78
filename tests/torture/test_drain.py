"""SIGTERM during a turn: the turn ends, the answer is sent, the exit code is 0."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from tests.torture.test_kill import HOST, Platform


async def drain(home: Path) -> tuple[Platform, int]:
    platform = Platform()
    server = await asyncio.start_server(platform.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    host = await asyncio.create_subprocess_exec(
        sys.executable, HOST, home, str(port),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert host.stdin is not None
    assert host.stdout is not None
    host.stdin.write(b"go\n")
    child = int(await host.stdout.readline())
    for _ in range(4):
        platform.deliver(random.Random(1))
    async with asyncio.timeout(20):
        while len(platform.acknowledged) < 4:
            await asyncio.sleep(0.001)
        os.kill(child, signal.SIGTERM)
        status = int(await host.stdout.readline())
    host.stdin.close()
    await host.wait()
    server.close()
    return platform, os.waitstatus_to_exitcode(status)


def test_a_turn_in_progress_is_finished(tmp_path: Path) -> None:
    platform, code = asyncio.run(drain(tmp_path))
    assert code == 0
    assert not platform.unanswered
