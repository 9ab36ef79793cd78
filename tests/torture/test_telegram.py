"""Telegram from a stranger to an answer, under kill -9 between any two steps.

A stranger writes, gets a pairing code, is approved on the command line and asks
something that takes two tools. Real processes, real sockets; the Bot API server
keeps the ledger of what people read.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from rustyclaw_telegram.testing import FakeTelegram

HOST = Path(__file__).with_name("telegram_host.py")
ROUNDS = int(os.environ.get("RUSTYCLAW_TELEGRAM_ROUNDS", "10"))
STRANGERS = (5501, 5502)
PLACEHOLDER = "…"
#: Where a gateway may be killed: at a call, as it arrives, before its answer, after.
STEPS = [
    (method, stage)
    for method in ("getUpdates", "sendChatAction", "sendMessage", "editMessageText")
    for stage in ("before", "after", "answered")
]
#: So many of these calls may pass before.
MOST = {"getUpdates": 1, "editMessageText": 5}


@dataclass
class Host:
    """The process that forks gateways."""

    process: subprocess.Popen[str]
    child: int = 0

    def start(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        self.child = int(self._line())

    def kill(self) -> None:
        """Kill the gateway; it may be dead by now."""
        os.kill(self.child, signal.SIGKILL)

    def ended(self) -> int:
        """Return the exit code of the gateway, negative for a signal."""
        return os.waitstatus_to_exitcode(int(self._line()))

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()


class Page(BaseHTTPRequestHandler):
    """What the tool reads."""

    def do_GET(self) -> None:
        body = f"Here stands fact-{self.path.strip('/')}.".encode()
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        with suppress(ConnectionError):  # who asked was killed
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def pages() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@contextmanager
def hosted(home: Path, telegram: str, pages: str) -> Iterator[Host]:
    with subprocess.Popen(
        [sys.executable, HOST, home, telegram, pages],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Host(process)
        assert process.stdin is not None
        process.stdin.close()


def until(condition: Callable[[], object], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


@dataclass
class Torture:
    """The rounds, and what was asked in them."""

    home: Path
    telegram: FakeTelegram
    host: Host
    random: random.Random
    asked: dict[str, int] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)

    def ask(self, person: int) -> None:
        name = f"q{len(self.asked) + 1}"
        self.asked[name] = person
        self.telegram.say(f"what about {name}?", sender=person)

    def round(self, say: Callable[[], None]) -> None:
        """Let a gateway live until it is killed somewhere."""
        killed = threading.Event()
        step = self.random.choice([None, None, *STEPS])
        skip = self.random.randint(0, MOST.get(step[0], 0)) if step else 0

        def watch(method: str, stage: str) -> None:
            nonlocal skip
            if (method, stage) == step and not killed.is_set():
                skip -= 1
                if skip < 0:
                    self.host.kill()
                    killed.set()

        self.host.start()
        if step is not None:
            self.telegram.watch = watch
        say()
        at_step = killed.wait(8 if step else self.random.uniform(0.05, 1.5))
        self.telegram.watch = lambda method, stage: None
        if not at_step:
            self.host.kill()
        self.kills[" ".join(step) if step and at_step else "any time"] += 1
        assert self.host.ended() == -signal.SIGKILL

    def pair(self, person: int) -> None:
        """Be a stranger: write, be killed, get a code, be approved."""
        self.telegram.say("/start", sender=person)
        for _ in range(2):
            self.round(lambda: None)
        if not self.code(person):
            self.host.start()
            assert until(lambda: self.code(person), 30)
            self.host.kill()
            assert self.host.ended() == -signal.SIGKILL
        code = self.code(person)
        done = subprocess.run(
            [sys.executable, "-m", "rustyclaw", "pairing", "approve", "telegram", code],
            env={**os.environ, "RUSTYCLAW_HOME": str(self.home)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr

    def code(self, person: int) -> str:
        texts = " ".join(self.telegram.shown(person))
        found = re.search(r"pairing approve telegram (\w+)", texts)
        return found[1] if found else ""

    def answers(self, name: str) -> list[tuple[int, int]]:
        """Return the messages that have ever shown the whole answer to a question."""
        return [
            key
            for key, message in tuple(self.telegram.messages.items())
            if any(
                text.endswith("all of it.") and re.search(rf"\b{name}\b.*:", text)
                for text in message.history
            )
        ]


def torture(home: Path, rounds: int, seed: int) -> Torture:
    with (
        FakeTelegram() as telegram,
        pages() as address,
        hosted(home, telegram.url, address) as host,
    ):
        run = Torture(home, telegram, host, random.Random(seed))
        for person in STRANGERS:
            run.pair(person)
        for _ in range(rounds):

            def say() -> None:
                for _ in range(run.random.choice((1, 1, 1, 2))):
                    run.ask(run.random.choice(STRANGERS))

            run.round(say)
        polls = len(telegram.made("getUpdates"))
        host.start()
        assert until(lambda: len(telegram.made("getUpdates")) > polls, 30)
        answered = until(lambda: all(map(run.answers, run.asked)), 60)
        settled = until(lambda: not unsent(home), 10)
        os.kill(host.child, signal.SIGTERM)
        assert host.ended() == 0, "a drained gateway exits with 0"
        assert answered, [name for name in run.asked if not run.answers(name)]
        assert settled, unsent(home)
    return run


def unsent(home: Path) -> list[tuple[str, str]]:
    """Return what stands in the outbox and has not arrived."""
    with sqlite3.connect(home / "state.db") as db:
        query = "SELECT id, state FROM outbox WHERE state != 'sent'"
        rows = db.execute(query).fetchall()
    db.close()
    return rows


@pytest.mark.slow
def test_from_a_stranger_to_an_answer(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")

    run = torture(tmp_path, ROUNDS, seed)

    # Nothing is lost, nothing is answered twice: each question has one message that
    # has ever shown its answer, in the chat of who asked, and shows it still.
    for name, person in run.asked.items():
        ((chat, message),) = run.answers(name)
        assert chat == person
        assert run.telegram.messages[chat, message].text.endswith("all of it.")
    # All else that people read is a code, once, and placeholders without an answer.
    texts = Counter(m.text for m in run.telegram.messages.values())
    strays = texts.pop(PLACEHOLDER, 0)
    for person in STRANGERS:
        assert sum(run.code(person) in text for text in texts) == 1
    others = [t for t in texts if "all of it." not in t and "pairing approve" not in t]
    assert not others
    # The transcript says the same, and the tools have done their work.
    found = [
        json.loads(line)
        for file in tmp_path.glob("agents/*/sessions/*.jsonl")
        for line in file.read_text().splitlines()
    ]
    sources = Counter(e["source"] for e in found if e.get("source"))
    answers = Counter(source for e in found for source in e.get("answers", ()))
    assert len(sources) == len(run.asked)
    assert sources == answers
    assert set(sources.values()) == {1}
    for text in texts:
        if fact := re.search(r"fact-(q\d+)", text):
            (file,) = tmp_path.glob(f"agents/*/workspace/{fact[1]}.txt")
            assert file.read_text() == fact[0]
    print(f"{len(run.asked)} questions, {strays} stray placeholders, {run.kills}")
