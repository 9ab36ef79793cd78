"""SIGTERM during a turn: the turn ends, the answer is sent, the exit code is 0."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from pathlib import Path

from tests.torture.test_kill import Platform, hosted


async def drain(home: Path) -> tuple[Platform, int]:
    platform = Platform()
    async with hosted(platform, home) as host, asyncio.timeout(20):
        child = await host.start()
        for _ in range(4):
            platform.deliver(random.Random(1))
        while len(platform.acknowledged) < 4:
            await asyncio.sleep(0.001)
        os.kill(child, signal.SIGTERM)
        return platform, await host.ended()


def test_a_turn_in_progress_is_finished(tmp_path: Path) -> None:
    platform, code = asyncio.run(drain(tmp_path))
    assert code == 0
    assert not platform.unanswered
