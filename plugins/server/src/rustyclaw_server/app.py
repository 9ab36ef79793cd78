"""The application behind the port: WebSockets on any path, HTTP on its own ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
from starlette.responses import PlainTextResponse

from rustyclaw_server.http.routes import HttpApp
from rustyclaw_server.wire.endpoint import Endpoint
from rustyclaw_server.wire.http import ABORT

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import Any

    from rustyclaw_server.server import Server
    from rustyclaw_server.wire.socket import Receive, Scope, Send

#: Unless an answer says otherwise: nothing is kept, guessed, or told to others.
_HEADERS = {
    b"cache-control": b"no-store",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
}


#: h11 has this bound for heads that come in pieces; one that comes at once passes it.
_HEAD_BYTES, _MOST_HEADERS = 65_536, 200
_TOO_LARGE = PlainTextResponse("the head of the request is too large", 431)


class App:
    """An ASGI application."""

    def __init__(self, server: Server) -> None:
        self._sockets = Endpoint(server)
        self._http = HttpApp(server)
        self._send_seconds = server.config.limits.send_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection or a request."""
        if scope["type"] == "websocket":
            await self._sockets(scope, receive, send)
        elif scope["type"] == "http":
            app = self._http if _fits(scope) else _TOO_LARGE
            await app(scope, receive, self._guarded(scope, send))

    def _guarded(self, scope: Scope, send: Send) -> Send:
        """Return a `send` that adds headers, and drops a client that does not read."""

        async def send_in_time(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                more = [pair for pair in _HEADERS.items() if pair[0] not in given]
                message = {**message, "headers": [*message["headers"], *more]}
            with anyio.move_on_after(self._send_seconds) as deadline:
                await send(message)
            if deadline.cancelled_caught:
                scope["extensions"][ABORT]()

        return send_in_time


def _fits(scope: Scope) -> bool:
    headers = scope["headers"]
    size = sum(len(name) + len(value) for name, value in headers)
    size += len(scope["raw_path"]) + len(scope["query_string"])
    return size <= _HEAD_BYTES and len(headers) <= _MOST_HEADERS
