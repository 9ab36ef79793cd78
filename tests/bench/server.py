"""The port under load, against a bare uvicorn that echoes JSON."""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import signal
import statistics
import struct
import subprocess
import sys
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urljoin

from clock import environment
from served import TOKEN
from startup import RUSTYCLAW
from table import Row, Target

SERVED = str(Path(__file__).with_name("served.py"))
STARTER = (
    *("rustyclaw-server", "rustyclaw-offline"),
    *("rustyclaw-webchat", "rustyclaw-control-ui"),
)
#: Wall and CPU seconds to the first answer; KiB at rest, and after a page was loaded.
Cost = tuple[float, float, float, float]
#: After so long a start has come to rest.
_REST_SECONDS = 1.5
_HELLO = {
    "minProtocol": 3,
    "maxProtocol": 3,
    "client": {
        "id": "gateway-client",
        "version": "1",
        "platform": "linux",
        "mode": "backend",
    },
    "scopes": ["operator.admin"],
    "role": "operator",
    "auth": {"token": TOKEN},
}


class Wire(asyncio.Protocol):
    """A client that costs little: ten thousand of them fit into this process.

    It reads whole frames, answers pings, and keeps nothing of what it is sent.
    """

    def __init__(self) -> None:
        self.transport: Any = None
        self._data = b""
        self._open = False
        self._waiting: dict[str, asyncio.Future[float]] = {}
        self.came: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._open:
            head, end, self._data = self._data.partition(b"\r\n\r\n")
            if not end:
                self._data = head
                return
            assert b" 101 " in head, head
            self._open = True
        while (found := self._next()) is not None:
            opcode, payload = found
            if opcode == 9:
                self.transport.write(_frame(payload, 10))
            elif self.came is not None and not self.came.done():
                self.came.set_result(payload)
            self._note(payload)

    def _next(self) -> tuple[int, bytes] | None:
        data = self._data
        if len(data) < 2:
            return None
        size, start = data[1] & 127, 2
        if size > 125:
            start = 4 if size == 126 else 10
            if len(data) < start:
                return None
            size = int.from_bytes(data[2:start], "big")
        if len(data) < start + size:
            return None
        self._data = data[start + size :]
        return data[0] & 15, data[start : start + size]

    def _note(self, payload: bytes) -> None:
        for name, waiting in list(self._waiting.items()):
            if name.encode() in payload[:200] and not waiting.done():
                waiting.set_result(perf_counter())

    def when(self, mark: str) -> asyncio.Future[float]:
        """Return when a frame comes in that has a mark near its beginning."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting[mark] = waiting
        waiting.add_done_callback(lambda _: self._waiting.pop(mark, None))
        return waiting

    def say(self, value: Any) -> None:
        """Send JSON."""
        self.transport.write(_frame(json.dumps(value).encode()))

    def shout(self, times: int, size: int) -> None:
        """Have an event told to all."""
        params = {"times": times, "bytes": size}
        self.say({"type": "req", "id": "s", "method": "bench.shout", "params": params})

    async def ask(self, number: int, method: str, params: Any = None) -> Any:
        """Call a method; return its answer's payload."""
        mark = f'"id":"{number}"'
        done = self.when(mark)
        self.say({"type": "req", "id": str(number), "method": method, "params": params})
        return await done


def _frame(payload: bytes, opcode: int = 1) -> bytes:
    size = len(payload)
    if size < 126:
        head = bytes([0x80 | opcode, 0x80 | size])
    elif size < 65_536:
        head = bytes([0x80 | opcode, 0xFE]) + struct.pack("!H", size)
    else:
        head = bytes([0x80 | opcode, 0xFF]) + struct.pack("!Q", size)
    return head + bytes(4) + payload


async def connect(port: int, hello: bool = True) -> Wire:
    """Open a connection; say who we are."""
    loop = asyncio.get_running_loop()
    transport, wire = await loop.create_connection(Wire, "127.0.0.1", port)
    key = b64encode(os.urandom(16)).decode()
    if hello:
        wire.came = loop.create_future()
    transport.write(
        f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    if hello:
        await wire.came  # the challenge
        await wire.ask(1, "connect", _HELLO)
        wire.came = None
    return wire


@contextmanager
def served(*arguments: str) -> Iterator[tuple[int, int]]:
    """Start ``served.py``; yield port and process id."""
    child = subprocess.Popen(
        (sys.executable, SERVED, *arguments),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=_many_files,
    )
    with child:
        try:
            assert child.stdout is not None
            yield json.loads(child.stdout.readline())["port"], child.pid
        finally:
            child.kill()


def _many_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _rss(pid: int) -> float:
    """Return a process's memory in KiB."""
    found = re.search(r"Rss: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text())
    assert found
    return float(found[1])


def _cpu(pid: int) -> float:
    """Return the seconds that a process has computed, all its threads together."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


async def measure(quick: bool) -> list[Row]:
    """Return the rows of the server."""
    _many_files()
    with (
        TemporaryDirectory() as folder,
        served(folder) as (port, pid),
        served("--echo") as (echo_port, echo_pid),
    ):
        rows = [
            await _latency(port, 50 if quick else 2000),
            await _throughput(port, echo_port, 100 if quick else 3000),
            await _turns(port, pid, 100 if quick else 10_000),
            await _deaf(port, 20 if quick else 300),
            await _broadcast(port, 20 if quick else 1000),
        ]
        idle = await _idle(port, pid, echo_port, echo_pid, 100 if quick else 10_000)
    intake = await _intake(1 if quick else 7)
    return [*rows, idle, intake, *_process(1 if quick else 9)]


async def _intake(times: int) -> Row:
    """Ask for one run after the other, while one goes on that a stop waits for."""
    samples, floors = [], []
    for _ in range(times):
        with TemporaryDirectory() as folder, served(folder) as (port, pid):
            wire = await connect(port)
            begun = wire.when('"event":"agent"')
            await wire.ask(2, "chat.send", _message("slowly", 2))
            await begun
            await wire.ask(3, "health")  # the first call of a method imports it
            asked = perf_counter()
            await wire.ask(3, "health")
            floors.append(perf_counter() - asked)
            refused, number = wire.when('"ok":false'), 4
            os.kill(pid, signal.SIGTERM)
            began = perf_counter()
            while not refused.done():
                await wire.ask(number, "chat.send", _message("hello", number))
                number += 1
            samples.append(await refused - began)
            wire.transport.abort()
    return Row(
        name="SIGTERM to the first refusal of work",
        unit="ms",
        median=statistics.median(samples) * 1e3,
        floor=statistics.median(floors) * 1e3,
        target=Target(limit=100),
        note="one answer",
    )


def _message(text: str, number: int) -> dict[str, str]:
    return {"sessionKey": f"s{number}", "message": text, "idempotencyKey": f"{number}"}


async def _latency(port: int, times: int) -> Row:
    wire = await connect(port)
    samples = []
    for number in range(times):
        started = perf_counter()
        await wire.ask(number + 10, "health")
        samples.append(perf_counter() - started)
    wire.came = asyncio.get_running_loop().create_future()
    await wire.ask(2, "bench.in_process", {"times": times})
    inside = json.loads(await wire.came)["payload"]
    wire.transport.abort()
    return Row(
        name="health over the wire, p50",
        unit="ms",
        median=statistics.median(samples) * 1e3,
        floor=inside * 1e3,
        target=Target(limit=1, of="excess"),
        note="in process",
    )


async def _throughput(port: int, echo_port: int, times: int) -> Row:
    """Eight clients with eight requests each on their way; answers of one size."""
    first = await connect(port)
    first.came = asyncio.get_running_loop().create_future()
    first.say({"type": "req", "id": "9", "method": "health"})
    payload = json.loads(await first.came)["payload"]  # the event has the same one
    first.transport.abort()

    async def client(wire: Wire, worker: int, echoes: bool) -> None:
        for turn in range(times // 64 + 1):
            numbers = [worker * 10_000_000 + turn * 10 + n for n in range(8)]
            marks = [f'"id": "{n}"' if echoes else f'"id":"{n}"' for n in numbers]
            waits = [wire.when(mark) for mark in marks]
            for number in numbers:
                asked = {"type": "req", "id": str(number), "method": "health"}
                wire.say(asked | ({"payload": payload} if echoes else {}))
            await asyncio.gather(*waits)

    async def once(at: int, echoes: bool) -> float:
        wires = [await connect(at, not echoes) for _ in range(8)]
        for wire in wires:
            while echoes and not wire._open:
                await asyncio.sleep(0.01)
        started = perf_counter()
        await asyncio.gather(
            *(client(wire, worker + 1, echoes) for worker, wire in enumerate(wires))
        )
        took = perf_counter() - started
        for wire in wires:
            wire.transport.abort()
        return took / ((times // 64 + 1) * 64)

    ours, floor = [], []
    for _ in range(1 if times < 1000 else 5):
        ours.append(await once(port, False))
        floor.append(await once(echo_port, True))
    return Row(
        name="health, one of many",
        unit="us",
        median=statistics.median(ours) * 1e6,
        floor=statistics.median(floor) * 1e6,
        target=Target(limit=2, of="ratio"),
        note="JSON echo",
    )


async def _turns(port: int, pid: int, times: int) -> Row:
    wire = await connect(port)
    await wire.ask(10, "bench.turns", {"times": max(times // 5, 50)})
    before = _rss(pid)
    await wire.ask(11, "bench.turns", {"times": times})
    after = _rss(pid)
    wire.transport.abort()
    return Row(
        name="memory after ten thousand turns",
        unit="MB",
        median=after / 1024,
        floor=before / 1024,
        target=Target(limit=4, of="excess"),
        note="after two thousand",
    )


async def _deaf(port: int, times: int) -> Row:
    """One client never reads what is told to all, another calls ``health``."""
    deaf, wire, shouter = [await connect(port) for _ in range(3)]
    deaf.transport.pause_reading()
    quiet, waits = [], []
    for number in range(times):
        started = perf_counter()
        await wire.ask(number + 10, "health")
        quiet.append(perf_counter() - started)
    for number in range(times):
        shout = {"times": 4, "bytes": 20_000}
        shouter.say(
            {
                "type": "req",
                "id": f"s{number}",
                "method": "bench.shout",
                "params": shout,
            }
        )
        started = perf_counter()
        await wire.ask(number + 10_000, "health")
        waits.append(perf_counter() - started)
    for one in (deaf, wire, shouter):
        one.transport.abort()
    return Row(
        name="health beside a client that never reads, p99",
        unit="ms",
        median=_p99(waits) * 1e3,
        floor=_p99(quiet) * 1e3,
        target=Target(limit=250),
        note="nobody is told",
    )


def _p99(samples: list[float]) -> float:
    return sorted(samples)[int(len(samples) * 0.99)]


async def _broadcast(port: int, count: int) -> Row:
    wires = await _many(port, count, hello=True)
    asker = await connect(port)
    samples, floors = [], []
    for number in range(5):
        floor_started = perf_counter()
        await asker.ask(number + 10, "health")
        floors.append(perf_counter() - floor_started)
        waits = [wire.when('"event":"hook"') for wire in wires]
        started = perf_counter()
        asker.shout(times=1, size=500)
        samples.append(max(await asyncio.gather(*waits)) - started)
    for wire in (*wires, asker):
        wire.transport.abort()
    return Row(
        name="event to a thousand clients",
        unit="ms",
        median=statistics.median(samples) * 1e3,
        floor=statistics.median(floors) * 1e3,
        target=Target(limit=250),
        note="one answer",
    )


async def _many(port: int, count: int, hello: bool) -> list[Wire]:
    at_once, wires = asyncio.Semaphore(100), []

    async def one() -> None:
        async with at_once:
            wires.append(await connect(port, hello))

    await asyncio.gather(*(one() for _ in range(count)))
    while not all(wire._open for wire in wires):
        await asyncio.sleep(0.05)
    return wires


async def _idle(port: int, pid: int, echo_port: int, echo_pid: int, count: int) -> Row:
    each = []
    for at, process, hello in ((echo_port, echo_pid, False), (port, pid, True)):
        warm = await _many(at, 50, hello)
        before = _rss(process)
        wires = await _many(at, count, hello)
        await asyncio.sleep(1)
        each.append(max((_rss(process) - before) / count, 0.01))
        for wire in (*warm, *wires):
            wire.transport.abort()
        await asyncio.sleep(0.5)
    return Row(
        name="memory of an idle connection, ten thousand",
        unit="KiB",
        median=each[1],
        floor=each[0],
        target=Target(limit=30),
        note="websockets",
    )


# --- Whole processes ------------------------------------------------------------------


def _process(runs: int) -> list[Row]:
    """Return the rows of ``rustyclaw gateway`` with what people begin with."""
    _started()
    starts = [_started() for _ in range(runs)]
    _started_echo()
    floors = [_started_echo() for _ in range(runs)]
    wall, cpu, idle, used = (statistics.median(c) for c in zip(*starts, strict=True))
    echo_wall, echo_cpu, bare, bare_used = (
        statistics.median(c) for c in zip(*floors, strict=True)
    )
    first = [("cpu", cpu, echo_cpu), ("wall", wall, echo_wall)]
    resident = [("", idle, bare), ("after a page load, ", used, bare_used)]
    return [
        *(
            Row(
                name=f"gateway, start to the first health, {kind}",
                unit="ms",
                median=ours * 1e3,
                floor=floor * 1e3,
                target=Target(limit=700),
                note="bare echo",
            )
            for kind, ours, floor in first
        ),
        *(
            Row(
                name=f"idle memory, served gateway, {when}rss",
                unit="MB",
                median=ours / 1024,
                floor=floor / 1024,
                target=Target(limit=50),
                note="bare echo",
            )
            for when, ours, floor in resident
        ),
    ]


def _started() -> Cost:
    """Start a gateway as a person has it who has done what the first page says."""
    with TemporaryDirectory() as folder:
        allowed = ", ".join(filter(_is_installed, STARTER))
        chats = "{webchat: {}}" if _is_installed("rustyclaw-webchat") else "{}"
        Path(folder, "config.yaml").write_text(
            f"plugins: {{allow: [{allowed}]}}\n"
            f"providers: {{offline: {{}}}}\nchannels: {chats}\n"
            f"hooks: {{server: {{port: 0, auth: {{token: {TOKEN}}}}}}}\n"
        )
        started = perf_counter()
        child = subprocess.Popen(
            (RUSTYCLAW, "gateway"),
            env=environment(RUSTYCLAW_HOME=folder),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        facts = Path(folder, "gateway.json")
        return _cost(child, started, lambda: json.loads(facts.read_text())["url"])


def _started_echo() -> Cost:
    started = perf_counter()
    child = subprocess.Popen(
        (sys.executable, SERVED, "--echo"), env=environment(), stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    port = json.loads(child.stdout.readline())["port"]
    return _cost(child, started, lambda: f"http://127.0.0.1:{port}")


def _cost(child: subprocess.Popen[bytes], started: float, url: Any) -> Cost:
    """Wait until a process answers, and see what it takes at rest and after use."""
    with child:
        try:
            while child.poll() is None:
                sleep(0.005)
                with suppress(OSError, ValueError):
                    _get(f"{url()}/health")
                    break
            wall, cpu = perf_counter() - started, _cpu(child.pid)
            sleep(max(0.0, _REST_SECONDS - wall))
            idle = _rss(child.pid)
            for path in _page(f"{url()}/"):
                _get(path)
            _get(f"{url()}/health")
            return wall, cpu, idle, _rss(child.pid)
        finally:
            child.kill()


def _page(url: str) -> list[str]:
    """Return what a browser would load for a page; nothing, if there is none."""
    try:
        page = _get(url)
    except HTTPError:  # no such dist is installed
        return []
    return [urljoin(url, name) for name in re.findall(r'(?:src|href)="([^"#]+)"', page)]


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return str(answer.read().decode())


def _is_installed(dist: str) -> bool:
    try:
        return bool(version(dist))
    except PackageNotFoundError:
        return False
