"""The WebSocket below the protocol: uvicorn's, on wsproto, with bounds of its own.

What uvicorn's lacks: a size limit that is small until the handshake is over, so that
strangers cannot have megabytes buffered; a look at the length that a frame announces
before it is there; turns, so that a flood of tiny frames does not hold the loop; and
an end for peers that have vanished, do not read, or do not stop to send.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.websockets.wsproto_impl import FrameTooLargeError, WSProtocol
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Message
from wsproto.utilities import LocalProtocolError

from rustyclaw_server.wire.frames import clean
from rustyclaw_server.wire.meter import Meter, TooLong

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from wsproto.events import BytesMessage, Ping, Request, TextMessage

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_EXTENSION = "rustyclaw.socket"
#: Bytes of the longest close reason that fits into a frame.
_REASON_BYTES = 120
#: Frames that one connection may have read before it is another's turn.
_FRAMES_A_TURN = 64
#: Seconds in which a peer has to take note of the end.
_LINGER_SECONDS = 3.0
#: The same for one that goes on sending meanwhile.
_DRAIN_SECONDS = 15.0


class BoundedProtocol(WSProtocol):
    """uvicorn's protocol, which its application may reach through the scope."""

    #: Bytes of a message before the handshake; set by the server.
    first_limit = 65_536

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.buffer.max_length = min(self.first_limit, self.buffer.max_length)
        self._meter = Meter()
        self._ahead = b""  # has come in, and waits for its turn
        self._turn: Any = None
        self._deaf = False  # what comes in is of no interest any more
        self._still_sends = False
        self._last_moment = 0.0

    # --- What comes in ----------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take bytes; they are looked at when it is this connection's turn."""
        if self._deaf or self.response_started:
            self._still_sends = True
            if self._deaf and _is_close(data):  # it has read the end, and agrees
                self.transport.close()
            return
        if not hasattr(self, "scope"):  # the request for the upgrade
            super().data_received(data)
            return
        self._ahead = self._ahead + data if self._ahead else data
        if self._turn is None and (not self.read_paused or self.close_sent):
            self._take_turn()
        else:
            self._go_on()

    def opened(self) -> None:
        """Read frames, now that the upgrade has been accepted."""
        if self.conn.connection is not None:  # what led to it is not needed any more
            self.conn = cast("Any", self.conn.connection)
        self._go_on()

    def _take_turn(self) -> None:
        self._turn = None
        if not self.handshake_complete or self._deaf or self.disconnected:
            return
        limit = self.buffer.max_length - self.buffer.length
        try:
            end = self._meter.cut(self._ahead, max(limit, 125), _FRAMES_A_TURN)
        except TooLong:
            self.fail(1009, "message too big")
            return
        piece, self._ahead = self._ahead[:end], self._ahead[end:]
        super().data_received(piece)
        self._go_on()

    def _go_on(self) -> None:
        """Read on, or see to it that what has been read is looked at."""
        if self._deaf or self.transport.is_closing():
            return
        ready = self.handshake_complete and (not self.read_paused or self.close_sent)
        if not self._ahead:
            if ready:
                self.transport.resume_reading()
            return
        self.transport.pause_reading()
        if ready and self._turn is None:
            self._turn = self.loop.call_soon(self._take_turn)

    async def receive(self) -> Any:
        """Return the next event; more is read when all have been taken."""
        message = await self.queue.get()
        if self.queue.empty():
            self.read_paused = False
            self._go_on()
        return message

    @property
    def is_amid_message(self) -> bool:
        """Whether the peer has begun a message and not ended it."""
        return self._meter.inside or self.buffer.value is not None

    def write_now(self, text: str) -> bool:
        """Hand a message to the network, unless one would have to wait for that."""
        if not self.writable.is_set() or self.close_sent or self.disconnected:
            return False
        try:
            data = self.conn.send(Message(data=text))
        except LocalProtocolError:  # the peer has said that it ends
            return False
        if not self.transport.is_closing():
            self.transport.write(data)
        return True

    # --- Events -----------------------------------------------------------------------

    def handle_connect(self, event: Request) -> None:
        """Start the application, which finds this object in its scope."""
        super().handle_connect(event)
        cast("dict[str, Any]", self.scope["extensions"])[_EXTENSION] = self

    def handle_message(self, event: TextMessage | BytesMessage) -> None:
        """Collect a message up to its bound."""
        try:
            self.buffer.extend(event)
        except FrameTooLargeError:
            self.fail(1009, "message too big")
            return
        if event.message_finished:
            self.queue.put_nowait(self.buffer.to_message())
            self.buffer.clear()
            self.read_paused = True
            self.transport.pause_reading()

    def handle_ping(self, event: Ping) -> None:
        """Answer a ping, unless the peer does not even read the answers so far."""
        if self.writable.is_set():
            super().handle_ping(event)

    def handle_close(self, event: CloseConnection) -> None:
        """End with the peer; what breaks the protocol is told why."""
        if self.conn.state is ConnectionState.OPEN and not self.close_sent:
            self.fail(int(event.code), "protocol error")
        else:
            super().handle_close(event)

    # --- The end ----------------------------------------------------------------------

    def fail(self, code: int, reason: str) -> None:
        """Close, and drop whatever the peer goes on to send.

        To close the transport at once would reset it while data is on its way, and
        the peer would never read why.
        """
        self.close_sent = self._deaf = True
        self._ahead = b""
        self.buffer.clear()
        told = {"type": "websocket.disconnect", "code": code, "reason": reason}
        self.queue.put_nowait(cast("Any", told))
        if not self.transport.is_closing():
            close = CloseConnection(code=code, reason=reason)
            self.transport.write(self.conn.send(close))
            if self.transport.can_write_eof():
                self.transport.write_eof()
            self.transport.resume_reading()
            self.linger()

    def linger(self) -> None:
        """Give the peer some seconds to take note; then drop it."""
        self.stop_keepalive()
        if self.close_timer is not None:
            self.close_timer.cancel()
        self._last_moment = self.loop.time() + _DRAIN_SECONDS
        self.close_timer = self.loop.call_later(_LINGER_SECONDS, self._drop)

    def _drop(self) -> None:
        if self._still_sends and self.loop.time() < self._last_moment:
            self._still_sends = False
            self.close_timer = self.loop.call_later(_LINGER_SECONDS, self._drop)
        else:
            self.transport.abort()

    def eof_received(self) -> None:
        """End a connection that has nothing more to say."""
        if self._deaf:
            self.transport.abort()

    def keepalive_timeout(self) -> None:
        """Drop a peer that has vanished, with all that waits for it."""
        super().keepalive_timeout()
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was to be done."""
        if self._turn is not None:
            self._turn.cancel()
        self._ahead = b""
        super().connection_lost(exc)


def _is_close(data: bytes) -> bool:
    """Return whether some bytes are one close frame of a client, whole and alone."""
    return len(data) > 5 and data[0] == 0x88 and len(data) == 6 + (data[1] & 0x7F)


class Disconnected(Exception):
    """The client has gone."""

    def __init__(self, code: int = 1006, reason: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Socket:
    """One WebSocket of an application, from the upgrade on."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive, self._send, self._scope = receive, send, scope
        self._protocol: Any = scope.get("extensions", {}).get(_EXTENSION)
        self.client: tuple[str, int] | None = scope.get("client")
        headers: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            name, value = (
                raw_name.decode("latin-1").lower(),
                raw_value.decode("latin-1"),
            )
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        self.headers: Mapping[str, str] = headers
        self.is_binary = False  # the last message was
        self._speaks_binary: bool | None = None  # Apple's clients do, from the first on

    async def accept(self) -> None:
        """Accept the upgrade."""
        await self._receive()
        await self._send({"type": "websocket.accept"})
        if self._protocol is not None:
            self._protocol.opened()

    async def refuse(
        self, status: int, text: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer the upgrade with an HTTP error."""
        await self._receive()
        body = text.encode()
        lines = {"content-type": "text/plain", "connection": "close", **(headers or {})}
        lines["content-length"] = str(len(body))
        await self._send(
            {
                "type": "websocket.http.response.start",
                "status": status,
                "headers": [(n.encode(), v.encode()) for n, v in lines.items()],
            }
        )
        await self._send({"type": "websocket.http.response.body", "body": body})

    async def receive(self) -> str:
        """Return the next message; one whose first is binary may go on like that.

        :raises Disconnected: The client has gone.
        :raises ValueError: A binary message is not expected, or not UTF-8.
        """
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            reason = message.get("reason") or ""
            raise Disconnected(message.get("code", 1006), reason)
        text = message.get("text")
        self.is_binary = text is None
        if self._speaks_binary is None:
            self._speaks_binary = self.is_binary
        if text is not None:
            return str(text)
        if not self._speaks_binary:
            raise ValueError("binary, after text")
        return bytes(message["bytes"]).decode()

    def forget_upgrade(self) -> None:
        """Drop what the upgrade has said, which takes memory of each connection."""
        self.headers = {}
        self._scope.clear()

    async def send(self, text: str) -> None:
        """Send a message; waits while the client does not read.

        :raises Disconnected: The client has gone.
        """
        try:
            await self._send({"type": "websocket.send", "text": text})
        except (OSError, RuntimeError) as exc:  # uvicorn's words for "it has gone"
            raise Disconnected from exc

    def send_now(self, text: str) -> bool:
        """Send a message at once; ``False`` if that is not possible."""
        return self._protocol is not None and self._protocol.write_now(text)

    async def close(self, code: int, reason: str = "") -> None:
        """Close the connection; safe to repeat."""
        data = clean(reason).encode()[:_REASON_BYTES].decode(errors="ignore")
        with suppress(OSError, RuntimeError):  # it is closed
            await self._send({"type": "websocket.close", "code": code, "reason": data})
            if self._protocol is not None:
                self._protocol.linger()

    def abort(self) -> None:
        """Drop the connection with all that the client has not read."""
        if self._protocol is not None:
            self._protocol.transport.abort()

    @property
    def is_amid_message(self) -> bool:
        """Whether the client has begun a message and not ended it."""
        return self._protocol is not None and bool(self._protocol.is_amid_message)

    def widen(self, limit: int) -> None:
        """Allow messages of so many bytes from now on."""
        if self._protocol is not None:
            self._protocol.buffer.max_length = limit
