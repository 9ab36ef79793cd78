"""One connection to a vendor: HTTP/1.1 as h11 speaks it, over anyio.

What goes wrong is raised as httpx has it, so that `exchange` knows one tree of errors.
"""

from __future__ import annotations

import select
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import anyio
import h11
import httpx
from anyio.abc import ByteStream, SocketAttribute

T = TypeVar("T")
#: Seconds that a step may take; ``None``: for ever. As `httpx.Timeout` gives them.
Timeouts = Mapping[str, float | None]

#: As much as asyncio reads at once, so that nothing is left in its hands.
_READ_BYTES = 256 * 1024
_MAX_HEAD_BYTES = 100 * 1024
#: `OSError` is also what TLS fails with.
_LOST = (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)


class Wire:
    """A connection; it carries one request at a time.

    :ivar idle_since: When the last answer was whole; on the clock of anyio.
    """

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._socket = stream.extra(SocketAttribute.raw_socket, None)  # noqa: S610 - no Django
        self._http = h11.Connection(h11.CLIENT, _MAX_HEAD_BYTES)
        self._timeouts: Timeouts = {}
        self.idle_since = 0.0

    @classmethod
    async def open(
        cls, url: httpx.URL, trust: ssl.SSLContext, timeouts: Timeouts
    ) -> Wire:
        """Connect to the host of an address.

        :raises httpx.ConnectError: Nobody is there, or it cannot be trusted.
        :raises httpx.ConnectTimeout: It does not answer in time.
        """
        is_secure, host = url.scheme == "https", url.raw_host.decode("ascii")
        port = url.port or (443 if is_secure else 80)

        async def connect() -> ByteStream:
            if not is_secure:
                return await anyio.connect_tcp(host, port)
            return await anyio.connect_tcp(
                host, port, ssl_context=trust, tls_standard_compatible=False
            )

        try:
            return cls(
                await _timed(connect, timeouts.get("connect"), httpx.ConnectTimeout)
            )
        except (*_LOST, anyio.EndOfStream) as exc:
            raise httpx.ConnectError(str(exc) or type(exc).__name__) from exc

    def is_usable(self) -> bool:
        """Return whether a request may be sent; a vendor that spoke has hung up."""
        if self._socket is None or self._socket.fileno() < 0:
            return False
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        return not poller.poll(0)

    async def ask(self, request: httpx.Request) -> h11.Response:
        """Send a request; return the head of its answer.

        :raises httpx.TransportError: The connection broke, or fell silent.
        """
        self._timeouts = request.extensions.get("timeout", {})
        try:
            head = h11.Request(
                method=request.method,
                target=request.url.raw_path,
                headers=request.headers.raw,
            )
            data = self._http.send(head) or b""
            data += self._http.send(h11.Data(data=await request.aread())) or b""
            data += self._http.send(h11.EndOfMessage()) or b""
        except h11.LocalProtocolError as exc:
            raise httpx.LocalProtocolError(str(exc)) from exc
        refusal: httpx.WriteError | None = None
        try:
            await _timed(
                lambda: self._stream.send(data),
                self._timeouts.get("write"),
                httpx.WriteTimeout,
            )
        except _LOST as exc:  # who refuses a request may hang up before it is whole
            refusal = httpx.WriteError(str(exc) or type(exc).__name__)
        try:
            while not isinstance(event := self._next(), h11.Response):
                if event is h11.NEED_DATA:
                    await self._receive()
        except httpx.TransportError as exc:
            raise refusal or exc from exc
        return event

    async def receive(self) -> bytes:
        """Return what has come of the body, joined; empty at its end.

        :raises httpx.TransportError: The connection broke, or fell silent.
        """
        pieces: list[bytes] = []
        while self._http.their_state is h11.SEND_BODY:
            event = self._next()
            if isinstance(event, h11.Data):
                pieces.append(bytes(event.data))
            elif event is h11.NEED_DATA:
                if pieces:
                    break
                await self._receive()
        return b"".join(pieces)

    def renew(self) -> bool:
        """Make ready for another request; return whether the vendor allows one."""
        done = self._http.our_state is self._http.their_state is h11.DONE
        if done and self._http.trailing_data == (b"", False):
            self._http.start_next_cycle()
            self.idle_since = anyio.current_time()
            return True
        return False

    async def aclose(self) -> None:
        """Hang up."""
        try:
            await self._stream.aclose()
        except _LOST:  # the other side was quicker
            return

    def _next(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        try:
            return self._http.next_event()
        except h11.RemoteProtocolError as exc:
            raise httpx.RemoteProtocolError(str(exc)) from exc

    async def _receive(self) -> None:
        try:
            data = await _timed(
                lambda: self._stream.receive(_READ_BYTES),
                self._timeouts.get("read"),
                httpx.ReadTimeout,
            )
        except anyio.EndOfStream:
            data = b""
        except _LOST as exc:
            raise httpx.ReadError(str(exc) or type(exc).__name__) from exc
        if not data and self._http.their_state is h11.SEND_RESPONSE:
            raise httpx.RemoteProtocolError("it hung up without an answer")
        self._http.receive_data(data)


async def _timed(
    work: Callable[[], Awaitable[T]],
    seconds: float | None,
    late: type[httpx.TimeoutException],
) -> T:
    """Await something for so long; ``late`` is raised when that has passed."""
    with anyio.move_on_after(seconds):
        return await work()
    raise late("")
