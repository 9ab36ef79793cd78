"""``GET /openapi.json``: the surface of this server as OpenAPI 3.1 describes it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from pydantic import BaseModel, ConfigDict
from pydantic.json_schema import models_json_schema
from rustyclaw import __version__

from rustyclaw_server.http.answers import answer_json
from rustyclaw_server.http.guard import require_secret
from rustyclaw_server.http.openai.place import AGENT_HEADER, SESSION_HEADER
from rustyclaw_server.http.operations import named

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from rustyclaw_server.http.operations import Operation

_REFERENCE = "#/components/schemas/{model}"
_SCHEMES = {
    "owner": "the shared token or password of the gateway",
    "hook": "`hooks.server.hooks.token`",
    "home": "the secret in `gateway.json`, for the command line of this home",
}
_MEANINGS = {
    200: "Done.",
    202: "Accepted; the run goes on.",
    400: "The request is wrong.",
    401: "The secret is missing or wrong.",
    403: "Refused.",
    404: "There is no such thing.",
    408: "The body came too slowly.",
    413: "The body is too large.",
    429: "Too many attempts.",
    500: "The run failed.",
    502: "The provider failed.",
    503: "Not now; try again later.",
    504: "The run took too long.",
}
#: Answers that are no JSON.
_TYPES = {"text": "text/plain", "stream": "text/event-stream"}


class Document(BaseModel):
    """A description of an HTTP surface."""

    model_config = ConfigDict(extra="allow")

    openapi: str


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """Return the description of a surface."""
    operations = list(operations)
    uses = dict.fromkeys(
        [(op.body, "validation") for op in operations if op.body]
        + [
            (answer, "serialization")
            for op in operations
            for answers in op.answers.values()
            for answer in answers
            if answer not in _TYPES
        ]
    )
    references, schemas = models_json_schema(
        [(named(name), mode) for name, mode in uses],  # type: ignore[misc]  # mypy loses the literals
        ref_template=_REFERENCE,
    )
    schema_of = {name: references[named(name), mode] for name, mode in uses}  # type: ignore[index]  # likewise
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        path = re.sub(r":path\}", "}", operation.path)
        entry = paths.setdefault(path, {})
        entry[operation.method.lower()] = _described(operation, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": "rustyclaw gateway", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": schemas.get("$defs", {}),
            "securitySchemes": {
                name: {"type": "http", "scheme": "bearer", "description": text}
                for name, text in _SCHEMES.items()
            },
        },
    }


def _described(
    operation: Operation, schema_of: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    said = inspect.getdoc(named(operation.handler)) or ""
    path = re.sub(r"\W+", "_", operation.path).strip("_")
    described: dict[str, Any] = {
        "operationId": f"{operation.method.lower()}_{path}",
        "summary": said.partition("\n")[0],
        "security": [{operation.caller: []}] if operation.caller in _SCHEMES else [],
        "parameters": list(_parameters(operation)),
        "responses": {
            str(status): {
                "description": _MEANINGS[status],
                "content": _content(answers, schema_of),
            }
            for status, answers in sorted(operation.answers.items())
        },
    }
    if operation.body:
        json: dict[str, Any] = {"schema": schema_of[operation.body]}
        if operation.example is not None:
            json["example"] = operation.example
        content = {"application/json": json}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _parameters(operation: Operation) -> Iterable[dict[str, Any]]:
    for name in re.findall(r"\{(\w+)", operation.path):
        schema = {"type": "string", "minLength": 1}
        yield {"name": name, "in": "path", "required": True, "schema": schema}
    if operation.path.startswith("/v1/") and operation.method == "POST":
        for name in (AGENT_HEADER, SESSION_HEADER):
            yield {"name": name, "in": "header", "schema": {"type": "string"}}
    if operation.caller == "hook":
        yield {"name": "idempotency-key", "in": "header", "schema": {"type": "string"}}


def _content(
    answers: tuple[str, ...], schema_of: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for answer in answers:
        if answer in _TYPES:
            content[_TYPES[answer]] = {"schema": {"type": "string"}}
            continue
        schema = schema_of[answer]
        if known := content.get("application/json"):
            schema = {"anyOf": [known["schema"], schema]}
        content["application/json"] = {"schema": schema}
    return content


async def openapi(request: Request) -> Response:
    """Describe this surface, in OpenAPI 3.1."""
    require_secret(request)
    state = request.state
    if state.openapi is None:  # it takes a while, and nearly nobody asks
        state.openapi = await anyio.to_thread.run_sync(document, state.operations)
    return answer_json(state.openapi)
