"""Connections: kept, given up, and what a vendor may do to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute
from rustyclaw import TextDelta
from rustyclaw_http import lines
from rustyclaw_http.provider import HttpProvider
from rustyclaw_http.testing.hearing import hear, request
from rustyclaw_http.testing.server import Answer, FakeVendor

from .conftest import Acme

HELLO = ({"text": "Hello"}, "[DONE]")
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
BODY = b'data: {"text": "Hello"}\n\ndata: [DONE]\n\n'
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
WHOLE = HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY


class Raw:
    """A vendor of bytes: each connection is handled by the same function."""

    def __init__(self, handle: Callable[[ByteStream], Awaitable[None]]) -> None:
        self._handle = handle
        self.connections = 0

    async def __call__(self, stream: ByteStream) -> None:
        self.connections += 1
        async with stream:
            try:
                await self._handle(stream)
            except (anyio.BrokenResourceError, anyio.EndOfStream):
                return


@asynccontextmanager
async def serving(raw: Raw) -> AsyncIterator[str]:
    """Serve on loopback; yield the address."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, raw)
        yield f"http://localhost:{port}"
        tasks.cancel_scope.cancel()


async def asked(stream: ByteStream) -> None:
    """Read a request to its end."""
    data = b""
    while b"\r\n\r\n" not in data or not data.endswith(b"}"):
        data += await stream.receive()


def saying(answer: bytes, times: int = 99) -> Raw:
    """Return a vendor that says the same to each request, and then hangs up."""

    async def handle(stream: ByteStream) -> None:
        for _ in range(times):
            await asked(stream)
            await stream.send(answer)

    return Raw(handle)


async def test_a_vendor_that_hangs_up_between_requests(acme: Acme) -> None:
    raw = saying(WHOLE, times=1)
    async with serving(raw) as url, acme(base_url=url) as provider:
        for _ in range(3):
            assert (await hear(provider, request())).text == "Hello"
            await anyio.wait_all_tasks_blocked()
    assert raw.connections == 3


@pytest.mark.parametrize(
    ("answer", "connections"),
    [
        (WHOLE, 1),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n" + CHUNKS, 1),
        (WHOLE.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1), 2),
        (b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + WHOLE, 1),
    ],
    ids=["length", "chunks", "close", "hints"],
)
async def test_a_connection_is_used_again_if_it_may(
    acme: Acme, answer: bytes, connections: int
) -> None:
    raw = saying(answer)
    async with serving(raw) as url, acme(base_url=url) as provider:
        for _ in range(2):
            assert (await hear(provider, request())).text == "Hello"
    assert raw.connections == connections


async def test_what_ends_with_the_connection(acme: Acme) -> None:
    raw = saying(HEAD + b"\r\n" + BODY, times=1)
    async with serving(raw) as url, acme(base_url=url) as provider:
        assert (await hear(provider, request())).text == "Hello"


async def test_old_connections_are_not_used(
    acme: Acme, vendor: FakeVendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "IDLE_SECONDS", 0.01)
    vendor.default = Answer.sse(*HELLO)
    async with acme() as provider:
        for _ in range(2):
            await hear(provider, request())
            await anyio.sleep(0.02)
    assert [received.connection for received in vendor.requests] == [1, 2]


async def crowd(provider: HttpProvider) -> lines.Lines:
    """Have five requests go on at once; return the connections when they ended."""
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(hear, provider, request())
    (transport,) = provider.client._transports.values()
    assert isinstance(transport, lines.Lines)
    return transport


async def test_old_connections_do_not_stay_open(
    acme: Acme, vendor: FakeVendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "IDLE_SECONDS", 0.01)
    vendor.default = Answer.sse({"text": "a"}, 0.05, "[DONE]")
    async with acme() as provider:
        kept = await crowd(provider)
        await hear(provider, request())
        assert len(kept._idle) == 1


async def test_few_connections_wait(
    acme: Acme, vendor: FakeVendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "MAX_IDLE", 2)
    vendor.default = Answer.sse({"text": "a"}, 0.05, "[DONE]")
    async with acme() as provider:
        kept = await crowd(provider)
        assert len(kept._idle) == 2


async def test_connections_are_bounded_and_come_back(
    acme: Acme, vendor: FakeVendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "MAX_CONNECTIONS", 1)
    vendor.script(Answer(chunks=[b": still here\n\n", 0.05] * 99))
    vendor.default = Answer.sse(*HELLO)
    async with acme(idle_timeout_seconds=0.3) as provider:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hear, provider, request())
            await vendor.arrived()
            heard = await hear(provider, request())
            tasks.cancel_scope.cancel()
        assert "could not be reached in time" in str(heard.error)
        assert (await hear(provider, request())).text == "Hello"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio warns of the library
async def test_a_refusal_before_the_request_is_whole(acme: Acme) -> None:
    refusal = (
        b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )

    async def refuse(stream: ByteStream) -> None:
        await stream.receive()
        await stream.send(refusal)

    text = "x" * 20_000_000
    async with serving(Raw(refuse)) as url, acme(base_url=url) as provider:
        heard = await hear(provider, request(text))
    assert heard.error is not None
    assert heard.error.kind in ("context_overflow", "format", "timeout")


async def test_a_head_that_drips(acme: Acme) -> None:
    async def drip(stream: ByteStream) -> None:
        await asked(stream)
        await stream.send(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        while True:
            await stream.send(b"0")
            await anyio.sleep(0.05)

    fields = {"idle_timeout_seconds": 0.3, "total_timeout_seconds": 0.5}
    async with serving(Raw(drip)) as url, acme(base_url=url, **fields) as provider:
        with anyio.fail_after(3):
            heard = await hear(provider, request())
    assert heard.error is not None
    assert heard.error.kind == "timeout"


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-OpenSSH_9.6\r\n", HEAD + b"x" * 200_000]
)
async def test_what_is_no_answer(acme: Acme, answer: bytes) -> None:
    raw = saying(answer, times=1)
    async with serving(raw) as url, acme(base_url=url) as provider:
        heard = await hear(provider, request())
    assert heard.error is not None
    assert heard.error.kind == "timeout"
    assert "broke off" in str(heard.error)


async def test_leaving_in_the_middle(acme: Acme, vendor: FakeVendor) -> None:
    vendor.script(Answer.sse({"text": "a"}, end="hang"), Answer.sse(*HELLO))
    async with acme() as provider:
        stream = provider.stream(request())
        assert await anext(stream) == TextDelta(text="a")
        await stream.aclose()  # type: ignore[attr-defined]  # it is a generator
        assert (await hear(provider, request())).text == "Hello"
    assert [received.connection for received in vendor.requests] == [1, 2]
