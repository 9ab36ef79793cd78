"""The HTTP application; what none of its routes takes goes to the plugins' own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio.to_thread
from starlette.routing import Route, Router

from rustyclaw_server.http.answers import answering
from rustyclaw_server.http.openai.stored import Stored
from rustyclaw_server.http.operations import named, operations
from rustyclaw_server.http.webhooks import Webhooks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from rustyclaw_server.server import Server
    from rustyclaw_server.wire.socket import Receive, Scope, Send

    Handler = Callable[[Request], Awaitable[Response]]


class HttpApp:
    """The application for everything but WebSockets.

    A router is all of Starlette that it needs: errors that nobody expects are logged
    and answered by uvicorn. Handlers find what they share in ``request.state``.
    """

    def __init__(self, server: Server) -> None:
        offered = list(operations(server.config))
        routes = [
            Route(one.path, answering(_late(one.handler)), methods=[one.method])
            for one in offered
            if one.caller != "hook"
        ]
        self._state = {
            "server": server,
            "stored": Stored(server.gateway),
            "operations": offered,
            "openapi": None,
        }
        if server.config.hooks.enabled:  # it answers wrong methods itself
            hooks, hook = named("hooks:Hooks"), named("hooks:hook")
            self._state["hooks"] = hooks(server)
            methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
            routes.append(Route("/hooks/{name:path}", hook, methods=methods))
        rest = Webhooks(server)
        self._router = Router(routes, redirect_slashes=False, default=rest)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        scope["state"] = self._state
        await self._router(scope, receive, send)


def _late(name: str) -> Handler:
    """Return a handler that is imported with the first request for it."""
    handler: Handler | None = None

    async def handle(request: Request) -> Response:
        nonlocal handler
        if handler is None:
            found: Handler = await anyio.to_thread.run_sync(named, name)
            handler = found
        return await handler(request)

    return handle
