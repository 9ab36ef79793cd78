"""A vendor that answers from a script, over a real loopback socket."""

from __future__ import annotations

import json
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self

import anyio
import h11
import pytest
from anyio.abc import SocketAttribute, SocketStream, TaskGroup

#: How an answer ends: whole; without its last piece; with a TCP reset; never.
End = Literal["eof", "cut", "reset", "hang"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the vendor answers to one request.

    :param chunks: Each becomes a TCP write of its own. A number is a pause in
        seconds.
    :param delay_seconds: Before the first byte.
    """

    status: int = 200
    headers: Mapping[str, str] = field(
        default_factory=lambda: {"content-type": "text/event-stream"}
    )
    chunks: Iterable[bytes | float] = ()
    end: End = "eof"
    delay_seconds: float = 0.0

    @classmethod
    def sse(cls, *events: Any, **fields: Any) -> Answer:
        """Stream events: texts as they are, all else as JSON.

        A pair is the type of an event and its data.
        """
        chunks: list[bytes | float] = []
        for event in events:
            name, data = event if isinstance(event, tuple) else ("", event)
            if isinstance(data, float):
                chunks.append(data)
                continue
            text = data if isinstance(data, str) else json.dumps(data)
            head = f"event: {name}\n" if name else ""
            chunks.append(f"{head}data: {text}\n\n".encode())
        return cls(chunks=chunks, **fields)

    @classmethod
    def lines(cls, *values: Any, **fields: Any) -> Answer:
        """Stream JSON values, one a line, as Ollama does."""
        headers = {"content-type": "application/x-ndjson"}
        chunks = [json.dumps(value).encode() + b"\n" for value in values]
        return cls(**{"headers": headers, "chunks": chunks, **fields})

    @classmethod
    def json(
        cls, body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Answer with JSON, as errors and lists of models do."""
        data = json.dumps(body).encode()
        head = {"content-type": "application/json", "content-length": str(len(data))}
        return cls(status=status, headers={**head, **(headers or {})}, chunks=[data])


@dataclass(slots=True, kw_only=True)
class Received:
    """A request as it arrived.

    :param connection: Counts connections from 1 on.
    :ivar left: Set once the client has gone before the answer was whole.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: int
    left: anyio.Event = field(default_factory=anyio.Event)

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


Answering = Answer | Callable[[Received], Answer]


class FakeVendor:
    """A scripted vendor; enter it, point a provider at ``url``.

    :param default: Answers once the script has ended.
    :ivar requests: All requests so far.
    """

    def __init__(self, *script: Answering, default: Answering | None = None) -> None:
        self.requests: list[Received] = []
        self.default = default
        self.connections = 0
        self._script = deque(script)
        self._url = ""
        self._arrival = anyio.Event()
        self._tasks: TaskGroup

    @property
    def url(self) -> str:
        """Address without a path."""
        return self._url

    def script(self, *answers: Answering) -> None:
        """Add answers, one for each request to come."""
        self._script.extend(answers)

    async def arrived(self, count: int = 1) -> Received:
        """Return request number ``count`` as soon as it is there."""
        while len(self.requests) < count:
            await self._arrival.wait()
        return self.requests[count - 1]

    async def __aenter__(self) -> Self:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(SocketAttribute.local_port)  # noqa: S610 - no Django
        self._url = f"http://127.0.0.1:{port}"
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._serve, listener)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(exc_type, exc, traceback)

    async def _serve(self, listener: Any) -> None:
        async with listener:
            await listener.serve(self._connection)

    async def _connection(self, stream: SocketStream) -> None:
        self.connections += 1
        number = self.connections
        async with stream:
            _socket(stream).setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wire = h11.Connection(h11.SERVER)
            while (received := await self._request(stream, wire, number)) is not None:
                if not await _answer(stream, wire, received, self._next(received)):
                    return
                wire.start_next_cycle()

    def _next(self, received: Received) -> Answer:
        self.requests.append(received)
        self._arrival.set()
        self._arrival = anyio.Event()
        found = self._script.popleft() if self._script else self.default
        if found is None:
            text = "the script of the fake vendor has no answer for this request"
            return Answer.json({"error": {"message": text}}, status=418)
        return found(received) if callable(found) else found

    async def _request(
        self, stream: SocketStream, wire: h11.Connection, number: int
    ) -> Received | None:
        """Return the next request of a connection, or ``None`` at its end."""
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = wire.next_event()
            if event is h11.NEED_DATA:
                try:
                    wire.receive_data(await stream.receive())
                except anyio.EndOfStream:
                    wire.receive_data(b"")
                except (anyio.BrokenResourceError, OSError):
                    return None
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return Received(
                    method=head.method.decode(),
                    target=head.target.decode(),
                    headers={k.decode().lower(): v.decode() for k, v in head.headers},
                    body=bytes(body),
                    connection=number,
                )
            else:
                return None


async def _answer(
    stream: SocketStream, wire: h11.Connection, received: Received, answer: Answer
) -> bool:
    """Send an answer, unless the client leaves; return whether it may ask again."""
    whole = False
    early: list[bytes] = []  # a next request may come before we stop watching
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_watch, stream, early)
            whole = await _play(stream, wire, answer)
            tasks.cancel_scope.cancel()
    except* (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
        received.left.set()
        whole = False
    if early:
        wire.receive_data(b"".join(early))
    return whole and wire.our_state is h11.DONE


async def _play(stream: SocketStream, wire: h11.Connection, answer: Answer) -> bool:
    """Send an answer; return whether the connection can be used again."""
    await anyio.sleep(answer.delay_seconds)
    names = {name.lower() for name in answer.headers}
    framing = {} if "content-length" in names else {"transfer-encoding": "chunked"}
    head = h11.Response(
        status_code=answer.status, headers=[*{**answer.headers, **framing}.items()]
    )
    await stream.send(wire.send(head) or b"")
    for chunk in answer.chunks:
        if isinstance(chunk, bytes):
            if chunk:
                await stream.send(wire.send(h11.Data(data=chunk)) or b"")
        else:
            await anyio.sleep(chunk)
    if answer.end == "hang":
        await anyio.sleep_forever()
    if answer.end == "reset":
        linger = struct.pack("ii", 1, 0)  # closing now sends RST
        _socket(stream).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    if answer.end != "eof":
        return False
    await stream.send(wire.send(h11.EndOfMessage()) or b"")
    return True


async def _watch(stream: SocketStream, early: list[bytes]) -> None:
    """Notice that the client leaves while it is answered."""
    try:
        while True:
            early.append(await stream.receive())
    except anyio.EndOfStream:
        raise anyio.BrokenResourceError from None


def _socket(stream: SocketStream) -> socket.socket:
    raw: socket.socket = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - as above
    return raw


@pytest.fixture
async def vendor(anyio_backend: Any) -> AsyncIterator[FakeVendor]:
    """Yield a running vendor without a script."""
    async with FakeVendor() as fake:
        yield fake
