"""Plain HTTP for tests: `Web` for whole requests, `dial` for the bytes of odd ones."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.abc
import httpx2

TIMEOUT = 10.0


class Web(httpx2.AsyncClient):
    """A client that shows a token, if it has one."""

    def __init__(self, url: str, token: str = "", **options: Any) -> None:
        super().__init__(base_url=url, timeout=TIMEOUT, **options)
        if token:
            self.headers["authorization"] = f"Bearer {token}"

    async def ask(self, path: str, body: Any, **headers: str) -> httpx2.Response:
        """POST JSON."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.post(path, json=body, headers=named)


def events(text: str) -> list[tuple[str, Any]]:
    """Return the server-sent events of a body, with ``[DONE]`` as a text."""
    found = []
    for block in text.split("\n\n"):
        told = [line for line in block.splitlines() if not line.startswith(":")]
        lines = dict(line.split(": ", 1) for line in told)
        if data := lines.get("data"):
            value = data if data == "[DONE]" else json.loads(data)
            found.append((lines.get("event", ""), value))
    return found


@asynccontextmanager
async def dial(url: str) -> AsyncIterator[anyio.abc.SocketStream]:
    """Open a connection, to say whatever a test likes."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    stream = await anyio.connect_tcp(parts.hostname, parts.port)
    async with stream:
        yield stream


async def read_all(stream: anyio.abc.ByteReceiveStream) -> bytes:
    """Return what comes until the end, however it ends."""
    pieces = []
    with anyio.fail_after(TIMEOUT):
        try:
            while True:
                pieces.append(await stream.receive())
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return b"".join(pieces)


async def say(url: str, *pieces: bytes) -> bytes:
    """Send bytes and return the whole answer; the connection is closed then."""
    async with dial(url) as stream:
        for piece in pieces:
            await stream.send(piece)
        return await read_all(stream)


def head(
    method: str, path: str, headers: Mapping[str, str] | None = None, token: str = ""
) -> bytes:
    """Return the head of a request."""
    lines = {"host": "127.0.0.1", "connection": "close", **(headers or {})}
    if token:
        lines["authorization"] = f"Bearer {token}"
    rows = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{rows}\r\n".encode()
