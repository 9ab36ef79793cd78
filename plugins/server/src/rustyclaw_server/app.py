"""The application behind the port: WebSockets on any path, HTTP on its own ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rustyclaw_server.http.routes import http_app
from rustyclaw_server.wire.endpoint import Endpoint

if TYPE_CHECKING:
    from rustyclaw_server.server import Server
    from rustyclaw_server.wire.socket import Receive, Scope, Send


class App:
    """An ASGI application."""

    def __init__(self, server: Server) -> None:
        self._sockets = Endpoint(server)
        self._http = http_app(server)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection or a request."""
        if scope["type"] == "websocket":
            await self._sockets(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
