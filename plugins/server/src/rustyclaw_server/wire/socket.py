"""The WebSocket below the protocol: uvicorn's, on wsproto, with a bound that grows.

uvicorn has one size limit for all messages of a connection. Ours is small until the
handshake is over (64 KiB), so that strangers cannot have megabytes buffered.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.websockets.wsproto_impl import WSProtocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from wsproto.events import Ping, Request

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_EXTENSION = "rustyclaw.socket"
#: Bytes of the longest close reason that fits into a frame.
_REASON_BYTES = 120


class BoundedProtocol(WSProtocol):
    """uvicorn's protocol, which its application may reach through the scope."""

    #: Bytes of a message before the handshake; set by the server.
    first_limit = 65_536

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.buffer.max_length = min(self.first_limit, self.buffer.max_length)

    def handle_connect(self, event: Request) -> None:
        """Start the application, which finds this object in its scope."""
        super().handle_connect(event)
        cast("dict[str, Any]", self.scope["extensions"])[_EXTENSION] = self

    def handle_ping(self, event: Ping) -> None:
        """Answer a ping, unless the peer does not even read the answers so far."""
        if self.writable.is_set():
            super().handle_ping(event)


class Disconnected(Exception):
    """The client has gone."""

    def __init__(self, code: int = 1006, reason: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Socket:
    """One WebSocket of an application, from the upgrade on."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._protocol: Any = scope.get("extensions", {}).get(_EXTENSION)
        self.client: tuple[str, int] | None = scope.get("client")
        self.headers: Mapping[str, str] = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        self.is_binary = False  # the last message was; Apple's clients send such

    async def accept(self) -> None:
        """Accept the upgrade."""
        await self._receive()
        await self._send({"type": "websocket.accept"})

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
        """Return the next message; a binary one is text all the same.

        :raises Disconnected: The client has gone.
        :raises ValueError: A binary message is not UTF-8.
        """
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            reason = message.get("reason") or ""
            raise Disconnected(message.get("code", 1006), reason)
        text = message.get("text")
        self.is_binary = text is None
        return text if text is not None else bytes(message["bytes"]).decode()

    async def send(self, text: str) -> None:
        """Send a message; waits while the client does not read.

        :raises Disconnected: The client has gone.
        """
        try:
            await self._send({"type": "websocket.send", "text": text})
        except (OSError, RuntimeError) as exc:  # uvicorn's words for "it has gone"
            raise Disconnected from exc

    async def close(self, code: int, reason: str = "") -> None:
        """Close the connection; safe to repeat."""
        data = reason.encode()[:_REASON_BYTES].decode(errors="ignore")
        with suppress(OSError, RuntimeError):  # it is closed
            await self._send({"type": "websocket.close", "code": code, "reason": data})

    def abort(self) -> None:
        """Drop the connection with all that the client has not read."""
        if self._protocol is not None:
            self._protocol.transport.abort()

    def widen(self, limit: int) -> None:
        """Allow messages of so many bytes from now on."""
        if self._protocol is not None:
            self._protocol.buffer.max_length = limit
