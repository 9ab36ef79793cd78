"""``POST /rpc``: any method, for the command line of this home alone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from rustyclaw import Caller, MethodError

from rustyclaw_server.http.answers import Refused, answer_json, answering
from rustyclaw_server.http.body import read_json
from rustyclaw_server.http.guard import require_control, server_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

logger = logging.getLogger(__name__)


@answering
async def rpc(request: Request) -> Response:
    """Call ``{"method": ..., "params": {...}}`` as the operator."""
    require_control(request)
    server = server_of(request)
    body = await read_json(request, server.config.limits)
    name, params = body.get("method"), body.get("params") or {}
    if not isinstance(name, str) or not isinstance(params, dict):
        raise Refused(400, "a method and its params are needed")
    try:
        if (method := server.method(name)) is None:
            raise MethodError(f"unknown method: {name}")
        payload = await method.handler(params, Caller())
        return answer_json({"ok": True, "payload": payload})
    except MethodError as exc:
        error = {"code": exc.code, "message": str(exc)}
    except Exception as exc:
        logger.exception("method %r failed", name)
        text = str(server.gateway.redact(f"{type(exc).__name__}: {exc}"))
        error = {"code": "UNAVAILABLE", "message": text}
    return answer_json({"ok": False, "error": error})
