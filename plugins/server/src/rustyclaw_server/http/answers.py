"""Answers of the HTTP surface, in OpenAI's form for errors (sheet section 14)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from rustyclaw_server.wire.frames import dump

if TYPE_CHECKING:
    from starlette.requests import Request

_TYPES = {401: "unauthorized", 404: "not_found", 429: "rate_limited"}


class Refused(Exception):
    """A request that is not served; the status says why."""

    def __init__(
        self, status: int, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers or {}


def error(
    status: int, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return an error as JSON."""
    kind = "api_error" if status >= 500 else "invalid_request_error"
    body = {"error": {"message": message, "type": _TYPES.get(status, kind)}}
    return JSONResponse(body, status, dict(headers or {}))


def answering(
    handler: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """Turn a handler's `Refused` into its answer."""

    @wraps(handler)
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except Refused as refused:
            return error(refused.status, refused.message, refused.headers)

    return answer


def answer_json(value: Any, status: int = 200) -> Response:
    """Return a value as JSON; results of methods may stand in it."""
    headers = {"cache-control": "no-store"}
    return Response(dump(value), status, headers, "application/json")
