"""Every row of two lists of hostile clients, against a gateway in its own process.

`ws_frames.jsonl` came from outside, `ws_more.jsonl` is our own, in the same form.
After each row the gateway lives, another client is served, the log is whole and
holds no secret.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import zlib
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from .client import ADMIN, PAIRING, READ, SCOPES, WRITE, Device, Hello
from .process import Process, started
from .raw import BINARY, CLOSE, DROPPED, PING, TEXT, Raw, frame

DATA = Path(__file__).parent / "data"
TOKEN = "corpus-gateway-token"
MAX_PAYLOAD = 26_214_400
HANDSHAKE_SECONDS = 3.0
#: Where a row gives none; the machine may be busy.
SECONDS = 20.0
OPCODES = {"text": TEXT, "binary": BINARY, "ping": PING, "close": CLOSE}
ENTRY = re.compile(r"(\d\d:\d\d:\d\d [A-Z]+ +[\w.]+  [^\x00-\x1f\x7f]*|    .*)")


def rows() -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for name in ("ws_frames.jsonl", "ws_more.jsonl")
        for line in (DATA / name).read_text().splitlines()
    ]


@pytest.fixture(scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Process]:
    settings = {
        "limits": {"handshake_seconds": HANDSHAKE_SECONDS, "head_seconds": 2},
        # A row is to meet the origin check, not the failures of the row before it.
        "auth": {"token": TOKEN, "lock_seconds": 1},
    }
    async with started(tmp_path_factory.mktemp("corpus"), settings) as process:
        yield process


class Case:
    """One row and the connection it is about."""

    def __init__(self, row: dict[str, Any], gateway: Process) -> None:
        self.row, self.gateway = row, gateway
        self.expect: dict[str, Any] = row["expect"]
        self.limits: dict[str, float] = row.get("limits", {})
        self.headers: dict[str, str] = dict(row.get("http_headers", {}))
        if "Origin" in self.headers:  # the page of the gateway that the row means
            own = self.headers["Origin"].partition("://")[2]
            self.headers.setdefault("Host", own)
        if row.get("peer", "127.0.0.1") != "127.0.0.1":
            self.headers["X-Forwarded-For"] = row["peer"]
        self.data = b""
        if opcode := OPCODES.get(row["opcode"]):  # made before the time begins to run
            self.data = frame(self.payload(row), opcode)

    @property
    def seconds(self) -> float:
        return max(self.limits.get("max_seconds", SECONDS), 5.0)

    async def open(self) -> Raw:
        """Return a connection in the state that the row begins with."""
        state = self.row["state"].removeprefix("connected").removeprefix("_")
        headers = dict(self.headers)
        if state == "webchat":
            headers["Origin"] = self.gateway.url
        raw = await Raw.open(self.gateway.url, headers)
        assert raw.status == 101, raw.head
        await raw.challenged()
        if state != "preconnect":
            answer = await raw.connect(hello(state))
            assert answer["ok"], answer
        return raw

    def payload(self, one: dict[str, Any]) -> bytes:
        """Return the bytes of a message, or of the raw stream."""
        if "payload_b64" in one:
            return b64decode(one["payload_b64"])
        if "generate" in one:
            return generated(one["generate"])
        return str(one["text"]).encode()

    async def play(self, raw: Raw) -> None:
        """Do what the row says."""
        kind = self.row["opcode"]
        if kind == "sequence":
            for step in self.row["steps"]:
                await self.step(raw, step)
        elif kind == "raw":
            await raw.send(self.payload(self.row))
        elif kind == "fragments":
            await self.fragments(raw)
        elif kind == "deflate_bomb":
            bomb = zlib.compress(bytes(self.row.get("bytes", 2**26)))[2:-4]
            await raw.send(frame(bomb, TEXT, rsv=4))
        else:
            for _ in range(self.row.get("repeat", 1)):
                await raw.send(self.data)

    async def fragments(self, raw: Raw) -> None:
        size = self.row["bytes_each"]
        size = MAX_PAYLOAD // 1000 if size == "maxPayload/1000" else size
        opcode = TEXT
        for _ in range(self.row["count"]):
            await raw.send(frame(b"a" * size, opcode, fin=False))
            opcode = 0
            if raw.writer.is_closing():
                return

    async def step(self, raw: Raw, step: dict[str, Any]) -> None:
        if "connect_with" in step:
            return  # `attempts` does it
        opcode = OPCODES[step.get("opcode", "text")]
        piece = b"" if "count" in step else self.payload(step)
        data = frame(piece, opcode, fin=step.get("fin", True))
        count = step.get("count", 1)
        for start in range(0, count, 1000):
            await raw.send(data * min(1000, count - start))

    # --- What must come of it ---------------------------------------------------------

    async def judge(self, raw: Raw) -> None:
        outcome = self.expect["outcome"]
        await getattr(self, f"expect_{outcome}")(raw)
        if self.expect.get("next_request_ok"):
            assert (await raw.ask("health"))["ok"]

    async def expect_close(self, raw: Raw) -> None:
        code = await raw.ended(self.seconds)
        assert code in self.expect["close_codes"]

    async def expect_error_response(self, raw: Raw) -> None:
        answer = await raw.answer(self.expect.get("response_id", ""))
        assert not answer["ok"], answer
        assert answer["error"]["code"] in self.expect["error_codes"]

    async def expect_error_or_close(self, raw: Raw) -> None:
        try:
            answer = await raw.answer(seconds=self.seconds)
        except EOFError as end:
            if end.args[0] not in self.expect["close_codes"]:
                raise
            return
        assert not answer["ok"], answer
        assert len(answer["id"]) <= 256
        if self.expect.get("next_request_ok_if_open"):
            assert (await raw.ask("health"))["ok"]

    async def expect_ok_or_error(self, raw: Raw) -> None:
        answer = await raw.answer(self.expect.get("response_id", ""), self.seconds)
        text = json.dumps(answer)
        assert not any(word in text for word in self.expect.get("must_not_contain", ()))
        assert (await raw.ask("health"))["ok"]

    async def expect_ok_or_close(self, raw: Raw) -> None:
        with suppress(EOFError):
            answer = await raw.answer()
            assert ADMIN not in answer["payload"]["auth"]["scopes"]
            refused = await raw.ask("config.set", {"raw": "{}"})
            assert refused["error"]["message"] == f"missing scope: {ADMIN}"

    async def expect_ignored(self, raw: Raw) -> None:
        assert (await raw.ask("health"))["id"] == "raw-2"  # the first answer of all

    async def expect_bounded(self, raw: Raw) -> None:
        with suppress(EOFError):
            assert (await raw.ask("health", seconds=60))["ok"]

    async def expect_rate_limited(self, raw: Raw) -> None:
        raw.drop()
        told = []
        for number in range(self.row["steps"][0]["repeat"]):
            auth = {"token": f"guess-{number}"}
            attempt = await (
                await Raw.open(self.gateway.url, self.headers)
            ).challenged()
            answer = await attempt.connect(hello("", auth=auth, device=None))
            told.append(answer["error"]["message"])
            attempt.drop()
        locked = ["too many failed" in text for text in told]
        assert locked[self.expect["after_attempts"]], told
        assert sum(locked) >= len(locked) // 2

    async def expect_second_refused_or_both_answered(self, raw: Raw) -> None:
        runs = set()
        while len(runs) < 2:
            answer = await raw.answer("dup")
            if not answer["ok"]:
                return
            runs.add(answer["payload"]["runId"])
        assert runs == {"k1", "k2"}

    async def expect_one_run(self, raw: Raw) -> None:
        answers = [await raw.answer() for _ in range(2)]
        assert {a["payload"]["runId"] for a in answers} == {"same"}
        begun, ended = 0, False
        while not ended:
            event = await raw.read()
            data = event.get("payload", {}).get("data", {})
            if event.get("event") == "agent" and event["payload"]["runId"] == "same":
                begun += data.get("phase") == "start"
                ended = data.get("phase") in ("end", "error")
        assert begun <= 1


def hello(state: str, **more: Any) -> Hello:
    facts: dict[str, Any] = {"device": Device(), "shown": more.pop("auth", None)}
    facts["shown"] = facts["shown"] or {"token": TOKEN}
    scopes = {"readonly": (READ,), "write": (WRITE,), "pairing": (PAIRING,)}
    facts["scopes"] = scopes.get(state, SCOPES)
    if state == "webchat":
        facts |= {"client_id": "webchat", "mode": "webchat", "scopes": (READ, WRITE)}
    if state == "node":
        facts |= {"client_id": "node-host", "mode": "node", "role": "node"}
        facts["scopes"] = ()
    return Hello(**facts | more)


def generated(how: dict[str, Any]) -> bytes:
    """Return what a generator makes."""
    match how["kind"]:
        case "nest":
            depth = how.get("depth", how.get("count", 100_000))
            core = how.get("open", "[") * depth + how.get("close", "]") * depth
            if not how.get("in_params", True):
                return core.encode()
            head = '{"type":"req","id":"x","method":"health","params":{"a":'
            return f"{head}{core}}}}}".encode()
        case "raw":
            return b64decode(how["b64"]) * how.get("count", 1)
        case "json_pad":
            return padded(how)
        case "keys":
            keys = ",".join(f'"k{n}":{n}' for n in range(how["count"]))
            head = '{"type":"req","id":"x","method":"health"'
            return f"{head},{keys}}}".encode()
        case "collide":  # numbers that have one hash, as keys of a set or a dict
            step = 2**61 - 1
            keys = ",".join(f'"{n * step}":{n * step}' for n in range(how["count"]))
            head = '{"type":"req","id":"x","method":"sessions.list","params":{'
            return f"{head}{keys}}}}}".encode()
    raise AssertionError(how)


def padded(how: dict[str, Any]) -> bytes:
    base = json.loads(json.dumps(how["base"]))
    size = MAX_PAYLOAD if how["bytes"] == "maxPayload" else how["bytes"]
    *path, last = how["field"].split(".")
    where = base if path else base.get("params", base)
    if how["field"] == "id":
        where = base
    for part in path:
        where = where[part]
    where[last] = ""
    where[last] = "a" * (size - len(json.dumps(base)))
    data = json.dumps(base).encode()
    assert len(data) == size
    return data


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row['id']}-{row['case']}")
async def test_corpus(row: dict[str, Any], gateway: Process) -> None:
    if row["case"] == "half-open":
        pytest.skip("test_limits.py has it, with a gateway of short patience")
    case, logged = Case(row, gateway), len(gateway.log)
    async with AsyncExitStack() as stack:
        if row["opcode"] == "upgrade":
            await upgrade(case)
        else:
            other = await Raw.open(gateway.url)
            stack.callback(other.drop)
            await other.challenged()
            assert (await other.connect(hello("")))["ok"]
            before = gateway.rss
            raw = await case.open()
            stack.callback(raw.drop)
            over = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(latencies(other, over))
                try:
                    await case.play(raw)
                    await case.judge(raw)
                finally:
                    over.set()
            check_limits(case, sorted(watch.result()), gateway.rss - before)
            assert (await other.ask("health"))["ok"]
    assert gateway.child.returncode is None
    new = gateway.log[logged:]
    assert TOKEN not in new
    assert "Traceback" not in new
    for line in new.splitlines():
        assert ENTRY.fullmatch(line), line
        assert len(line) < 1200


async def latencies(client: Raw, over: asyncio.Event) -> list[float]:
    """Call ``health`` again and again; return how long each call took."""
    found = []
    while not over.is_set():
        started_at = time.perf_counter()
        await client.ask("health", seconds=60)
        found.append(time.perf_counter() - started_at)
        await asyncio.sleep(0.005)
    return found


def check_limits(case: Case, slow: list[float], growth: float) -> None:
    if limit := case.limits.get("max_rss_growth_mib"):
        assert growth <= limit, f"{growth:.1f} MiB"
    if (limit := case.limits.get("other_client_p99_ms")) and slow:
        assert slow[int(len(slow) * 0.99)] * 1000 <= limit


async def upgrade(case: Case) -> None:
    """Play a row about the request for the upgrade."""
    row, expect = case.row, case.expect
    method = row.get("method", "GET")
    slowly = row.get("drip_bytes_per_s", 0)
    raw = await Raw.open(
        case.gateway.url, case.headers, method=method, bytes_a_second=slowly
    )
    try:
        if expect["outcome"] == "http_101":
            assert raw.status == 101, raw.head
            await raw.challenged()
            assert not (await raw.ask("health"))["ok"]  # a token is still needed
        elif expect["outcome"] == "treated_as_remote":
            assert raw.status == 101, raw.head
            await raw.challenged()
            answer = await raw.connect(hello(""))
            assert answer["error"]["code"] == "NOT_PAIRED"
        else:
            assert raw.status in expect["http_status"], raw.head
            assert await raw.ended() == DROPPED
    finally:
        raw.drop()
