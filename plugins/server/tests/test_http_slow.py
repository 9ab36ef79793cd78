"""Clients that are slow with the head of a request, or never come to its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import pytest

from .conftest import Running
from .web import Web, dial, head, read_all


@pytest.fixture
def settings() -> Mapping[str, Any]:
    return {"limits": {"head_seconds": 0.3}}


async def drip(url: str, data: bytes, first: bytes = b"") -> bytes:
    """Send a byte now and then, until the other side has had enough."""
    answer = b""
    async with dial(url) as stream, anyio.create_task_group() as group:
        if first:
            await stream.send(first)

        async def send() -> None:
            for n in range(len(data)):
                try:
                    await stream.send(data[n : n + 1])
                except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                    return
                await anyio.sleep(0.02)

        group.start_soon(send)
        answer = await read_all(stream)
        group.cancel_scope.cancel()
    return answer


@pytest.mark.parametrize("data", [b"", b"G", b"GET /health HTTP/1.1\r\n" + b"a" * 300])
async def test_a_head_that_drips_is_cut_off(data: bytes, running: Running) -> None:
    with anyio.fail_after(5):
        answer = await drip(running.url, data)
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_the_next_head_has_its_deadline_too(running: Running) -> None:
    whole = head("GET", "/health", {"connection": "keep-alive"})
    async with dial(running.url) as stream:
        for _ in range(2):
            await stream.send(whole)
            answer = b""
            while not answer.endswith(b'{"status":"ok"}'):
                answer += await stream.receive()
        await stream.send(whole[:20])
        with anyio.fail_after(5):
            assert (await read_all(stream)).startswith(b"HTTP/1.1 408 ")


async def test_a_body_that_nobody_reads_has_an_end(running: Running) -> None:
    lines = {"content-length": "1000000", "connection": "keep-alive"}
    with anyio.fail_after(5):
        answer = await drip(running.url, b"x" * 300, head("POST", "/rpc", lines))
    assert b"401 Unauthorized" in answer


async def test_a_head_that_is_too_long_is_cut_off(running: Running) -> None:
    async with dial(running.url) as stream:
        with anyio.fail_after(5):
            try:
                for _ in range(64):
                    await stream.send(b"GET /" + b"a" * 65_536)
            except anyio.BrokenResourceError:
                return
            assert (await read_all(stream)).startswith(b"HTTP/1.1 400 ")


async def test_slow_clients_hold_up_nobody(running: Running) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(drip, running.url, b"GET /health HTTP/1.1\r\n")
        async with Web(running.url) as web:
            for _ in range(5):
                with anyio.fail_after(2):
                    assert (await web.get("/health")).status_code == 200


async def test_a_run_or_a_socket_may_take_longer(running: Running) -> None:
    client = await running.client()
    await anyio.sleep(0.5)  # longer than a head may take
    assert await client.ask("health")
