"""The HTTP application; what none of its routes takes goes to the plugins' own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.routing import Route

from rustyclaw_server.http import hooks
from rustyclaw_server.http.answers import answering
from rustyclaw_server.http.openai.stored import Stored
from rustyclaw_server.http.openapi import document
from rustyclaw_server.http.operations import operations
from rustyclaw_server.http.webhooks import Webhooks

if TYPE_CHECKING:
    from rustyclaw_server.server import Server


def http_app(server: Server) -> Starlette:
    """Return the application for everything but WebSockets."""
    offered = list(operations(server.config))
    routes = [
        Route(one.path, answering(one.handler), methods=[one.method])
        for one in offered
        if one.caller != "hook"
    ]
    if server.config.hooks.enabled:  # it answers wrong methods itself
        methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
        routes.append(Route("/hooks/{name:path}", hooks.hook, methods=methods))
    app = Starlette(routes=routes)
    app.router.default = Webhooks(server)
    app.router.redirect_slashes = False
    app.state.server = server
    app.state.stored = Stored(server.gateway)
    app.state.hooks = hooks.Hooks(server)
    app.state.openapi = document(offered)
    return app
