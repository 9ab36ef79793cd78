"""Reads a request's body: within bounds of bytes and of time."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from rustyclaw_server.http.answers import Refused
from rustyclaw_server.wire.frames import clean

if TYPE_CHECKING:
    from rustyclaw_server.config import LimitsConfig

M = TypeVar("M", bound=BaseModel)
#: Mistakes of a body that are named; a long list of objects may have thousands.
_MOST_MISTAKES = 5
_ESCAPED = re.compile(rb"\\u[dD]")


async def read_body(request: Request, limits: LimitsConfig, limit: int = 0) -> bytes:
    """Return the body.

    :param limit: Bytes, if not those of the config.
    :raises Refused: 413 if it is too large, 408 if it comes too slowly.
    """
    limit = limit or limits.max_body_bytes
    said = request.headers.get("content-length", "0")
    if not said.isdecimal() or int(said) > limit:
        raise Refused(413, f"the body has more than {limit} bytes")
    pieces, size = [], 0
    try:
        with anyio.fail_after(limits.body_seconds):
            async for piece in request.stream():
                size += len(piece)
                if size > limit:
                    raise Refused(413, f"the body has more than {limit} bytes")
                pieces.append(piece)
    except TimeoutError:
        raise Refused(408, "the body came too slowly") from None
    except ClientDisconnect:
        raise Refused(400, "the body did not come whole") from None
    return b"".join(pieces)


async def read_json(
    request: Request, limits: LimitsConfig, limit: int = 0
) -> dict[str, Any]:
    """Return the JSON object that a body holds.

    :raises Refused: As `read_body`, or 400 if it is none.
    """
    body = await read_body(request, limits, limit)
    try:
        value = json.loads(body, parse_constant=_no_constant)
        if _ESCAPED.search(body):
            value = _whole(value)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON") from None
    if not isinstance(value, dict):
        raise Refused(400, "the body is not a JSON object")
    return value


async def read_model(
    request: Request, model: type[M], limits: LimitsConfig, limit: int = 0
) -> M:
    """Return the JSON object that a body holds as its model.

    :raises Refused: As `read_json`, or 400 with the first mistakes.
    """
    value = await read_json(request, limits, limit)
    try:
        return model.model_validate(value)
    except ValidationError as exc:
        raise mistaken(exc, value) from None


def mistaken(exc: ValidationError, value: Any) -> Refused:
    """Return what is wrong with a body; its values are not repeated."""
    found = exc.errors(include_url=False, include_input=False, include_context=False)
    named = [(_path(one["loc"], value), one["msg"]) for one in found]
    # Of a text or a list, the mistake inside of the list is the one that was meant.
    named = [
        (at, what)
        for at, what in named
        if not any(other.startswith(f"{at}.") for other, _ in named if at)
    ]
    shown = named[:_MOST_MISTAKES]
    text = "; ".join(f"{at}: {what}" if at else what for at, what in shown)
    if len(named) > len(shown):
        text += f"; and {len(named) - len(shown)} more"
    return Refused(400, text[:2000], param=named[0][0][:200] or None)


def _path(places: tuple[int | str, ...], value: Any) -> str:
    """Return where a mistake is, without pydantic's names for parts of a union."""
    path = []
    for number, place in enumerate(places, 1):
        is_there = (
            place in value
            if isinstance(value, dict)
            else isinstance(value, list) and isinstance(place, int)
        )
        if is_there:
            value = value[place]
        elif number < len(places) or not isinstance(value, dict):
            continue
        path.append(str(place))
    return ".".join(path)


def _whole(value: Any) -> Any:
    """Return a value without lone surrogates, as some clients cut texts."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {clean(key): _whole(item) for key, item in value.items()}
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
