"""A WebSocket client by hand, for what no decent client would send."""

from __future__ import annotations

import asyncio
import json
import os
import struct
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Self
from urllib.parse import urlsplit

from .client import TIMEOUT, Hello

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
#: The close code of a connection that was dropped without one.
DROPPED = 1006
_MASK = b"\x01\x02\x03\x04"
#: A chunk that is masked at once; a multiple of the mask's length.
_CHUNK = 2**16


def frame(
    payload: bytes, opcode: int = TEXT, *, fin: bool = True, rsv: int = 0
) -> bytes:
    """Return a masked frame."""
    size = len(payload)
    first = bytes([fin << 7 | rsv << 4 | opcode])
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 2**16:
        length = b"\xfe" + struct.pack("!H", size)
    else:
        length = b"\xff" + struct.pack("!Q", size)
    mask = _MASK * (_CHUNK // 4)
    pieces = [payload[i : i + _CHUNK] for i in range(0, size, _CHUNK)]
    masked = b"".join(
        (int.from_bytes(p, "big") ^ int.from_bytes(mask[: len(p)], "big")).to_bytes(
            len(p), "big"
        )
        for p in pieces
    )
    return first + length + _MASK + masked


class Raw:
    """A connection; `open` makes one.

    :ivar status: What the upgrade was answered with; 0: dropped without an answer.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader, self.writer = reader, writer
        self.status, self.head = 0, ""
        self.nonce = ""
        self._count = 0

    @classmethod
    async def open(
        cls,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        path: str = "/",
        bytes_a_second: int = 0,
    ) -> Self:
        """Ask for an upgrade, with other headers or further ones; slowly, if told."""
        where = urlsplit(url)
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        self = cls(reader, writer)
        wanted = {
            "Host": where.netloc,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": b64encode(os.urandom(16)).decode(),
            "Sec-WebSocket-Version": "13",
        }
        given = {name.title(): value for name, value in (headers or {}).items()}
        for name in wanted:
            if (other := given.pop(name.title(), None)) is not None:
                wanted[name] = other
        lines = [f"{name}: {value}" for name, value in (wanted | given).items()]
        text = "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""])
        data = text.encode()
        if bytes_a_second:
            self.drip = asyncio.create_task(self._drip(data, bytes_a_second))
        else:
            writer.write(data)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            async with asyncio.timeout(TIMEOUT):
                self.head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.status = int(self.head.split()[1])
        return self

    async def _drip(self, data: bytes, bytes_a_second: int) -> None:
        for byte in data:
            if self.status or self.writer.is_closing():
                return
            self.writer.write(bytes([byte]))
            await asyncio.sleep(1 / bytes_a_second)

    async def challenged(self) -> Self:
        """Wait for the challenge."""
        challenge = await self.read()
        assert challenge["event"] == "connect.challenge"
        self.nonce = challenge["payload"]["nonce"]
        return self

    async def connect(self, hello: Hello, opcode: int = TEXT) -> Any:
        """Say who we are; return the answer's frame."""
        params = hello.params(self.nonce)
        return await self.ask("connect", params, opcode=opcode)

    # --- Out --------------------------------------------------------------------------

    async def send(self, data: bytes) -> None:
        """Send bytes as they are; a peer that has gone is not an error."""
        with suppress(ConnectionError):
            await asyncio.sleep(0)  # a reader may have something to do
            for start in range(0, len(data), 2**20):
                self.writer.write(data[start : start + 2**20])
                await self.writer.drain()

    async def say(self, value: Any, opcode: int = TEXT) -> None:
        """Send a message: bytes, a text, or JSON."""
        text = value if isinstance(value, str | bytes) else json.dumps(value)
        data = text.encode() if isinstance(text, str) else text
        await self.send(frame(data, opcode))

    async def ask(
        self,
        method: str,
        params: Any = None,
        *,
        opcode: int = TEXT,
        seconds: float = TIMEOUT,
    ) -> Any:
        """Call a method; return the answer's frame."""
        self._count += 1
        name = f"raw-{self._count}"
        request = {"type": "req", "id": name, "method": method}
        await self.say(request | ({} if params is None else {"params": params}), opcode)
        return await self.answer(name, seconds)

    # --- In ---------------------------------------------------------------------------

    async def message(self) -> tuple[int, bytes]:
        """Return the next frame; the end of the stream is a close with 1006."""
        try:
            first, second = await self.reader.readexactly(2)
            size = second & 0x7F
            if size == 126:
                size = int.from_bytes(await self.reader.readexactly(2), "big")
            elif size == 127:
                size = int.from_bytes(await self.reader.readexactly(8), "big")
            return first & 0x0F, await self.reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            return CLOSE, struct.pack("!H", DROPPED)

    async def read(self, seconds: float = TIMEOUT) -> Any:
        """Return the next JSON frame.

        :raises EOFError: The connection was closed; its code.
        """
        async with asyncio.timeout(seconds):
            while True:
                opcode, payload = await self.message()
                if opcode == CLOSE:
                    raise EOFError(struct.unpack("!H", payload[:2])[0])
                if opcode == PING:
                    await self.send(frame(payload, PONG))
                elif opcode == TEXT:
                    return json.loads(payload)

    async def answer(self, name: str = "", seconds: float = TIMEOUT) -> Any:
        """Return the next answer, to a request or to any."""
        async with asyncio.timeout(seconds):
            while True:
                got = await self.read(seconds)
                if got["type"] == "res" and name in ("", got["id"]):
                    return got

    async def ended(self, seconds: float = TIMEOUT) -> int:
        """Wait for the end, answering it as a peer should; return its code."""
        async with asyncio.timeout(seconds):
            while True:
                opcode, payload = await self.message()
                if opcode == CLOSE:
                    await self.send(frame(payload[:2], CLOSE))
                    return int(struct.unpack("!H", payload[:2])[0])

    def drop(self) -> None:
        """Drop the connection."""
        self.writer.transport.abort()
