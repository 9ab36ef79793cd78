"""The HTTP surface as a table: what routes and the OpenAPI document are made of.

Handlers and models are named as ``module:name``, from this package on, and found when
the first request needs them: most gateways never see one of OpenAI's, and their
models are a tenth of a start.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rustyclaw_server.config import ServerConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path; the first line of its handler's docstring documents it.

    :param caller: Who may call, by the secret that is shown.
    :param body: The model of the request's JSON.
    :param example: A body.
    :param answers: What may come back, by status: models, ``text`` or ``stream``.
    """

    method: Literal["GET", "POST"]
    path: str
    handler: str
    caller: Literal["anyone", "owner", "hook", "home"] = "owner"
    body: str | None = None
    example: Mapping[str, Any] | None = None
    answers: dict[int, tuple[str, ...]] = field(default_factory=dict)


def named(name: str) -> Any:
    """Return what the table names, such as ``health:ready``; imports its module."""
    return resolve_name(f"{__package__}.{name}")


def _errors(
    *statuses: int, form: str = "answers:ErrorAnswer"
) -> dict[int, tuple[str, ...]]:
    return dict.fromkeys(statuses, (form,))


_SECRET = (401, 403, 429)
_BODY = (400, 408, 413)
_RUN = (404, 500, 502, 503, 504)
_HOOK = _errors(400, 401, 404, 408, 413, 429, 503, form="text")
_INVOKED = {
    **_errors(401, 408, 413, 429, 503),
    **_errors(400, 404, 500, form="tools:InvokeFailure"),
    403: ("tools:InvokeFailure", "answers:ErrorAnswer"),
}


def operations(config: ServerConfig) -> Iterator[Operation]:
    """Yield what a server with this config offers, plugins' own routes apart."""
    yield Operation(
        method="GET",
        path="/health",
        handler="health:health",
        caller="anyone",
        answers={200: ("health:HealthAnswer",)},
    )
    yield Operation(
        method="GET",
        path="/ready",
        handler="health:ready",
        caller="anyone",
        answers={200: ("health:ReadyAnswer",), 503: ("health:ReadyAnswer",)},
    )
    yield Operation(
        method="POST",
        path="/rpc",
        handler="control:rpc",
        caller="home",
        body="control:RpcParams",
        example={"method": "health", "params": {}},
        answers={200: ("control:RpcAnswer",), **_errors(400, 401, 408, 413)},
    )
    yield Operation(
        method="GET",
        path="/openapi.json",
        handler="openapi:openapi",
        answers={200: ("openapi:Document",), **_errors(*_SECRET)},
    )
    yield from _openai(config)
    if config.http.tools_invoke:
        yield Operation(
            method="POST",
            path="/tools/invoke",
            handler="tools:invoke",
            body="tools:InvokeParams",
            example={"tool": "file_list", "args": {"path": "."}},
            answers={200: ("tools:InvokeAnswer",), **_INVOKED},
        )
    if config.hooks.enabled:
        yield from _hooks(config)


def _openai(config: ServerConfig) -> Iterator[Operation]:
    if config.http.chat_completions:
        yield Operation(
            method="POST",
            path="/v1/chat/completions",
            handler="openai.chat:chat_completions",
            body="openai.chat_params:ChatParams",
            example={
                "model": "openclaw",
                "messages": [{"role": "user", "content": "Hello!"}],
            },
            answers={
                200: ("openai.chat:ChatAnswer", "stream"),
                **_errors(*_SECRET, *_BODY, *_RUN),
            },
        )
    if config.http.responses:
        yield Operation(
            method="POST",
            path="/v1/responses",
            handler="openai.responses:responses",
            body="openai.response_params:ResponseParams",
            example={"model": "openclaw", "input": "Hello!"},
            answers={
                200: ("openai.response_answer:ResponseAnswer", "stream"),
                **_errors(*_SECRET, *_BODY, *_RUN),
            },
        )
    if config.http.chat_completions or config.http.responses:
        yield Operation(
            method="GET",
            path="/v1/models",
            handler="openai.models:models",
            answers={200: ("openai.models:ModelList",), **_errors(*_SECRET)},
        )
        yield Operation(
            method="GET",
            path="/v1/models/{model:path}",
            handler="openai.models:model",
            answers={200: ("openai.models:ModelRow",), **_errors(*_SECRET, 404)},
        )


def _hooks(config: ServerConfig) -> Iterator[Operation]:
    fields_of = named("hooks:fields_of")
    task = {"message": "The build has failed.", "name": "ci"}
    known: list[tuple[str, str, str, int, Mapping[str, Any]]]
    known = [
        ("wake", "WakeParams", "WakeAnswer", 200, {"text": "The bell rang."}),
        ("agent", "AgentHookParams", "AgentHookAnswer", 202, task),
    ]
    for mapping in config.hooks.mappings:
        facts = dict.fromkeys(fields_of(mapping.message), "text")
        known.append((mapping.name, "AnyBody", "AgentHookAnswer", 202, facts))
    for name, body, answer, status, example in known:
        yield Operation(
            method="POST",
            path=f"/hooks/{name}",
            handler="hooks:hook",
            caller="hook",
            body=f"hooks:{body}",
            example=example,
            answers={status: (f"hooks:{answer}",), **_HOOK},
        )
