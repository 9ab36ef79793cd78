"""Asking the gateway of a home: a real server, real refusals, and stale files."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import pytest
from rustyclaw import (
    MethodError,
    NotServed,
    RustyclawError,
    ask_gateway,
    running_gateway,
)
from rustyclaw.cli.app import run
from rustyclaw.cli.remote import is_served
from rustyclaw.sessions.locks import SessionLock

SECRET = "s3cret"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUSTYCLAW_HOME", str(tmp_path))
    return tmp_path


class Server(ThreadingHTTPServer):
    """Answers ``POST /rpc`` as a test says, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self, answer: Callable[[Any], tuple[int, bytes]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer, self.asked = answer, list[tuple[str, str, Any]]()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        frame = json.loads(self.rfile.read(length))
        token = self.headers["Authorization"]
        self.server.asked.append((self.path, token, frame))
        status, body = self.server.answer(frame)
        if not status:  # hang up in the middle
            self.connection.close()
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serving(home: Path, answer: Callable[[Any], tuple[int, bytes]]) -> Iterator[Server]:
    server = Server(answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    facts = {"url": server.url, "secret": SECRET}
    (home / "gateway.json").write_text(json.dumps(facts))
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def held(home: Path) -> Iterator[None]:
    """Hold the home as a gateway that runs does."""
    ready, done = threading.Event(), threading.Event()

    async def hold() -> None:
        async with SessionLock(home / "gateway"):
            ready.set()
            await anyio.to_thread.run_sync(done.wait)

    thread = threading.Thread(target=anyio.run, args=(hold,))
    thread.start()
    assert ready.wait(5)
    try:
        yield
    finally:
        done.set()
        thread.join()


def ok(payload: Any) -> Callable[[Any], tuple[int, bytes]]:
    return lambda frame: (200, json.dumps({"ok": True, "payload": payload}).encode())


def test_a_method_is_called_as_the_operator(home: Path) -> None:
    with serving(home, ok({"sender": "é"})) as server:
        assert ask_gateway("pairing.approve", channel="x", code="y") == {"sender": "é"}
        assert running_gateway()["url"] == server.url
    assert server.asked == [
        (
            "/rpc",
            f"Bearer {SECRET}",
            {"method": "pairing.approve", "params": {"channel": "x", "code": "y"}},
        )
    ]


def test_an_answer_may_be_nothing(home: Path) -> None:
    with serving(home, lambda frame: (200, b'{"ok": true}')):
        assert ask_gateway("sessions.reset", key="main") is None


@pytest.mark.parametrize("status", [200, 400, 500])
def test_a_refusal_is_told_with_its_code(home: Path, status: int) -> None:
    error = {"message": "no such session", "code": "NOT_FOUND"}
    body = json.dumps({"ok": False, "error": error}).encode()
    with (
        serving(home, lambda frame: (status, body)),
        pytest.raises(MethodError, match="no such session") as refused,
    ):
        ask_gateway("sessions.reset", key="gone")
    assert refused.value.code == "NOT_FOUND"


GARBAGE = [
    (200, b"<html>hello</html>"),
    (200, b""),
    (200, b"[1, 2]"),
    (200, b'"ok"'),
    (200, b"null"),
    (200, b'{"ok": false}'),
    (200, b'{"ok": false, "error": "no"}'),
    (502, b"bad gateway"),
    (0, b""),
]


@pytest.mark.parametrize("answer", GARBAGE, ids=lambda a: f"{a[0]} {a[1]!r:.20}")
def test_garbage_from_a_gateway_that_runs_is_an_error(
    home: Path, answer: tuple[int, bytes]
) -> None:
    with (
        serving(home, lambda frame: answer),
        held(home),
        pytest.raises(RustyclawError, match="did not answer") as failed,
    ):
        ask_gateway("status")
    assert not isinstance(failed.value, NotServed | MethodError)
    assert SECRET not in str(failed.value)


def test_garbage_from_who_has_the_port_now_is_no_gateway(home: Path) -> None:
    with (
        serving(home, lambda frame: (404, b"not here")),
        pytest.raises(NotServed, match="is gone"),
    ):
        ask_gateway("status")


@pytest.mark.parametrize("runs", [False, True])
def test_a_file_of_a_gateway_that_was_killed(home: Path, runs: bool) -> None:
    with serving(home, ok(1)):
        pass  # its port is closed now, its file is still there
    if runs:  # a new one without a server plugin
        with held(home), pytest.raises(NotServed):
            ask_gateway("status")
    else:
        with pytest.raises(NotServed, match="is gone"):
            ask_gateway("status")


@pytest.mark.parametrize(
    "text",
    [None, "", "{", "[1]", "7", "null", "{}", '{"url": "http://127.0.0.1:1"}', "\x00"],
)
def test_a_file_that_says_nothing_is_no_gateway(home: Path, text: str | None) -> None:
    if text is not None:
        (home / "gateway.json").write_text(text)
    with pytest.raises(NotServed):
        ask_gateway("status")


def test_a_gateway_that_never_answers_is_given_up(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rustyclaw.cli.remote._SECONDS", 0.05)
    late = threading.Event()

    def answer(frame: Any) -> tuple[int, bytes]:
        late.wait(5)
        return 0, b""

    try:
        with (
            serving(home, answer),
            held(home),
            pytest.raises(RustyclawError, match=r"did not answer: .*timed out"),
        ):
            ask_gateway("status")
    finally:
        late.set()


def test_who_holds_the_home_serves_it(home: Path) -> None:
    assert not anyio.run(is_served, home)
    with held(home):
        assert anyio.run(is_served, home)
    assert not anyio.run(is_served, home)


# --- Approvals ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "decision"),
    [
        ("allow ab12", "allow-once"),
        ("allow ab12 --always", "allow-always"),
        ("deny ab12", "deny"),
    ],
)
def test_a_question_is_answered(
    home: Path, command: str, decision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(home, ok({"ok": True})) as server:
        assert run(["approvals", *command.split()]) == 0
    params = {"id": "ab12", "decision": decision}
    wanted = {"method": "exec.approval.resolve", "params": params}
    assert [frame for _, _, frame in server.asked] == [wanted]
    assert capsys.readouterr().out == f"ab12: {decision}\n"


def test_a_gateway_may_take_no_answer_from_here(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = {"message": "only an operator's client may decide"}
    body = json.dumps({"ok": False, "error": error}).encode()
    with serving(home, lambda frame: (200, body)):
        assert run(["approvals", "allow", "ab12"]) == 1
    assert "only an operator's client" in capsys.readouterr().err


def test_questions_are_listed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times = {"createdAtMs": 1, "expiresAtMs": 1_700_000_000_000}
    request = {"command": "ls\x1b[0m", "reason": "why", "sessionKey": "agent:main:main"}
    rows = [
        {"id": "ab12", "request": request, **times},
        {"id": "cd34", "request": {"command": "rm"}, **times},
    ]
    with serving(home, ok({"approvals": rows})):
        assert run(["approvals", "list"]) == 0
        table = capsys.readouterr().out.splitlines()
        assert run(["approvals", "list", "--json"]) == 0

    assert json.loads(capsys.readouterr().out) == rows
    assert [line.split()[:3] for line in table[1:]] == [
        ["ab12", "ls\\x1b[0m", "why"],
        ["cd34", "rm", "2023-11-14"],
    ]
