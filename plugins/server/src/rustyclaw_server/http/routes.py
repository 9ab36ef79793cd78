"""The table of HTTP routes; what none of them takes goes to the plugins' own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.routing import Route

from rustyclaw_server.http import control, health
from rustyclaw_server.http.webhooks import Webhooks

if TYPE_CHECKING:
    from rustyclaw_server.server import Server


def http_app(server: Server) -> Starlette:
    """Return the application for everything but WebSockets."""
    app = Starlette(
        routes=[
            Route("/health", health.health),
            Route("/ready", health.ready),
            Route("/rpc", control.rpc, methods=["POST"]),
        ]
    )
    app.router.default = Webhooks(server)
    app.state.server = server
    return app
