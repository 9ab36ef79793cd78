"""Takes the time: CPU and wall, several subjects in turn, medians.

CPU time is that of all threads, kernel included, so it also counts what a worker
thread writes. On a machine that others use it is steadier than wall time.
"""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time


@dataclass(frozen=True, slots=True)
class Cost:
    """What something took, in seconds."""

    wall: float
    cpu: float


Subject = Callable[[], Awaitable[Cost]]


async def timed(work: Callable[[], Awaitable[object]]) -> Cost:
    """Await something and return what it took of this process."""
    wall, cpu = perf_counter(), process_time()
    await work()
    return Cost(perf_counter() - wall, process_time() - cpu)


async def alternate(
    *subjects: Subject, runs: int, warm_up: int = 2, block: int = 1
) -> list[Cost]:
    """Run subjects by turns; return the median cost of each.

    What slows the machine for a while so slows all of them. The garbage collector
    stays on, as in a real gateway; it begins with nothing to do.

    :param runs: How often it is each subject's turn.
    :param block: How often a subject runs when it is its turn. With one, each finds
        the processor's caches full of what the others have left.
    """
    samples: list[list[Cost]] = [[] for _ in subjects]
    order = list(range(len(subjects)))
    gc.collect()
    for run in range(warm_up + runs):
        for index in order if run % 2 else reversed(order):
            costs = [await subjects[index]() for _ in range(block)]
            if run >= warm_up:
                samples[index] += costs
    return [
        Cost(
            statistics.median(cost.wall for cost in costs),
            statistics.median(cost.cpu for cost in costs),
        )
        for costs in samples
    ]


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a child that may keep its bytecode, as pip does.

    Where PYTHONDONTWRITEBYTECODE is set, each start would compile every library.
    """
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return inherited | more


def process(*arguments: str | Path, **env: str) -> Subject:
    """Return a subject that runs a whole process, silently.

    :param env: Added to the environment.
    :raises subprocess.CalledProcessError: It failed; its stderr is told.
    """

    def run() -> Cost:
        started = perf_counter()
        child = subprocess.Popen(
            arguments,
            env=environment(**env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        with child:
            assert child.stderr is not None
            complaint = child.stderr.read()
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            sys.stderr.buffer.write(complaint)
            raise subprocess.CalledProcessError(child.returncode, arguments)
        return Cost(perf_counter() - started, usage.ru_utime + usage.ru_stime)

    async def subject() -> Cost:
        return run()  # nothing else is to happen meanwhile

    return subject
