"""A model on loopback, in a process of its own: as light as one can be.

It speaks Chat Completions as a stream. The name of a model says what it does:
``ROUNDS-MILLISECONDS`` calls the tool so often before it answers, and takes so long for
each answer. ``GET /turn`` returns the requests of the turn that began last.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

WORDS = [f"word{number:02} " for number in range(20)]
_MODEL = re.compile(rb'"model": ?"(\d+)-(\d+)"')
_USER = re.compile(rb'"role": ?"user"')
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_ID = b"call_0000000000"
_HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1}
_USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


def _choice(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def _call(**function: str) -> dict[str, Any]:
    known = {"id": _ID.decode(), "type": "function"} if "name" in function else {}
    return _choice({"tool_calls": [{"index": 0, **known, "function": function}]})


def _answer(*chunks: dict[str, Any]) -> bytes:
    """Return a whole answer of HTTP, each event in a chunk of its own."""
    events = [json.dumps({**_HEAD, "model": "m", **chunk}) for chunk in chunks]
    data = [f"data: {event}\n\n".encode() for event in (*events, "[DONE]")]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    head += b"transfer-encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(d), d) for d in (*data, b""))


_CALL = _answer(
    _choice({"role": "assistant", "content": None}),
    _call(name="take_note", arguments=""),
    _call(arguments='{"text": '),
    _call(arguments='"milk and bread"}'),
    _choice({}, "tool_calls"),
    {"choices": [], "usage": _USAGE},
)
_SAID = _answer(
    _choice({"role": "assistant", "content": ""}),
    *(_choice({"content": word}) for word in WORDS),
    _choice({}, "stop"),
    {"choices": [], "usage": _USAGE},
)


class Model(asyncio.Protocol):
    """One connection."""

    turn: list[bytes] = []
    calls = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the other side."""
        self._transport: Any = transport
        self._data = b""

    def data_received(self, data: bytes) -> None:
        """Answer what is whole."""
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        found = _LENGTH.search(head)
        if end and len(body) >= (int(found[1]) if found else 0):
            self._data = b""
            self._answer(head.split(b" ", 2)[1], body)

    def _answer(self, path: bytes, body: bytes) -> None:
        if path == b"/turn":
            said = b"[%b]" % b",".join(Model.turn)
            head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(said)
            self._transport.write(head + said)
            return
        named = _MODEL.search(body)
        assert named is not None, body
        rounds, pause = map(int, named.groups())
        *_, asked = _USER.finditer(body)
        done = body.count(b'"tool_call_id"', asked.end())
        Model.turn = [body] if not done else [*Model.turn, body]
        answer = _SAID
        if done < rounds:
            Model.calls += 1
            answer = _CALL.replace(_ID, b"call_%010d" % Model.calls)
        if pause:
            loop = asyncio.get_running_loop()
            loop.call_later(pause / 1000, self._transport.write, answer)
        else:
            self._transport.write(answer)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Model, "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def serving() -> Iterator[str]:
    """Start the process; return the address that paths are put behind."""
    with subprocess.Popen((sys.executable, __file__), stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            yield f"http://127.0.0.1:{int(child.stdout.readline())}"
        finally:
            child.kill()


if __name__ == "__main__":
    asyncio.run(_serve())
