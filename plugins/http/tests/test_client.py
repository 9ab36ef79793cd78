"""The exchange with a vendor, over real sockets: what is sent, and what goes wrong."""

from __future__ import annotations

import gzip
import json
import socket
from contextlib import aclosing
from typing import Any

import anyio
import pytest
from rustyclaw import Finished, ProviderError, TextDelta
from rustyclaw_http import client as client_module
from rustyclaw_http.client import VendorClient
from rustyclaw_http.config import ProviderConfig
from rustyclaw_http.encoding import encode
from rustyclaw_http.testing.hearing import Hearing, hear, request
from rustyclaw_http.testing.server import Answer, FakeVendor

from .conftest import KEY, Acme

HELLO = ({"text": "Hello"}, {"text": " world"}, "[DONE]")
SSE = {"content-type": "text/event-stream"}


async def said(
    acme: Acme, vendor: FakeVendor, answer: Answer, **fields: Any
) -> Hearing:
    vendor.script(answer)
    async with acme(**fields) as provider:
        return await hear(provider, request())


async def test_what_is_sent(acme: Acme, vendor: FakeVendor) -> None:
    heard = await said(acme, vendor, Answer.sse(*HELLO), headers={"x-team": "blue"})

    (received,) = vendor.requests
    assert heard.text == "Hello world"
    assert (received.method, received.target) == ("POST", "/v1/talk")
    assert received.json == {"model": "m", "text": "hi"}
    assert received.headers["authorization"] == f"Bearer {KEY}"
    assert received.headers["content-type"] == "application/json"
    assert received.headers["accept"] == "text/event-stream"
    assert received.headers["user-agent"] == "rustyclaw"
    assert received.headers["x-team"] == "blue"


async def test_a_connection_is_used_again(acme: Acme, vendor: FakeVendor) -> None:
    vendor.default = Answer.sse(*HELLO)
    async with acme() as provider:
        for _ in range(3):
            assert (await hear(provider, request())).text == "Hello world"

    assert [received.connection for received in vendor.requests] == [1, 1, 1]


async def test_many_requests_at_once(acme: Acme, vendor: FakeVendor) -> None:
    vendor.default = Answer.sse({"text": "a"}, 0.02, {"text": "b"}, "[DONE]")
    heard: list[str] = []
    async with acme() as provider:

        async def ask() -> None:
            heard.append((await hear(provider, request())).text)

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(ask)

    assert heard == ["ab"] * 20


async def test_closing_the_stream_closes_the_connection(
    acme: Acme, vendor: FakeVendor
) -> None:
    vendor.script(Answer.sse({"text": "Hel"}, end="hang"), Answer.sse(*HELLO))
    async with acme() as provider:
        async with aclosing(provider.stream(request())) as stream:  # type: ignore[type-var]  # it is a generator
            assert await anext(stream) == TextDelta(text="Hel")
        with anyio.fail_after(2):
            await vendor.requests[0].left.wait()
        assert (await hear(provider, request())).text == "Hello world"


async def test_cancelling_closes_the_connection(acme: Acme, vendor: FakeVendor) -> None:
    vendor.script(Answer.sse({"text": "Hel"}, end="hang"))
    async with acme() as provider:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hear, provider, request())
            received = await vendor.arrived()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(2):
            await received.left.wait()


@pytest.mark.parametrize("cut", [1, 2, 3, 5])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
async def test_pieces_of_bytes(
    acme: Acme, vendor: FakeVendor, cut: int, end: str
) -> None:
    text = 'data: {"text": "Grüße 🦀"}\n\n: comment\n\nid: 7\ndata:[DONE]\n\n'
    data = b"\xef\xbb\xbf" + text.replace("\n", end).encode()
    pieces = [data[i : i + cut] for i in range(0, len(data), cut)]

    heard = await said(acme, vendor, Answer(chunks=pieces))

    assert heard.text == "Grüße 🦀"


async def test_the_charset_is_always_utf8(acme: Acme, vendor: FakeVendor) -> None:
    answer = Answer.sse(
        '{"text": "ü"}',
        "[DONE]",
        headers={"content-type": "text/event-stream; charset=latin-1"},
    )
    assert (await said(acme, vendor, answer)).text == "ü"


async def test_what_follows_the_end_is_dropped(acme: Acme, vendor: FakeVendor) -> None:
    answer = Answer.sse(*HELLO, {"text": "!"}, end="hang")
    heard = await said(acme, vendor, answer)
    assert heard.text == "Hello world"
    assert isinstance(heard.finished, Finished)


@pytest.mark.parametrize("end", ["cut", "reset"])
async def test_breaking_off_after_the_end_is_no_failure(
    acme: Acme, vendor: FakeVendor, end: Any
) -> None:
    assert (await said(acme, vendor, Answer.sse(*HELLO, end=end))).finished


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (Answer.sse({"text": "a"}, end="cut"), "timeout", "broke off"),
        (Answer.sse({"text": "a"}, end="reset"), "timeout", "broke off"),
        (Answer.sse({"text": "a"}), "timeout", "cut off"),
        (Answer.sse({"text": "a"}, end="hang"), "timeout", "fell silent"),
        (Answer(chunks=[], end="hang"), "timeout", "fell silent"),
        (Answer(delay_seconds=9), "timeout", "fell silent"),
        (Answer(status=500, end="cut"), "timeout", "answered 500"),
        (Answer(status=429, end="hang"), "rate_limit", "answered 429"),
        (Answer.json({"text": "a"}), "timeout", "'application/json'"),
        (
            Answer.json({"error": {"code": 402, "message": "No credit"}}),
            "billing",
            "402",
        ),
        (Answer(headers={}, chunks=[b"data: x\n\n"]), "timeout", "no content type"),
        (
            Answer(headers={**SSE, "content-encoding": "gzip"}, chunks=[b"no gzip"]),
            "timeout",
            "decompressed",
        ),
        (
            Answer(
                headers={**SSE, "content-encoding": "gzip"},
                chunks=[gzip.compress(b'data: {"text": "a"}\n\n' * 99)[:40]],
            ),
            "timeout",
            "",
        ),
    ],
)
async def test_failures(
    acme: Acme, vendor: FakeVendor, answer: Answer, kind: str, words: str
) -> None:
    heard = await said(acme, vendor, answer, idle_timeout_seconds=0.2)

    assert heard.error is not None
    assert heard.error.kind == kind
    assert words in str(heard.error)
    assert KEY not in str(heard.error)


async def test_comments_for_ever(acme: Acme, vendor: FakeVendor) -> None:
    chunks: list[bytes | float] = [b": still here\n\n", 0.05] * 10_000
    heard = await said(acme, vendor, Answer(chunks=chunks), total_timeout_seconds=0.3)
    assert heard.error is not None
    assert (heard.error.kind, heard.error.retryable) == ("timeout", True)
    assert "did not finish" in str(heard.error)


async def test_a_slow_reader_is_no_timeout(acme: Acme, vendor: FakeVendor) -> None:
    vendor.script(Answer.sse(*HELLO))
    async with acme(total_timeout_seconds=0.2) as provider:
        texts = []
        async with aclosing(provider.stream(request())) as stream:  # type: ignore[type-var]  # it is a generator
            async for event in stream:
                await anyio.sleep(0.15)
                texts.append(event)
    assert len(texts) == 3


@pytest.mark.parametrize("piece", [b"x" * 4096, b"data: x\n" * 512])
async def test_an_event_is_bounded(
    acme: Acme, vendor: FakeVendor, piece: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "MAX_EVENT_BYTES", 100_000)
    heard = await said(acme, vendor, Answer(chunks=[piece] * 1000))
    assert heard.error is not None
    assert heard.error.kind == "format"
    assert "100000 bytes" in str(heard.error)


async def test_redirects_are_not_followed(acme: Acme, vendor: FakeVendor) -> None:
    answer = Answer(status=307, headers={"location": f"{vendor.url}/elsewhere"})
    heard = await said(acme, vendor, answer)

    assert heard.error is not None
    assert (heard.error.kind, heard.error.status) == ("format", 307)
    assert "not followed" in str(heard.error)
    assert len(vendor.requests) == 1


async def test_an_error_body_is_bounded(acme: Acme, vendor: FakeVendor) -> None:
    answer = Answer(status=400, chunks=[b"x" * 65536] * 10_000)
    heard = await said(acme, vendor, answer)
    assert heard.error is not None
    assert len(str(heard.error)) < 1000


async def test_nobody_listens(acme: Acme) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        async with acme(base_url=url) as provider:
            heard = await hear(provider, request())
    assert heard.error is not None
    assert heard.error.kind == "timeout"
    assert "cannot be reached" in str(heard.error)


async def test_the_environment_has_no_proxy_unless_it_is_asked_for(
    acme: Acme, vendor: FakeVendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    vendor.default = Answer.sse(*HELLO)
    async with acme() as provider:
        assert (await hear(provider, request())).error is None
    async with acme(environment_proxy=True) as provider:
        assert (await hear(provider, request())).error is not None
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with acme(environment_proxy=True) as provider:
        assert (await hear(provider, request())).error is None


async def test_a_proxy(acme: Acme, vendor: FakeVendor) -> None:
    vendor.default = Answer.sse(*HELLO)
    async with acme(base_url="http://gpu", proxy=vendor.url) as provider:
        assert (await hear(provider, request())).text == "Hello world"
    assert vendor.requests[0].headers["host"] == "gpu"


async def test_an_error_within_the_stream(acme: Acme, vendor: FakeVendor) -> None:
    fault = {"error": {"type": "overloaded_error", "message": f"Overloaded {KEY}"}}
    heard = await said(acme, vendor, Answer.sse({"text": "a"}, fault))
    assert heard.error is not None
    assert heard.error.kind == "overloaded"
    assert heard.text == "a"
    assert KEY not in str(heard.error)


# --- JSON -----------------------------------------------------------------------


@pytest.fixture
def plain() -> VendorClient:
    return VendorClient("acme", ProviderConfig(idle_timeout_seconds=1))


async def lines(plain: VendorClient, vendor: FakeVendor, answer: Answer) -> list[Any]:
    vendor.script(answer)
    try:
        async with plain.post_lines(vendor.url, {}, {}) as values:
            return [value async for value in values]
    finally:
        await plain.aclose()


@pytest.mark.parametrize("cut", [1, 3, 1000])
async def test_lines(plain: VendorClient, vendor: FakeVendor, cut: int) -> None:
    data = '{"a": "ü🦀"}\r\n\n{"b": 2}\n{"done": true}'.encode()
    headers = {"content-type": "application/x-ndjson; charset=utf-8"}
    pieces = [data[i : i + cut] for i in range(0, len(data), cut)]

    found = await lines(plain, vendor, Answer(headers=headers, chunks=pieces))

    assert found == [{"a": "ü🦀"}, {"b": 2}, {"done": True}]


@pytest.mark.parametrize(
    ("chunks", "words"),
    [
        ([b'{"a": 1}\n{"b"'], "no JSON"),
        ([b"[" * 100_000 + b"\n"], "no JSON"),
        ([b"\xff\n"], "no JSON"),
    ],
)
async def test_broken_lines(
    plain: VendorClient, vendor: FakeVendor, chunks: list[bytes], words: str
) -> None:
    headers = {"content-type": "application/x-ndjson"}
    with pytest.raises(Exception, match=words) as failed:
        await lines(plain, vendor, Answer(headers=headers, chunks=chunks))
    assert getattr(failed.value, "kind", None) == "timeout"


async def test_what_can_be_read_comes_first(
    plain: VendorClient, vendor: FakeVendor
) -> None:
    headers = {"content-type": "application/x-ndjson"}
    vendor.script(Answer(headers=headers, chunks=[b'{"a": 1}\n{broken\n{"b": 2}\n']))
    async with plain.post_lines(vendor.url, {}, {}) as values:
        assert await anext(values) == {"a": 1}
        with pytest.raises(ProviderError, match="no JSON"):
            await anext(values)
    await plain.aclose()


async def test_a_line_is_bounded(
    plain: VendorClient, vendor: FakeVendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "MAX_EVENT_BYTES", 100_000)
    headers = {"content-type": "application/x-ndjson"}
    with pytest.raises(Exception, match="more than 100000 bytes"):
        await lines(plain, vendor, Answer(headers=headers, chunks=[b"x" * 4096] * 999))


async def test_get_json(plain: VendorClient, vendor: FakeVendor) -> None:
    vendor.script(Answer.json({"data": [1]}), Answer.json({}, status=404))
    assert await plain.get_json(f"{vendor.url}/v1/models", {"x": "y"}) == {"data": [1]}
    with pytest.raises(Exception, match="answered 404"):
        await plain.get_json(f"{vendor.url}/v1/models", {})
    assert vendor.requests[0].method == "GET"
    await plain.aclose()


def test_encode_what_json_does_not_know() -> None:
    body = {"a": [float("nan"), 1.5, float("inf")], "b": "half \ud83d", "c": "ü"}
    assert json.loads(encode(body)) == {"a": [None, 1.5, None], "b": "half ?", "c": "ü"}


def test_nothing_is_opened_before_it_is_needed(plain: VendorClient) -> None:
    assert not plain._transports
