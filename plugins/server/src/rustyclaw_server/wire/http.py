"""HTTP/1.1 below the application: uvicorn's protocol, with an end for slow heads.

uvicorn waits for the head of a request as long as a client likes, if it only sends a
byte now and then. Ours has a deadline for it, and for what follows an answer whose
request was not read to its end. The size of a head is h11's bound of 64 KiB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

    from rustyclaw_server.wire.socket import Receive, Scope, Send

#: Where a request's scope has the function that drops its connection.
ABORT = "rustyclaw.abort"
_TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
)


class PatientProtocol(H11Protocol):
    """uvicorn's protocol, whose patience has an end."""

    #: Seconds for the head of a request; set by the server.
    head_seconds = 15.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None
        app = self.app

        async def droppable(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("extensions", {})[ABORT] = self.transport.abort
            await app(scope, receive, send)

        self.app = droppable

    def connection_made(  # type: ignore[override]  # as uvicorn itself does
        self, transport: asyncio.Transport
    ) -> None:
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; if no request goes on, they have to become one in time."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._deadline is None and not self.transport.is_closing():
            self._wait()

    def handle_websocket_upgrade(self, event: Any) -> None:
        """Leave the connection to the other protocol."""
        self._stop_waiting()
        self.head_seconds = 0
        super().handle_websocket_upgrade(event)

    def _wait(self) -> None:
        if self.head_seconds:
            self._deadline = self.loop.call_later(self.head_seconds, self._give_up)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        is_answered = self.cycle is not None and self.cycle.more_body
        if self.transport.is_closing() or is_answered:  # its body does not end
            self.transport.abort()
            return
        self.transport.write(_TOO_SLOW)
        self.transport.close()
        self._deadline = self.loop.call_later(1, self.transport.abort)
