"""Routes that plugins have added: webhooks of channels, and pages.

A channel checks the signature itself, over the exact bytes. Before it is asked at
all, the body has to be small enough and to come in time.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from rustyclaw import Busy, Route, StorageError, WebRequest, WebResponse
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from rustyclaw_server.auth.address import peer_of
from rustyclaw_server.http.answers import Refused, plain_error
from rustyclaw_server.http.body import read_body
from rustyclaw_server.http.streams import Streamed

if TYPE_CHECKING:
    from rustyclaw_server.server import Server
    from rustyclaw_server.wire.socket import Receive, Scope, Send

logger = logging.getLogger(__name__)

#: What makes two paths of one, or climbs: an encoded slash, a backslash, a control
#: character, an empty or dotted part. No platform sends such, and a handler that
#: takes all below a folder need not think of it.
_ODD_RAW = re.compile(rb"%2f|%5c|%25(?:2e|2f|5c)", re.IGNORECASE)
_ODD = re.compile(r"[\\\x00-\x1f\x7f]|/\.{1,2}(?:/|$)|//")


class Webhooks:
    """An ASGI application over `Gateway.routes`, as they are now."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            response = await self._answer(Request(scope, receive))
        except Refused as refused:
            response = plain_error(refused)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path: str = request.scope["path"]  # `request.url` would tidy it up
        if _ODD.search(path) or _ODD_RAW.search(request.scope["raw_path"]):
            raise Refused(400, "Bad Request")
        route = self._find(request.method, path)
        server = self._server
        client = (request.client.host, request.client.port) if request.client else None
        peer = peer_of(client, request.headers, server.config.trusted_proxies)
        body = await read_body(request, server.config.limits, route.max_body_bytes)
        asked = WebRequest(
            method=request.method,
            path=path,
            query=request.url.query,
            headers=dict(request.headers),
            body=body,
            peer=peer.ip,
        )
        try:
            return _response(await route.handler(asked))
        except (Busy, StorageError):  # the platform delivers it again
            return PlainTextResponse("try again later", 503, {"retry-after": "10"})
        except Exception:
            logger.exception("the route %s %s failed", route.method, route.path)
            return PlainTextResponse("Internal Server Error", 500)

    def _find(self, method: str, path: str) -> Route:
        """Return the route, the longest match first.

        :raises Refused: 404, or 405 if there are other methods.
        """
        matching = [
            route for route in self._server.gateway.routes if _takes(route, path)
        ]
        matching.sort(key=lambda route: -len(route.path))
        wanted = {method.upper(), "GET" if method == "HEAD" else ""}
        for route in matching:
            if route.method.upper() in wanted:
                return route
        if not matching:
            raise Refused(404, "Not Found")
        allowed = {route.method.upper() for route in matching}
        allowed |= {"HEAD"} if "GET" in allowed else set()
        headers = {"allow": ", ".join(sorted(allowed))}
        raise Refused(405, "Method Not Allowed", headers)


def _response(answer: WebResponse) -> Response:
    if isinstance(answer.body, bytes):
        return Response(answer.body, answer.status, dict(answer.headers))
    return Streamed(answer.body, answer.status, answer.headers)


def _takes(route: Route, path: str) -> bool:
    if route.path.endswith("/*"):
        return path.startswith(route.path[:-1])
    return route.path == path
