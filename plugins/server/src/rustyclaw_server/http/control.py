"""``POST /rpc``: any method, for the command line of this home alone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict
from rustyclaw import Caller, MethodError

from rustyclaw_server.http.answers import answer_json
from rustyclaw_server.http.body import read_model
from rustyclaw_server.http.guard import require_control, server_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

logger = logging.getLogger(__name__)


class RpcParams(BaseModel):
    """A method and its parameters."""

    model_config = ConfigDict(hide_input_in_errors=True)

    method: str
    params: dict[str, Any] | None = None


class RpcAnswer(BaseModel):
    """What it returned, or its error with ``code`` and ``message``."""

    ok: bool
    payload: Any = None
    error: dict[str, Any] | None = None


async def rpc(request: Request) -> Response:
    """Call ``{"method": ..., "params": {...}}`` as the operator."""
    require_control(request)
    server = server_of(request)
    body = await read_model(request, RpcParams, server.config.limits)
    name = body.method
    try:
        if (method := server.method(name)) is None:
            raise MethodError(f"unknown method: {name}")
        payload = await method.handler(body.params or {}, Caller())
        return answer_json({"ok": True, "payload": payload})
    except MethodError as exc:
        error = {"code": exc.code, "message": str(exc)}
    except Exception as exc:
        logger.exception("method %r failed", name)
        text = str(server.gateway.redact(f"{type(exc).__name__}: {exc}"))
        error = {"code": "UNAVAILABLE", "message": text}
    return answer_json({"ok": False, "error": error})
