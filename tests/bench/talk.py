"""Turns through a provider, and the same requests by httpx alone.

As a process, ``talk.py ADDRESS TURNS`` plays turns and prints what memory it has after
a fifth as many, and after all; with ``--bare`` it only sends their requests.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from rustyclaw import Gateway

TOKEN = "a-key-of-the-bench"
SESSIONS = 20
#: After so many turns a session begins anew: not the transcript is to grow.
TURNS = 20


@asynccontextmanager
async def gateway(address: str) -> AsyncIterator[Gateway]:
    """Open a gateway whose provider talks to the model, with a state of its own."""
    from play import NoteTools
    from rustyclaw import Gateway

    vendor = {"api": "chat", "base_url": address, "api_key": TOKEN}
    defaults = {"model": "openai/0-0", "max_concurrent": 64}
    config = {
        "agents": {"defaults": defaults},
        "plugins": {"allow": ["rustyclaw-openai"]},
        "providers": {"openai": vendor},
    }
    with TemporaryDirectory() as home:
        async with Gateway(
            config,
            home=Path(home),
            channels=False,
            plugins={"tools.notes": NoteTools()},
        ) as opened:
            yield opened


async def turn(gateway: Gateway, model: str, session: str) -> None:
    """Have a question answered."""
    from play import QUESTION, WORDS
    from rustyclaw import RunEnded, RunOptions

    options = RunOptions(model=f"openai/{model}")
    async for event in gateway.run(QUESTION, session=session, options=options):
        if isinstance(event, RunEnded):
            assert event.result.text == "".join(WORDS), event.result.error


class Bare:
    """The requests of a turn, sent and heard by httpx."""

    def __init__(self, address: str) -> None:
        limits = httpx.Limits(max_keepalive_connections=100)
        headers = {"authorization": f"Bearer {TOKEN}"}
        self._client = httpx.AsyncClient(
            base_url=address, limits=limits, headers=headers
        )

    async def recorded(self) -> Sequence[Any]:
        """Return the requests of the last turn that the model was asked for."""
        bodies: Sequence[Any] = (await self._client.get("/turn")).json()
        return bodies

    async def send(self, bodies: Sequence[Any]) -> None:
        """Send requests one after another, and read the answers to their ends."""
        for body in bodies:
            async with self._client.stream(
                "POST",
                "/v1/chat/completions",
                content=json.dumps(body),
                headers={"content-type": "application/json"},
            ) as answer:
                size = 0
                async for piece in answer.aiter_bytes():
                    size += len(piece)
            assert answer.status_code == 200
            assert size

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def resident() -> int:
    """Return the bytes of this process that are in memory, in KiB."""
    rollup = Path("/proc/self/smaps_rollup").read_text()
    found = re.search(r"^Rss: +(\d+) kB$", rollup, re.MULTILINE)
    assert found is not None
    return int(found[1])


async def _play(address: str, times: int, tell: Callable[[], None]) -> None:
    async with gateway(address) as opened:
        for number in range(times + times // 5):
            session = f"s{number % SESSIONS}"
            if number % (SESSIONS * TURNS) < SESSIONS:
                await opened.reset(session)
            await turn(opened, "1-0", session)
            if number == times // 5:
                tell()
        tell()


async def _send(address: str, times: int, tell: Callable[[], None]) -> None:
    bare = Bare(address)
    bodies = await bare.recorded()
    for number in range(times + times // 5):
        await bare.send(bodies)
        if number == times // 5:
            tell()
    tell()
    await bare.aclose()


if __name__ == "__main__":
    work = _send if "--bare" in sys.argv else _play
    asyncio.run(work(sys.argv[1], int(sys.argv[2]), lambda: print(resident())))
