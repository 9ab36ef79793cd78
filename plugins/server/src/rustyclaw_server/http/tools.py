"""``POST /tools/invoke``: one tool, judged as if a model had called it."""

from __future__ import annotations

import json
from base64 import b64encode
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from rustyclaw import ConfigError, SessionError, ToolCall, ToolError
from starlette.responses import Response

from rustyclaw_server.http.answers import Refused, answer_json
from rustyclaw_server.http.body import read_model
from rustyclaw_server.http.guard import require_secret, server_of
from rustyclaw_server.http.streams import unless_gone
from rustyclaw_server.wire.frames import clean

if TYPE_CHECKING:
    from rustyclaw import ToolResult
    from starlette.requests import Request

    from rustyclaw_server.server import Server


class InvokeParams(BaseModel):
    """A tool and its arguments; ``action`` is one of them, if the tool has it."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    tool: Annotated[str, Field(min_length=1, max_length=128)]
    action: Annotated[str, Field(max_length=256)] | None = None
    args: dict[str, Any] = Field(default_factory=dict)
    sessionKey: Annotated[str, Field(min_length=1, max_length=512)] = "main"


class Content(BaseModel):
    """A text, or media in base64."""

    model_config = ConfigDict(extra="allow")

    type: Literal["text", "image", "audio", "file"]


class Invoked(BaseModel):
    """What the tool answered; ``details`` are for programs."""

    content: list[Content]
    details: dict[str, Any]


class InvokeAnswer(BaseModel):
    """It ran."""

    ok: Literal[True]
    result: Invoked


class InvokeProblem(BaseModel):
    """Why it did not, or what went wrong."""

    type: Literal["not_found", "tool_error", "invalid_request_error"]
    message: str


class InvokeFailure(BaseModel):
    """It did not run, or it failed."""

    ok: Literal[False]
    error: InvokeProblem


async def invoke(request: Request) -> Response:
    """Run a tool for the owner, under the policy and the guards of a session."""
    require_secret(request)
    server = server_of(request)
    try:
        params = await read_model(request, InvokeParams, server.config.limits)
    except Refused as refused:
        if refused.status != 400:
            raise
        return _failed(400, "invalid_request_error", refused.message)
    if any(fnmatchcase(params.tool, rule) for rule in server.config.http.tools_deny):
        return _unavailable(params.tool)
    arguments = _arguments(server, params)
    run = partial(server.gateway.invoke_tool, params.tool, arguments, params.sessionKey)
    try:
        result = await unless_gone(request, run)
    except ToolError:
        return _unavailable(params.tool)
    except (SessionError, ConfigError) as exc:
        return _failed(400, "invalid_request_error", str(exc))
    if result is None:
        return Response(status_code=499)
    if result.is_error:
        return _failure(server, params.tool, arguments, result)
    answer = {"content": _content(result), "details": dict(result.details)}
    return answer_json({"ok": True, "result": server.gateway.redact(_plain(answer))})


def _arguments(server: Server, params: InvokeParams) -> dict[str, Any]:
    tool = server.gateway.tools.get(params.tool)
    if tool is None or params.action is None or "action" in params.args:
        return params.args
    known = tool.schema.parameters.get("properties", {})
    return {**params.args, **({"action": params.action} if "action" in known else {})}


def _failure(
    server: Server, name: str, arguments: dict[str, Any], result: ToolResult
) -> Response:
    """Return a failure: 403 if it was refused, 400 if the arguments are wrong."""
    status = 403 if result.details.get("refused") else 500
    tool = server.gateway.tools.get(name)
    try:
        if tool is not None and status == 500:
            tool.parse(ToolCall(id="", name=name, arguments=arguments))
    except ToolError:
        status = 400
    return _failed(status, "tool_error", str(server.gateway.redact(clean(result.text))))


def _content(result: ToolResult) -> list[dict[str, Any]]:
    media = [
        {
            "type": type(one).__name__.lower(),
            "data": b64encode(one.data).decode(),
            "mimeType": one.media_type,
        }
        for one in result.media
    ]
    return [{"type": "text", "text": clean(result.text)}, *media]


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: a tool's details may hold what it has not."""
    return json.loads(json.dumps(value, default=str))


def _unavailable(tool: str) -> Response:
    return _failed(404, "not_found", f"Tool not available: {tool}")


def _failed(status: int, kind: str, message: str) -> Response:
    error = {"type": kind, "message": message}
    return answer_json({"ok": False, "error": error}, status)
