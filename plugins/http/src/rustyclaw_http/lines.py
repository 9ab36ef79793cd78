"""The connections to one vendor, each a transport of the HTTP library with one line.

A pool of the library looks at each of its connections, and asks the socket of each
that waits, whenever a request begins or ends: among thirty conversations that takes
more time than all the rest of a request.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import AsyncIterator
from typing import cast

import anyio
import httpx

#: Connections that are open, and that wait for a next request; seconds they may wait.
MAX_CONNECTIONS, MAX_IDLE, IDLE_SECONDS = 64, 32, 30.0


class Lines(httpx.AsyncBaseTransport):
    """Lends each request a line of its own; the one that was used last goes first.

    :param trust: Whom connections with TLS may be made to.
    :param proxy: The address of a proxy; empty: there is none.
    """

    def __init__(self, trust: ssl.SSLContext, proxy: str = "") -> None:
        self._trust, self._proxy = trust, proxy
        self._slots = anyio.Semaphore(MAX_CONNECTIONS, fast_acquire=True)
        self._idle: deque[tuple[float, httpx.AsyncHTTPTransport]] = deque()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; its answer gives the line back when it is closed.

        :raises httpx.TransportError: The vendor cannot be reached, or broke off.
        """
        await self._take_slot(request.extensions["timeout"]["pool"])
        line = self._idle.pop()[1] if self._idle else self._new()
        try:
            response = await line.handle_async_request(request)
        except BaseException:
            self._slots.release()
            with anyio.CancelScope(shield=True):
                await line.aclose()
            raise
        stream = cast("httpx.AsyncByteStream", response.stream)
        response.stream = _Answer(stream, self, line)
        return response

    async def aclose(self) -> None:
        """Close the lines that wait."""
        while self._idle:
            await self._idle.pop()[1].aclose()

    async def give_back(self, line: httpx.AsyncHTTPTransport) -> None:
        """Keep a line for the next request; close what is too many, or too old."""
        self._slots.release()
        now = anyio.current_time()
        self._idle.append((now, line))
        while len(self._idle) > MAX_IDLE or self._idle[0][0] < now - IDLE_SECONDS:
            await self._idle.popleft()[1].aclose()

    async def _take_slot(self, seconds: float | None) -> None:
        with anyio.move_on_after(seconds) as waiting:
            await self._slots.acquire()
        if waiting.cancelled_caught:
            raise httpx.PoolTimeout("all connections are in use")

    def _new(self) -> httpx.AsyncHTTPTransport:
        one = httpx.Limits(
            max_connections=1,
            max_keepalive_connections=1,
            keepalive_expiry=IDLE_SECONDS,
        )
        return httpx.AsyncHTTPTransport(
            verify=self._trust, limits=one, proxy=self._proxy or None
        )


class _Answer(httpx.AsyncByteStream):
    """The body of an answer."""

    def __init__(
        self,
        stream: httpx.AsyncByteStream,
        lines: Lines,
        line: httpx.AsyncHTTPTransport,
    ) -> None:
        self._stream, self._lines, self._line = stream, lines, line
        self._is_open = True

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._stream)

    async def aclose(self) -> None:
        """Give the line back; what was not read closes its connection."""
        if self._is_open:
            self._is_open = False
            try:
                await self._stream.aclose()
            finally:
                await self._lines.give_back(self._line)
