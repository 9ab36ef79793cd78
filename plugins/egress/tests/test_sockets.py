"""Against servers on real sockets of this machine, which the policy must allow."""

from __future__ import annotations

import gzip
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from rustyclaw_egress.client import Egress
from rustyclaw_egress.errors import FetchFailed, Refused
from rustyclaw_egress.policy import EgressPolicy
from rustyclaw_egress.transport import trusted

Handler = Callable[[SocketStream, bytes], Awaitable[None]]


class Server:
    """A server that hands the head of each request to a handler.

    :param handler: Writes the answer; the connection is closed afterwards.
    """

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.heads: list[bytes] = []
        self.port = 0

    @asynccontextmanager
    async def serve(self) -> AsyncGenerator[Server, None]:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        self.port = listener.extra(SocketAttribute.local_port)
        async with listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, self._connection)
            yield self
            group.cancel_scope.cancel()

    async def _connection(self, stream: SocketStream) -> None:
        async with stream:
            head = b""
            try:
                while b"\r\n\r\n" not in head and not head.startswith(b"\x16"):
                    head += await stream.receive()
                self.heads.append(head)
                await self.handler(stream, head)
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                pass  # the client has left


def raw(*pieces: bytes, hang: bool = False) -> Handler:
    """Return a handler that sends bytes, then closes or stays silent."""

    async def answer(stream: SocketStream, head: bytes) -> None:
        for piece in pieces:
            await stream.send(piece)
        if hang:
            await anyio.sleep_forever()

    return answer


def client(server: Server, **policy: object) -> Egress:
    hosts = [f"127.0.0.1:{server.port}", f"localhost:{server.port}"]
    return Egress(EgressPolicy.model_validate({"allowed_hosts": hosts, **policy}))


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_fetch(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with Server(raw(OK)).serve() as server, client(server) as egress:
        url = f"http://{host}:{server.port}/a?b"
        for _ in range(2):
            assert (await egress.fetch("GET", url)).content == b"ok"
        with pytest.raises(Refused):
            await egress.fetch("GET", f"http://127.0.0.2:{server.port}/")
    assert len(server.heads) == 2
    request, *headers = server.heads[0].decode().lower().split("\r\n")
    assert request == "get /a?b http/1.1"
    assert f"host: {host}:{server.port}" in headers


async def test_nothing_here_is_reached_without_being_allowed() -> None:
    async with Server(raw(OK)).serve() as server, Egress() as egress:
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::1]"):
            with pytest.raises(Refused):
                await egress.fetch("GET", f"http://{host}:{server.port}/")
        opened = EgressPolicy(ports=[server.port], allow_private=True)
        async with Egress(opened) as wide:
            with pytest.raises(Refused):
                await wide.fetch("GET", f"http://127.0.0.1:{server.port}/")
    assert server.heads == []


async def test_compressed_and_chunked() -> None:
    body = gzip.compress(b"x" * 100_000)
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    chunks = [b"%x\r\n%s\r\n" % (1, bytes([byte])) for byte in body]
    server = Server(raw(head, *chunks, b"0\r\n\r\n"))
    async with server.serve(), client(server) as egress:
        url = f"http://127.0.0.1:{server.port}/"
        assert (await egress.fetch("GET", url)).content == b"x" * 100_000
        cut = await egress.fetch("GET", url, max_bytes=10, truncate=True)
        assert (cut.content, cut.cut) == (b"x" * 10, "size")


async def test_streaming() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n"
    server = Server(raw(head, b"x" * 300_000))
    async with server.serve(), client(server) as egress:
        url = f"http://127.0.0.1:{server.port}/"
        async with egress.stream("GET", url) as incoming:
            assert incoming.headers["content-length"] == "300000"
            size = 0
            async for chunk in incoming.chunks():
                size += len(chunk)
        assert size == 300_000
        async with egress.stream("GET", url) as incoming:
            assert await anext(incoming.chunks())  # and no more
        with pytest.raises(FetchFailed, match="over 1000 bytes"):
            await egress.fetch("GET", url, max_bytes=1000)


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (raw(hang=True), "timeout"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Le", hang=True), "timeout"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", hang=True), "timeout"),
        (raw(), "protocol"),
        (raw(b"SSH-2.0-OpenSSH\r\n"), "protocol"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"), "protocol"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), "protocol"),
        (raw(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 40_000), "protocol"),
        (raw(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 11_000, b"\r\n"), "headers"),
        (raw(b"HTTP/1.1 302 OK\r\nLocation: file:///etc/passwd\r\n\r\n"), "scheme"),
    ],
)
async def test_bad_servers(handler: Handler, reason: str) -> None:
    server = Server(handler)
    seconds = 0.3 if reason == "timeout" else 20
    async with server.serve(), client(server, timeout_seconds=seconds) as egress:
        with anyio.fail_after(30), pytest.raises((FetchFailed, Refused)) as caught:
            await egress.fetch("GET", f"http://127.0.0.1:{server.port}/")
    assert caught.value.reason == reason


async def test_nobody_listens() -> None:
    async with Server(raw()).serve() as server:
        pass
    async with client(server) as egress:
        with pytest.raises(FetchFailed) as caught:
            await egress.fetch("GET", f"http://127.0.0.1:{server.port}/")
    assert caught.value.reason == "connect"


async def test_tls_asks_for_the_name_and_wants_a_certificate() -> None:
    """The server sees the name in the first bytes of TLS, then talks nonsense."""
    server = Server(raw(b"no TLS at all"))
    async with server.serve(), client(server) as egress:
        with pytest.raises(FetchFailed) as caught:
            await egress.fetch("GET", f"https://localhost:{server.port}/")
    assert caught.value.reason == "tls"
    assert b"localhost" in server.heads[0]
    assert trusted().verify_mode is ssl.CERT_REQUIRED
    assert trusted().check_hostname
