"""Kill -9 at random moments: each accepted message is answered exactly once.

Every third one is no message of a chat but a run that was submitted, as clients do.
The answers are shown as drafts while they grow. A kill may leave a draft behind only
as long as it says nothing: its id is on the disk before any word of it is shown.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

HOST = Path(__file__).with_name("host.py")
ROUNDS = int(os.environ.get("RUSTYCLAW_KILL_ROUNDS", "200"))
CHATS = 4


@dataclass
class Platform:
    """A chat platform that delivers again what was not acknowledged."""

    waiting: dict[str, dict[str, str]] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    sends: Counter[str] = field(default_factory=Counter)
    replies: dict[str, tuple[str, str]] = field(default_factory=dict)
    drafts: dict[str, str] = field(default_factory=dict)
    drafted: int = 0
    replaced: int = 0
    writer: asyncio.StreamWriter | None = None
    count: int = 0

    def deliver(self, random_: random.Random) -> None:
        self.count += 1
        name = f"m{self.count}"
        chat = f"chat{self.count % CHATS}"
        kind = "run" if self.count % 3 == 0 else "wire:default"
        frame = {"id": name, "chat": chat, "text": f"question {name}"}
        self.waiting[name] = frame | {"source": f"{kind}:{name}"}
        self.write(self.waiting[name])
        if random_.random() < 0.2:  # platforms redeliver what they should not
            self.write(self.waiting[name])

    def write(self, frame: dict[str, str]) -> None:
        if self.writer is not None and not self.writer.is_closing():
            self.writer.write(json.dumps(frame).encode() + b"\n")

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.writer = writer
        for name, frame in self.waiting.items():
            if name not in self.acknowledged:
                self.write(frame)
        try:
            while line := await reader.readline():
                frame = json.loads(line)
                if "ack" in frame:
                    self.acknowledged.add(frame["ack"])
                elif "show" in frame:
                    self.write({"receipt": frame["show"], "draft": self.show(frame)})
                else:
                    self.sends[frame["send"]] += 1
                    self.replies[frame["send"]] = (frame["chat"], frame["text"])
                    self.replaced += self.drafts.pop(frame["draft"], None) is not None
                    self.write({"receipt": frame["send"]})
        except (ConnectionError, json.JSONDecodeError):
            pass  # the gateway was killed in the middle of a line
        finally:
            writer.close()

    def show(self, frame: dict[str, str]) -> str:
        if not (draft := frame["draft"]):
            self.drafted += 1
            draft = f"draft-{self.drafted}"
        self.drafts[draft] = frame["text"]
        return draft

    @property
    def unanswered(self) -> set[str]:
        text = " ".join(text for _, text in self.replies.values()).split()
        return set(self.waiting) - {word for word in text if word.startswith("m")}


def entries(home: Path) -> list[dict[str, object]]:
    """Read all transcripts; every line must be whole."""
    return [
        json.loads(line)
        for file in home.glob("agents/*/sessions/*.jsonl")
        for line in file.read_text().splitlines()
    ]


@dataclass
class Host:
    """The process that forks gateways."""

    process: asyncio.subprocess.Process
    child: int = 0

    async def start(self) -> int:
        """Start a gateway; return its process id."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")
        self.child = int(await self._line())
        return self.child

    async def ended(self) -> int:
        """Return the exit code of the gateway, negative for a signal."""
        code = os.waitstatus_to_exitcode(int(await self._line()))
        self.child = 0
        return code

    async def _line(self) -> bytes:
        assert self.process.stdout is not None
        return await self.process.stdout.readline()


@asynccontextmanager
async def hosted(platform: Platform, home: Path) -> AsyncIterator[Host]:
    """Serve the platform, and start the process that forks gateways for it."""
    server = await asyncio.start_server(platform.serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            sys.executable, HOST, home, str(port),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        host = Host(process)
        try:
            yield host
        finally:
            assert process.stdin is not None
            if host.child:  # the test has failed, and nobody else ends it
                os.kill(host.child, signal.SIGKILL)
            process.stdin.close()
            await process.wait()


async def torture(home: Path, rounds: int, seed: int) -> Platform:
    random_ = random.Random(seed)
    platform = Platform()
    async with hosted(platform, home) as host:
        for _ in range(rounds):
            child = await host.start()
            deadline = random_.uniform(0.02, 0.25)
            for _ in range(random_.randint(1, 4)):
                platform.deliver(random_)
                await asyncio.sleep(deadline / 4)
            os.kill(child, signal.SIGKILL)
            assert await host.ended() == -signal.SIGKILL
        platform.writer = None
        child = await host.start()
        async with asyncio.timeout(60):
            while platform.writer is None or platform.unanswered:
                await asyncio.sleep(0.05)
        os.kill(child, signal.SIGTERM)
        assert await host.ended() == 0, "a drained gateway exits with 0"
    return platform


@pytest.mark.slow
def test_no_message_is_lost_or_answered_twice(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    platform = asyncio.run(torture(tmp_path, ROUNDS, seed))
    assert not platform.unanswered
    assert not any(platform.drafts.values()), "a draft stands beside its answer"
    assert platform.replaced, "drafts were shown at all"
    print(f"{platform.drafted} drafts, {len(platform.drafts)} left without a word")
    found = entries(tmp_path)
    asked = Counter(e["source"] for e in found if e.get("source"))
    answered = Counter(source for e in found for source in e.get("answers", ()))
    wanted = {frame["source"] for frame in platform.waiting.values()}
    assert set(asked) == wanted
    assert set(answered) == wanted
    assert set(asked.values()) == {1}, "a user's message stands once in the transcript"
    assert set(answered.values()) == {1}, "and is answered by exactly one entry"
    for name, frame in platform.waiting.items():
        replies = [r for r in platform.replies.values() if name in r[1].split()]
        assert [chat for chat, _ in replies] == [frame["chat"]]
