"""Answers of the HTTP surface, in OpenAI's form for errors (sheet section 14)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from rustyclaw import Busy, StorageError
from starlette.responses import JSONResponse, PlainTextResponse, Response

from rustyclaw_server.wire.frames import dump

if TYPE_CHECKING:
    from starlette.requests import Request

_TYPES = {401: "unauthorized", 404: "not_found", 429: "rate_limited"}
_RETRY = {"retry-after": "10"}


class ErrorFacts(BaseModel):
    """What went wrong; ``code`` and ``param`` are for programs."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorAnswer(BaseModel):
    """An error in OpenAI's form."""

    error: ErrorFacts


class Refused(Exception):
    """A request that is not served; the status says why.

    :param param: The part of the request that is wrong.
    :param code: A word for programs, such as ``model_not_found``.
    """

    def __init__(
        self,
        status: int,
        message: str,
        headers: Mapping[str, str] | None = None,
        *,
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers or {}
        self.param, self.code = param, code

    @property
    def facts(self) -> dict[str, Any]:
        """The error as OpenAI's clients read it."""
        kind = "api_error" if self.status >= 500 else "invalid_request_error"
        return {
            "message": self.message,
            "type": _TYPES.get(self.status, kind),
            "param": self.param,
            "code": self.code,
        }


def refused_by(exc: Exception) -> Refused:
    """Return the refusal that an error of the core means.

    :raises Exception: The error itself, if it is not one of those.
    """
    if isinstance(exc, Refused):
        return exc
    if isinstance(exc, Busy | StorageError):
        return Refused(503, str(exc), _RETRY)
    raise exc


def answering(
    handler: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """Turn a handler's `Refused` into its answer."""

    @wraps(handler)
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except (Refused, Busy, StorageError) as exc:
            return error(refused_by(exc))

    return answer


def error(refused: Refused) -> Response:
    """Return a refusal as JSON."""
    headers = dict(refused.headers)
    return JSONResponse({"error": refused.facts}, refused.status, headers)


def plain_error(refused: Refused) -> Response:
    """Return a refusal as text, as webhooks get it."""
    return PlainTextResponse(refused.message, refused.status, dict(refused.headers))


def answer_json(value: Any, status: int = 200) -> Response:
    """Return a value as JSON; results of methods may stand in it."""
    return Response(dump(value), status, media_type="application/json")


def answer_model(value: BaseModel, status: int = 200) -> Response:
    """Return a model as JSON, with all of its fields."""
    return Response(value.model_dump_json(), status, media_type="application/json")
