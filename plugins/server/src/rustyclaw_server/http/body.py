"""Reads a request's body: within bounds of bytes and of time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
from starlette.requests import ClientDisconnect, Request

from rustyclaw_server.http.answers import Refused

if TYPE_CHECKING:
    from rustyclaw_server.config import LimitsConfig


async def read_body(request: Request, limits: LimitsConfig, limit: int = 0) -> bytes:
    """Return the body.

    :param limit: Bytes, if not those of the config.
    :raises Refused: 413 if it is too large, 408 if it comes too slowly.
    """
    limit = limit or limits.max_body_bytes
    said = request.headers.get("content-length", "0")
    if not said.isdecimal() or int(said) > limit:
        raise Refused(413, "the body is too large")
    pieces, size = [], 0
    try:
        with anyio.fail_after(limits.body_seconds):
            async for piece in request.stream():
                size += len(piece)
                if size > limit:
                    raise Refused(413, "the body is too large")
                pieces.append(piece)
    except TimeoutError:
        raise Refused(408, "the body came too slowly") from None
    except ClientDisconnect:
        raise Refused(400, "the body did not come whole") from None
    return b"".join(pieces)


async def read_json(request: Request, limits: LimitsConfig, limit: int = 0) -> Any:
    """Return the JSON object that a body holds.

    :raises Refused: As `read_body`, or 400 if it is none.
    """
    body = await read_body(request, limits, limit)
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON") from None
    if not isinstance(value, dict):
        raise Refused(400, "the body is not a JSON object")
    return value
