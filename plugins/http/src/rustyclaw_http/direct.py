"""Connections without a proxy: a transport for httpx that does little.

httpx's own one takes more than half of the time of a streamed answer, because each
event passes through seven layers; see decision 0026.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from typing import NamedTuple

import anyio
import httpx

from rustyclaw_http.wire import Wire

#: Connections that are open, that wait for a next request, and how long they may.
MAX_CONNECTIONS, MAX_IDLE, IDLE_SECONDS = 64, 32, 30.0


class _Origin(NamedTuple):
    scheme: str
    host: bytes
    port: int | None


class DirectTransport(httpx.AsyncBaseTransport):
    """Keeps connections, and uses them again.

    :param trust: Whom connections with TLS may be made to.
    """

    def __init__(self, trust: ssl.SSLContext) -> None:
        self._trust = trust
        self._slots = anyio.Semaphore(MAX_CONNECTIONS, fast_acquire=True)
        self._idle: dict[_Origin, list[Wire]] = {}  # the last used are last

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; return its answer, whose body is still to come.

        :raises httpx.TransportError: The vendor cannot be reached, or broke off.
        """
        timeouts = request.extensions.get("timeout", {})
        with anyio.move_on_after(timeouts.get("pool")) as waiting:
            await self._slots.acquire()
        if waiting.cancelled_caught:
            raise httpx.PoolTimeout("all connections are in use")
        url = request.url
        origin, wire = _Origin(url.scheme, url.raw_host, url.port), None
        try:
            wire = await self._waiting(origin)
            if wire is None:
                wire = await Wire.open(url, self._trust, timeouts)
            head = await wire.ask(request)
            answer = _Answer(self, origin, wire)
            headers = head.headers.raw_items()
            return httpx.Response(head.status_code, headers=headers, stream=answer)
        except BaseException:
            self._slots.release()
            if wire is not None:
                await _close(wire)
            raise

    async def aclose(self) -> None:
        """Close the connections that wait."""
        idle, self._idle = self._idle, {}
        for wires in idle.values():
            for wire in wires:
                await _close(wire)

    async def leave(self, origin: _Origin, wire: Wire) -> None:
        """Take back a connection that has done its work, or was left before."""
        self._slots.release()
        idle = self._idle.setdefault(origin, [])
        if not wire.renew():
            await _close(wire)
            return
        idle.append(wire)
        while idle and (len(idle) > MAX_IDLE or _is_old(idle[0])):
            await _close(idle.pop(0))

    async def _waiting(self, origin: _Origin) -> Wire | None:
        """Return a connection that waits and may still be used."""
        idle = self._idle.get(origin, [])
        while idle:
            wire = idle.pop()
            if not _is_old(wire) and wire.is_usable():
                return wire
            await _close(wire)
        return None


class _Answer(httpx.AsyncByteStream):
    """The body of an answer."""

    def __init__(self, transport: DirectTransport, origin: _Origin, wire: Wire) -> None:
        self._transport, self._origin = transport, origin
        self._wire: Wire | None = wire

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self._wire is not None and (data := await self._wire.receive()):
            yield data

    async def aclose(self) -> None:
        """Give the connection back."""
        if self._wire is not None:
            wire, self._wire = self._wire, None
            await self._transport.leave(self._origin, wire)


def _is_old(wire: Wire) -> bool:
    return anyio.current_time() - wire.idle_since > IDLE_SECONDS


async def _close(wire: Wire) -> None:
    with anyio.CancelScope(shield=True):
        await wire.aclose()
