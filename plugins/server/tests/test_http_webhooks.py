"""Routes of plugins: bounds before a handler is asked, odd paths, streamed answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import anyio
import pytest
from rustyclaw import Busy, Route, WebRequest, WebResponse

from .conftest import Running, serving
from .web import Web, dial, head, say


class Platform:
    """Routes of a plugin, and what they were asked."""

    def __init__(self) -> None:
        self.seen: list[WebRequest] = []
        self.closed = anyio.Event()
        self.answer: Callable[[], WebResponse] = WebResponse

    async def take(self, request: WebRequest) -> WebResponse:
        self.seen.append(request)
        return self.answer()

    async def pieces(self) -> AsyncIterator[bytes]:
        try:
            yield b"first "
            yield b"second"
        finally:
            self.closed.set()

    async def endless(self) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 65_536
        finally:
            self.closed.set()

    async def broken(self) -> AsyncIterator[bytes]:
        try:
            yield b"first "
            raise ValueError("boom")
        finally:
            self.closed.set()


@pytest.fixture
def settings() -> Mapping[str, Any]:
    return {"limits": {"body_seconds": 0.3, "send_seconds": 0.5}}


@pytest.fixture
def platform(running: Running) -> Platform:
    return mounted(running)


def mounted(running: Running) -> Platform:
    """Return a platform whose routes a server has."""
    platform = Platform()
    for method, path, limit in (
        ("POST", "/line/webhook", 1000),
        ("GET", "/line/webhook", 1000),
        ("GET", "/files/*", 1000),
        ("POST", "/files/upload", 2000),
        ("PUT", "/only/put", 1000),
    ):
        route = Route(
            method=method, path=path, handler=platform.take, max_body_bytes=limit
        )
        running.gateway.routes.add(route, owner="line")
    return platform


@pytest.fixture(scope="module")
async def quiet(
    tmp_path_factory: pytest.TempPathFactory, anyio_backend: Any
) -> AsyncIterator[Running]:
    """Yield a server whose routes are never asked."""
    async with serving(tmp_path_factory.mktemp("quiet")) as running:
        platform = mounted(running)
        yield running
        assert platform.seen == []


@pytest.fixture
async def web(running: Running) -> AsyncIterator[Web]:
    async with Web(running.url) as web:
        yield web


async def test_a_request_arrives_as_it_was_sent(web: Web, platform: Platform) -> None:
    body = b'{"a": 1}\r\n\x00\xff'
    answer = await web.post(
        "/line/webhook?x=%20y", content=body, headers={"X-Sig": "s"}
    )
    assert answer.status_code == 200
    (request,) = platform.seen
    assert (request.method, request.path, request.query) == (
        "POST",
        "/line/webhook",
        "x=%20y",
    )
    assert request.body == body
    assert request.headers["x-sig"] == "s"
    assert request.peer == "127.0.0.1"


async def test_methods(web: Web, platform: Platform) -> None:
    wrong = await web.delete("/line/webhook")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD, POST")
    assert (await web.get("/only/put")).headers["allow"] == "PUT"
    assert (await web.get("/nothing/here")).status_code == 404
    assert platform.seen == []
    platform.answer = lambda: WebResponse(body=b"page", headers={"etag": "1"})
    answer = await web.head("/line/webhook")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == "4"
    assert platform.seen[0].method == "HEAD"
    assert (await web.get("/files/a/b")).content == b"page"
    await web.post("/files/upload", content=b"x" * 1500)
    assert [request.path for request in platform.seen[1:]] == [
        "/files/a/b",
        "/files/upload",
    ]


@pytest.mark.parametrize(
    "path",
    [
        "/files/../line/webhook",
        "/files/..",
        "/files/./a",
        "/files/%2e%2e/line/webhook",
        "/files/..%2fetc",
        "/files/a%2Fb",
        "/files/a%5cb",
        "/files/a\\b",
        "/files/%00",
        "/files/a%0ab",
        "/files//etc/passwd",
        "/files/%252e%252e/x",
        "//files/a",
    ],
)
async def test_odd_paths_reach_nobody(path: str, quiet: Running) -> None:
    answer = await say(quiet.url, head("GET", path))
    assert answer.startswith(b"HTTP/1.1 400 ")


# --- Bounds -------------------------------------------------------------------------


async def test_a_large_body_is_refused_unread(
    running: Running, platform: Platform
) -> None:
    lines = {"content-length": "104857600"}
    answer = await say(running.url, head("POST", "/line/webhook", lines))
    assert answer.startswith(b"HTTP/1.1 413 ")
    chunked = head("POST", "/line/webhook", {"transfer-encoding": "chunked"})
    chunk = b"200\r\n" + b"x" * 512 + b"\r\n"
    answer = await say(running.url, chunked, chunk, chunk, b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert platform.seen == []


async def test_a_body_without_a_length_is_taken(
    running: Running, platform: Platform
) -> None:
    chunked = head("POST", "/line/webhook", {"transfer-encoding": "chunked"})
    answer = await say(running.url, chunked, b"3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert platform.seen[0].body == b"abcde"


async def test_a_slow_body_has_a_deadline(running: Running, platform: Platform) -> None:
    lines = {"content-length": "10"}
    with anyio.fail_after(5):
        answer = await say(running.url, head("POST", "/line/webhook", lines) + b"abc")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert platform.seen == []


async def test_a_body_that_breaks_off_reaches_nobody(
    running: Running, platform: Platform, web: Web
) -> None:
    lines = {"content-length": "10"}
    async with dial(running.url) as stream:
        await stream.send(head("POST", "/line/webhook", lines) + b"abc")
    assert (await web.post("/line/webhook", content=b"whole")).status_code == 200
    assert [request.body for request in platform.seen] == [b"whole"]


async def test_too_many_headers_are_refused(
    running: Running, platform: Platform
) -> None:
    for size, number in ((1000, 100), (1, 300)):
        lines = {f"x-{n}": "y" * size for n in range(number)}
        answer = await say(running.url, head("POST", "/line/webhook", lines))
        assert answer.startswith(b"HTTP/1.1 431 ")
    assert platform.seen == []


# --- Answers ------------------------------------------------------------------------


async def test_a_platform_delivers_again_what_was_not_taken(
    web: Web, platform: Platform
) -> None:
    def busy() -> WebResponse:
        raise Busy("full")

    def broken() -> WebResponse:
        raise ValueError("internal detail")

    platform.answer = busy
    answer = await web.post("/line/webhook")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    platform.answer = broken
    answer = await web.post("/line/webhook")
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")


async def test_an_answer_comes_piece_by_piece(web: Web, platform: Platform) -> None:
    headers = {"content-type": "text/plain", "cache-control": "max-age=60"}
    platform.answer = lambda: WebResponse(body=platform.pieces(), headers=headers)
    answer = await web.get("/line/webhook")
    assert answer.text == "first second"
    assert answer.headers["cache-control"] == "max-age=60"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert platform.closed.is_set()


async def test_only_the_head_of_a_streamed_answer(web: Web, platform: Platform) -> None:
    platform.answer = lambda: WebResponse(body=platform.endless())
    answer = await web.head("/line/webhook")
    assert (answer.status_code, answer.content) == (200, b"")


async def test_a_client_that_leaves_closes_the_iterator(
    running: Running, platform: Platform
) -> None:
    platform.answer = lambda: WebResponse(body=platform.endless())
    async with dial(running.url) as stream:
        await stream.send(head("GET", "/line/webhook"))
        assert (await stream.receive()).startswith(b"HTTP/1.1 200 ")
    with anyio.fail_after(5):
        await platform.closed.wait()


async def test_a_client_that_does_not_read_is_dropped(
    running: Running, platform: Platform
) -> None:
    platform.answer = lambda: WebResponse(body=platform.endless())
    async with dial(running.url) as stream:
        await stream.send(head("GET", "/line/webhook"))
        with anyio.fail_after(5):
            await platform.closed.wait()


async def test_an_answer_that_breaks_does_not_look_whole(
    running: Running, platform: Platform
) -> None:
    platform.answer = lambda: WebResponse(body=platform.broken())
    answer = await say(running.url, head("GET", "/line/webhook"))
    assert b"200 OK" in answer
    assert not answer.endswith(b"0\r\n\r\n")
    assert platform.closed.is_set()
