"""Redirects, limits and failures, against a network that exists only here."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager

import anyio
import httpx
import pytest
from rustyclaw_egress.client import USER_AGENT, Egress
from rustyclaw_egress.decoding import PIECE, Decoder
from rustyclaw_egress.errors import EgressError, FetchFailed, Refused
from rustyclaw_egress.policy import EgressPolicy
from rustyclaw_egress.transport import GuardedTransport

from .conftest import PUBLIC, FakeNetwork, FakeResolver, Stream

Make = Callable[..., AbstractAsyncContextManager[Egress]]
SECRETS = {"Authorization": "Bearer s3cret", "X-Api-Key": "s3cret", "Cookie": "a=b"}


def to(location: str, status: int = 302) -> httpx.Response:
    return httpx.Response(status, headers={"location": location})


async def test_the_connection_is_pinned_and_keeps_the_name(egress: Make) -> None:
    network = FakeNetwork()
    async with egress(network) as guard:
        answer = await guard.fetch("get", "https://Example.com:8443/a?b#c")

    (request,) = network.requests
    assert str(request.url) == f"https://{PUBLIC}:8443/a?b"
    assert request.headers["host"] == "example.com:8443"
    assert request.extensions["sni_hostname"] == "example.com"
    assert request.method == "GET"
    assert request.headers["user-agent"] == USER_AGENT
    assert (answer.status, answer.content, answer.cut) == (200, b"ok", None)
    assert answer.url == "https://example.com:8443/a?b"


async def test_a_name_is_looked_up_once_a_hop() -> None:
    resolver = FakeResolver({"x.example": [[PUBLIC], ["127.0.0.1"]]})
    network = FakeNetwork(httpx.ConnectError("refused"))
    async with Egress(resolver=resolver, inner=network) as guard:
        with pytest.raises(FetchFailed) as caught:
            await guard.fetch("GET", "http://x.example/")
    assert caught.value.reason == "connect"
    assert resolver.asked == ["x.example"]
    assert network.hosts == [PUBLIC]


async def test_the_next_address_is_tried(egress: Make) -> None:
    network = FakeNetwork(httpx.ConnectError("refused"), httpx.ConnectTimeout("slow"))
    dns = {"x.example": [["1.1.1.1", "2606:4700::1111", "9.9.9.9"]]}
    async with egress(network, dns) as guard:
        answer = await guard.fetch("POST", "http://x.example/", content=b"body")
    assert answer.status == 200
    assert network.hosts == ["1.1.1.1", "2606:4700::1111", "9.9.9.9"]
    assert [request.content for request in network.requests] == [b"body"] * 3


async def test_a_host_header_of_the_caller_is_not_believed(egress: Make) -> None:
    network = FakeNetwork()
    async with egress(network) as guard:
        await guard.fetch("GET", "http://x.example/", headers={"Host": "inner"})
    assert network.requests[0].headers.get_list("host") == ["x.example"]


# --- Redirects ------------------------------------------------------------------


async def test_redirects_are_followed_and_told(egress: Make) -> None:
    network = FakeNetwork(to("/b"), to("https://y.example/c?d"))
    async with egress(network) as guard:
        answer = await guard.fetch("GET", "http://x.example/a")
    assert answer.url == "https://y.example/c?d"
    assert answer.redirects == ("http://x.example/a", "http://x.example/b")


@pytest.mark.parametrize(
    ("location", "path"),
    [("/ü".encode(), "/%C3%BC"), ("/ü".encode("latin1"), "/%C3%BC")],
)
async def test_redirects_that_are_not_ascii(
    location: bytes, path: str, egress: Make
) -> None:
    first = httpx.Response(302, headers=[(b"Location", location)])
    async with egress(FakeNetwork(first)) as guard:
        answer = await guard.fetch("GET", "http://x.example/")
    assert answer.url == f"http://x.example{path}"


@pytest.mark.parametrize(("limit", "followed"), [(0, 1), (2, 3)])
async def test_redirects_are_counted(limit: int, followed: int, egress: Make) -> None:
    network = FakeNetwork(*(to("/") for _ in range(9)))
    async with egress(network, max_redirects=limit) as guard:
        with pytest.raises(Refused, match=f"more than {limit} times") as caught:
            await guard.fetch("GET", "http://x.example/")
    assert caught.value.reason == "redirects"
    assert len(network.requests) == followed


async def test_a_redirect_without_location_is_an_answer(egress: Make) -> None:
    async with egress(FakeNetwork(httpx.Response(302))) as guard:
        assert (await guard.fetch("GET", "http://x.example/")).status == 302


@pytest.mark.parametrize(
    ("location", "kept"),
    [
        ("/b", True),
        ("http://x.example:80/b", True),
        ("https://x.example/b", False),
        ("http://x.example:8080/b", False),
        ("http://y.example/b", False),
    ],
)
async def test_credentials_stay_with_their_origin(
    location: str, kept: bool, egress: Make
) -> None:
    back = to("http://x.example/again")
    network = FakeNetwork(to(location), back)
    async with egress(network) as guard:
        await guard.fetch(
            "GET", "http://x.example/", headers={**SECRETS, "Accept": "text/html"}
        )
    first, *rest = network.requests
    assert len(rest) == 2
    for name, value in SECRETS.items():
        assert first.headers[name] == value
        assert all((request.headers.get(name) == value) is kept for request in rest)
    assert all(request.headers["accept"] == "text/html" for request in rest)


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (301, "PUT", "PUT"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
    ],
)
async def test_methods(status: int, method: str, then: str, egress: Make) -> None:
    network = FakeNetwork(to("/b", status))
    body = b"" if method == "HEAD" else b"body"
    async with egress(network) as guard:
        await guard.fetch(
            method, "http://x.example/", content=body, headers={"Content-Type": "a/b"}
        )
    request = network.requests[1]
    assert request.method == then
    assert request.content == (body if then == method else b"")
    assert ("content-type" in request.headers) is (then == method)


async def test_a_body_is_not_handed_on_to_another_origin(egress: Make) -> None:
    network = FakeNetwork(to("http://y.example/", 307))
    async with egress(network) as guard:
        with pytest.raises(Refused, match="to another server") as caught:
            await guard.fetch("POST", "http://x.example/", content=b"s3cret")
    assert caught.value.reason == "redirects"
    assert len(network.requests) == 1


async def test_the_next_hop_may_be_elsewhere_now() -> None:
    resolver = FakeResolver({"x.example": [[PUBLIC], ["127.0.0.1"]]})
    network = FakeNetwork(to("/b"))
    async with Egress(resolver=resolver, inner=network) as guard:
        with pytest.raises(Refused) as caught:
            await guard.fetch("GET", "http://x.example/")
    assert caught.value.reason == "address"
    assert network.hosts == [PUBLIC]


# --- Limits ---------------------------------------------------------------------


@pytest.mark.parametrize(("size", "cut"), [(99, None), (100, None), (101, "size")])
async def test_bodies_are_limited(size: int, cut: str | None, egress: Make) -> None:
    network = FakeNetwork(httpx.Response(200, content=b"x" * size))
    async with egress(network, max_bytes=100) as guard:
        answer = await guard.fetch("GET", "http://x.example/", truncate=True)
        assert answer.content == b"x" * min(size, 100)
        assert answer.cut == cut
        small = await guard.fetch(
            "GET", "http://x.example/", truncate=True, max_bytes=1
        )
        assert small.content == b"o"


async def test_a_body_that_is_too_long_is_an_error(egress: Make) -> None:
    network = FakeNetwork(httpx.Response(200, content=b"x" * 101))
    async with egress(network, max_bytes=100) as guard:
        with pytest.raises(FetchFailed, match="over 100 bytes") as caught:
            await guard.fetch("GET", "http://x.example/", max_bytes=1000)
    assert caught.value.reason == "size"


async def test_headers_are_limited(egress: Make) -> None:
    network = FakeNetwork(httpx.Response(200, headers={"a": "x" * 2000}))
    async with egress(network, max_header_bytes=2000) as guard:
        with pytest.raises(FetchFailed) as caught:
            await guard.fetch("GET", "http://x.example/")
    assert caught.value.reason == "headers"


async def test_compressed_data_without_end_is_limited(egress: Make) -> None:
    """Blocks that hold nothing: no decoded byte ever reaches the limit."""

    async def nothing() -> AsyncGenerator[bytes, None]:
        yield gzip.compress(b"")[:10]
        while True:
            yield b"\0\0\0\xff\xff" * 1000

    body = Stream(nothing)
    headers = {"content-encoding": "gzip"}
    network = FakeNetwork(httpx.Response(200, headers=headers, stream=body))
    async with egress(network, max_bytes=1000) as guard:
        with anyio.fail_after(10), pytest.raises(FetchFailed) as caught:
            await guard.fetch("GET", "http://x.example/")
    assert caught.value.reason == "size"
    assert body.is_closed


async def slow() -> AsyncGenerator[bytes, None]:
    yield b"begun"
    await anyio.sleep_forever()


async def test_a_body_that_stalls(egress: Make) -> None:
    bodies = [Stream(slow), Stream(slow)]
    network = FakeNetwork(*(httpx.Response(200, stream=body) for body in bodies))
    async with egress(network, timeout_seconds=0.1) as guard:
        with pytest.raises(FetchFailed) as caught:
            await guard.fetch("GET", "http://x.example/")
        assert caught.value.reason == "timeout"
        answer = await guard.fetch("GET", "http://x.example/", truncate=True)
    assert (answer.content, answer.cut) == (b"begun", "timeout")
    assert all(body.is_closed for body in bodies)


async def test_the_time_is_that_of_all_hops(egress: Make) -> None:
    async def crawling(host: str) -> list[str]:
        await anyio.sleep(0.06)
        return [PUBLIC]

    network = FakeNetwork(*(to("/") for _ in range(20)))
    async with egress(
        network, crawling, max_redirects=20, timeout_seconds=0.2
    ) as guard:
        with anyio.fail_after(5), pytest.raises(FetchFailed) as caught:
            await guard.fetch("GET", "http://x.example/", timeout_seconds=60)
    assert caught.value.reason == "timeout"
    assert len(network.requests) < 5


async def test_cancelled_in_the_middle(egress: Make) -> None:
    body = Stream(slow)
    async with egress(FakeNetwork(httpx.Response(200, stream=body))) as guard:
        with anyio.move_on_after(0.05) as scope:
            await guard.fetch("GET", "http://x.example/")
    assert scope.cancelled_caught
    assert body.is_closed


async def test_a_stream_left_early_is_closed(egress: Make) -> None:
    body = Stream(slow)
    async with (
        egress(FakeNetwork(httpx.Response(200, stream=body))) as guard,
        guard.stream("GET", "http://x.example/") as incoming,
    ):
        assert incoming.status == 200
    assert body.is_closed


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (httpx.ConnectTimeout("slow"), "timeout"),
        (httpx.ReadTimeout("slow"), "timeout"),
        (httpx.ConnectError("refused"), "connect"),
        (httpx.RemoteProtocolError("nonsense"), "protocol"),
        (httpx.ReadError("broken"), "protocol"),
        (httpx.LocalProtocolError("bad header"), "protocol"),
    ],
)
async def test_failures(error: Exception, reason: str, egress: Make) -> None:
    async with egress(FakeNetwork(error)) as guard:
        with pytest.raises(FetchFailed, match=r"'x\.example'") as caught:
            await guard.fetch("GET", "http://x.example/?key=s3cret")
    assert caught.value.reason == reason
    assert "s3cret" not in str(caught.value)


async def test_a_body_that_breaks_off(egress: Make) -> None:
    async def broken() -> AsyncGenerator[bytes, None]:
        yield b"x"
        raise httpx.ReadError("gone")

    network = FakeNetwork(httpx.Response(200, stream=Stream(broken)))
    async with egress(network) as guard:
        with pytest.raises(FetchFailed) as caught:
            await guard.fetch("GET", "http://x.example/", truncate=True)
    assert caught.value.reason == "protocol"


# --- Compression ----------------------------------------------------------------


def deflated(data: bytes, bits: int) -> bytes:
    packer = zlib.compressobj(wbits=bits)
    return packer.compress(data) + packer.flush()


PLAIN = bytes(range(256)) * 1000


@pytest.mark.parametrize("step", [1, 7, 1000, 10**6])
@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("", PLAIN),
        ("identity", PLAIN),
        ("gzip", gzip.compress(PLAIN)),
        ("X-GZIP", gzip.compress(PLAIN[:5]) + gzip.compress(PLAIN[5:])),
        ("gzip", gzip.compress(PLAIN) + b"\0\0"),
        ("deflate", deflated(PLAIN, 15)),
        ("deflate", deflated(PLAIN, -15)),
    ],
)
def test_decoded(encoding: str, data: bytes, step: int) -> None:
    decoder = Decoder(encoding)
    pieces = [
        piece
        for start in range(0, len(data), step)
        for piece in decoder.feed(data[start : start + step])
    ]
    decoder.end()
    assert b"".join(pieces) == PLAIN
    assert max(map(len, pieces)) <= PIECE


def test_a_bomb_goes_off_in_pieces() -> None:
    bomb = gzip.compress(bytes(50 << 20))
    decoder = Decoder("gzip")
    assert {len(piece) for piece in decoder.feed(bomb)} == {PIECE}


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("br", b"x"),
        ("gzip, gzip", b"x"),
        ("zstd", b"x"),
        ("gzip", b"no gzip"),
        ("deflate", b"\xff\xff"),
        ("gzip", gzip.compress(PLAIN)[:-9]),
    ],
)
async def test_broken_compression(encoding: str, body: bytes, egress: Make) -> None:
    stream = httpx.ByteStream(body)
    response = httpx.Response(
        200, headers={"content-encoding": encoding}, stream=stream
    )
    async with egress(FakeNetwork(response)) as guard:
        with pytest.raises(FetchFailed) as caught:
            await guard.fetch("GET", "http://x.example/")
    assert caught.value.reason == "encoding"


async def test_a_body_that_blocks_is_not_sent() -> None:
    transport = GuardedTransport(resolver=FakeResolver(), inner=FakeNetwork())
    request = httpx.Request("POST", "http://x.example/", content=iter([b"x"]))
    with pytest.raises(FetchFailed, match="not asynchronous"):
        await transport.handle_async_request(request)


# --- As a transport of another client -------------------------------------------


async def test_no_client_gets_around_it() -> None:
    network = FakeNetwork(to("http://127.0.0.1:18789/"))
    transport = GuardedTransport(EgressPolicy(), resolver=FakeResolver(), inner=network)
    async with httpx.AsyncClient(transport=transport, follow_redirects=True) as client:
        with pytest.raises(EgressError):
            await client.get("https://x.example/")
        assert (await client.get("https://x.example/")).text == "ok"
    assert network.hosts == [PUBLIC, PUBLIC]
