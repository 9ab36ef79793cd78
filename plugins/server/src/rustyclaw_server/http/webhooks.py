"""Routes that plugins have added: webhooks of channels, and pages.

A channel checks the signature itself, over the exact bytes. Before it is asked at
all, the body has to be small enough and to come in time.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from rustyclaw import Busy, Route, StorageError, WebRequest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from rustyclaw_server.auth.address import peer_of
from rustyclaw_server.http.answers import Refused
from rustyclaw_server.http.body import read_body

if TYPE_CHECKING:
    from rustyclaw_server.server import Server
    from rustyclaw_server.wire.socket import Receive, Scope, Send

logger = logging.getLogger(__name__)


class Webhooks:
    """An ASGI application over `Gateway.routes`, as they are now."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        route, allowed = self._find(request.method, request.url.path)
        if route is None:
            status = 405 if allowed else 404
            text = "Method Not Allowed" if allowed else "Not Found"
            headers = {"allow": ", ".join(sorted(allowed))} if allowed else None
            return PlainTextResponse(text, status, headers)
        server = self._server
        client = (request.client.host, request.client.port) if request.client else None
        peer = peer_of(client, request.headers, server.config.trusted_proxies)
        try:
            body = await read_body(request, server.config.limits, route.max_body_bytes)
            answer = await route.handler(
                WebRequest(
                    method=request.method,
                    path=request.url.path,
                    query=request.url.query,
                    headers=dict(request.headers),
                    body=body,
                    peer=peer.ip,
                )
            )
        except Refused as refused:
            return PlainTextResponse(refused.message, refused.status)
        except (Busy, StorageError):  # the platform delivers it again
            return PlainTextResponse("try again later", 503, {"retry-after": "10"})
        except Exception:
            logger.exception("the route %s %s failed", route.method, route.path)
            return PlainTextResponse("Internal Server Error", 500)
        if isinstance(answer.body, bytes):
            content = b"" if request.method == "HEAD" else answer.body
            return Response(content, answer.status, dict(answer.headers))
        return StreamingResponse(answer.body, answer.status, dict(answer.headers))

    def _find(self, method: str, path: str) -> tuple[Route | None, set[str]]:
        """Return the route, the longest match first, and which methods there are."""
        matching = [
            route for route in self._server.gateway.routes if _takes(route, path)
        ]
        matching.sort(key=lambda route: -len(route.path))
        wanted = {method.upper(), "GET" if method == "HEAD" else ""}
        for route in matching:
            if route.method.upper() in wanted:
                return route, set()
        return None, {route.method.upper() for route in matching}


def _takes(route: Route, path: str) -> bool:
    if route.path.endswith("/*"):
        return path.startswith(route.path[:-1])
    return route.path == path
