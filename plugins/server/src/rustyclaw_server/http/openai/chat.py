"""``POST /v1/chat/completions``: OpenAI's older interface, in front of an agent."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from pydantic import BaseModel
from rustyclaw import RunResult
from starlette.responses import Response

from rustyclaw_server.http.answers import Refused, answer_model, error
from rustyclaw_server.http.body import read_model
from rustyclaw_server.http.guard import require_open, require_secret, server_of
from rustyclaw_server.http.openai.chat_params import ChatParams, asked
from rustyclaw_server.http.openai.place import place_of
from rustyclaw_server.http.openai.talk import Piece, Talk, hear
from rustyclaw_server.http.streams import EventStream, sse, unless_gone

if TYPE_CHECKING:
    from rustyclaw import ToolCall, Usage
    from starlette.requests import Request

    from rustyclaw_server.server import Server

Reason = Literal["stop", "length", "tool_calls", "content_filter"]
_REASONS: dict[str, Reason] = {"length": "length", "refusal": "content_filter"}


class AnsweredFunction(BaseModel):
    """The function to call; ``arguments`` is the text of a JSON object."""

    name: str
    arguments: str


class AnsweredCall(BaseModel):
    """A call that the caller is to answer with a message of role ``tool``."""

    id: str
    type: Literal["function"] = "function"
    function: AnsweredFunction


class AnsweredMessage(BaseModel):
    """What the agent says."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    tool_calls: list[AnsweredCall] | None = None


class AnsweredChoice(BaseModel):
    """The one answer."""

    index: int = 0
    message: AnsweredMessage
    logprobs: None = None
    finish_reason: Reason


class PromptDetails(BaseModel):
    """Tokens that the provider remembered."""

    cached_tokens: int


class ChatUsage(BaseModel):
    """Tokens of all model calls of the run."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails


class ChatAnswer(BaseModel):
    """An answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[AnsweredChoice]
    usage: ChatUsage


async def chat_completions(request: Request) -> Response:
    """Ask an agent; with ``stream`` the answer comes piece by piece."""
    require_secret(request)
    require_open(request)
    server = server_of(request)
    config = server.config
    params = await read_model(
        request, ChatParams, config.limits, config.http.max_body_bytes
    )
    wanted = asked(params)
    place = place_of(server, params.model, request.headers, params.user, "openai")
    run_id = f"chatcmpl_{uuid4()}"
    options = replace(
        wanted.options, run_id=run_id, model=place.model, history=wanted.given
    )
    talk = Talk(
        place=place,
        message=wanted.message,
        given=wanted.given,
        options=options,
        keep=params.store is not False,
    )
    head = {"id": run_id, "created": int(time.time()), "model": params.model}
    if params.stream:
        with_usage = bool(params.stream_options and params.stream_options.include_usage)
        chunks = _chunks(server, talk, head, with_usage)
        return EventStream(chunks, error, lambda refused: sse({"error": refused.facts}))
    answer = await unless_gone(request, partial(_whole, server, talk, head))
    return answer_model(answer) if answer else Response(status_code=499)


async def _whole(server: Server, talk: Talk, head: dict[str, Any]) -> ChatAnswer:
    texts: list[str] = []
    result: RunResult | None = None
    async with aclosing(hear(server, talk)) as heard:
        async for one in heard:
            if isinstance(one, Piece):
                texts.append(_joined(one, bool(texts)))
            else:
                result = one
    if result is None:
        raise Refused(500, "the run ended without an answer")
    calls = [
        AnsweredCall(
            id=call.id,
            function=AnsweredFunction(name=call.name, arguments=_arguments(call)),
        )
        for call in result.calls
    ]
    message = AnsweredMessage(
        content="".join(texts) or (None if calls else ""), tool_calls=calls or None
    )
    choice = AnsweredChoice(message=message, finish_reason=_reason(result))
    return ChatAnswer(**head, choices=[choice], usage=chat_usage(result.usage))


async def _chunks(
    server: Server, talk: Talk, head: dict[str, Any], with_usage: bool
) -> AsyncGenerator[bytes]:
    def chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        more = {"usage": None} if with_usage else {}
        base = {**head, "object": "chat.completion.chunk", "choices": [choice]}
        return sse(base | more)

    begun = said = False
    async with aclosing(hear(server, talk)) as heard:
        async for one in heard:
            if not begun:
                yield chunk({"role": "assistant", "content": ""})
                begun = True
            if isinstance(one, Piece):
                yield chunk({"content": _joined(one, said)})
                said = True
                continue
            for index, call in enumerate(one.calls):
                function = {"name": call.name, "arguments": _arguments(call)}
                made = {"index": index, "id": call.id, "type": "function"}
                yield chunk({"tool_calls": [{**made, "function": function}]})
            yield chunk({}, _reason(one))
            if with_usage:
                usage = chat_usage(one.usage).model_dump()
                base = {**head, "object": "chat.completion.chunk", "choices": []}
                yield sse({**base, "usage": usage})


def _joined(piece: Piece, said: bool) -> str:
    """Return a piece; what is said after a tool begins a paragraph."""
    return f"\n\n{piece.text}" if piece.begins and said else piece.text


def _arguments(call: ToolCall) -> str:
    return json.dumps(dict(call.arguments))


def _reason(result: RunResult) -> Reason:
    if result.calls:
        return "tool_calls"
    return _REASONS.get(result.stop_reason, "stop")


def chat_usage(usage: Usage) -> ChatUsage:
    """Return tokens as clients of this interface know them."""
    return ChatUsage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.output_tokens,
        total_tokens=usage.prompt_tokens + usage.output_tokens,
        prompt_tokens_details=PromptDetails(cached_tokens=usage.cache_read_tokens),
    )
