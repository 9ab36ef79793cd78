"""``POST /v1/responses``: OpenAI's newer interface, in front of an agent."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from starlette.responses import Response

from rustyclaw_server.http.answers import Refused, answer_model, error, refused_by
from rustyclaw_server.http.body import read_model
from rustyclaw_server.http.guard import require_open, require_secret, server_of
from rustyclaw_server.http.openai.place import place_of
from rustyclaw_server.http.openai.response_answer import Event, Growing, new_answer
from rustyclaw_server.http.openai.response_params import ResponseParams, asked
from rustyclaw_server.http.openai.talk import Piece, Talk, hear
from rustyclaw_server.http.streams import EventStream, sse, unless_gone

if TYPE_CHECKING:
    from starlette.datastructures import Headers
    from starlette.requests import Request

    from rustyclaw_server.http.openai.place import Place
    from rustyclaw_server.http.openai.response_answer import ResponseAnswer
    from rustyclaw_server.http.openai.stored import Stored
    from rustyclaw_server.server import Server


async def responses(request: Request) -> Response:
    """Ask an agent; with ``stream`` the answer comes as events."""
    require_secret(request)
    require_open(request)
    server = server_of(request)
    config = server.config
    params = await read_model(
        request, ResponseParams, config.limits, config.http.max_body_bytes
    )
    wanted = asked(params)
    stored: Stored = request.state.stored
    place = await _place(server, params, request.headers, stored)
    growing = Growing(new_answer(params, int(time.time())))
    options = replace(
        wanted.options,
        run_id=growing.answer.id,
        model=place.model,
        history=wanted.given,
    )
    talk = Talk(
        place=place,
        message=wanted.message,
        given=wanted.given,
        options=options,
        keep=params.store is not False,
    )
    events = _events(server, talk, growing, stored)
    if params.stream:
        return EventStream(_shown(events, growing), error, _unexpected)
    answer = await unless_gone(request, partial(_whole, events, growing))
    return answer_model(answer) if answer else Response(status_code=499)


async def _place(
    server: Server, params: ResponseParams, headers: Headers, stored: Stored
) -> Place:
    place = place_of(server, params.model, headers, params.user, "openresponses")
    if not params.previous_response_id:
        return place
    session = await stored.session_of(params.previous_response_id)
    is_other = session != place.session and not place.is_fresh
    if is_other or session.split(":")[1] != place.session.split(":")[1]:
        problem = "the previous response is of another agent or session"
        raise Refused(400, problem, param="previous_response_id")
    return replace(place, session=session, is_fresh=False)


async def _events(
    server: Server, talk: Talk, growing: Growing, stored: Stored
) -> AsyncGenerator[Event]:
    for event in growing.begin():
        yield event
    async with aclosing(hear(server, talk)) as heard:
        async for one in heard:
            if isinstance(one, Piece):
                for event in growing.say(one.text, begins=one.begins):
                    yield event
                continue
            if talk.keep:
                await stored.keep(growing.answer.id, one.session_key)
            for event in growing.finish(one):
                yield event


async def _whole(events: AsyncGenerator[Event], growing: Growing) -> ResponseAnswer:
    async with aclosing(events):
        async for _ in events:
            pass
    return growing.answer


async def _shown(
    events: AsyncGenerator[Event], growing: Growing
) -> AsyncGenerator[bytes]:
    try:
        async with aclosing(events):
            async for event in events:
                yield sse(event, event["type"])
    except Exception as exc:
        for event in growing.fail(refused_by(exc)):
            yield sse(event, event["type"])


def _unexpected(refused: Refused) -> bytes:
    """Return an error that comes between two events."""
    facts = refused.facts
    return sse({"type": "error", **facts, "sequence_number": 0}, "error")
