"""One run for one request: how it is begun, heard and judged."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
from rustyclaw import (
    ConfigError,
    Message,
    RunEnded,
    RunOptions,
    RustyclawError,
    TextDelta,
    ToolStarted,
)

from rustyclaw_server.http.answers import Refused
from rustyclaw_server.wire.frames import clean

if TYPE_CHECKING:
    from rustyclaw import RunError, RunResult

    from rustyclaw_server.http.openai.place import Place
    from rustyclaw_server.server import Server

logger = logging.getLogger(__name__)

#: OpenAI's clients repeat what failed, unless they are told not to: a run may have
#: had effects before it failed.
_ONCE = {"x-should-retry": "false"}
_STATUS = {"context_overflow": 400, "role_ordering": 400, "storage": 503}
_STATUS |= {"provider_error": 502, "auth_failure": 502, "timeout": 504}
_THINKING = {"none": "off", "minimal": "minimal", "low": "low", "medium": "medium"}
THINKING = {**_THINKING, "high": "high", "xhigh": "xhigh"}
_DELETING_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """What a request asks an agent.

    :param given: Earlier messages; they count in a session that is new.
    :param keep: Whether a session that was made for this remains.
    """

    place: Place
    message: Message
    given: tuple[Message, ...] = ()
    options: RunOptions = field(default_factory=RunOptions)
    keep: bool = True


@dataclass(frozen=True, slots=True)
class Piece:
    """More of what an agent says; it may begin anew after a tool has run."""

    text: str
    begins: bool


async def hear(server: Server, talk: Talk) -> AsyncGenerator[Piece | RunResult]:
    """Run an agent; yield what it says, and at last how it ended.

    Leaving early aborts the run.

    :raises Refused: The run failed, or was never begun.
    """
    place, begins = talk.place, True
    if not place.is_fresh:
        await _settle(server, talk)
    try:
        answer = server.gateway.run(
            talk.message, session=place.session, options=talk.options
        )
        async with aclosing(answer) as events:
            async for event in events:
                if isinstance(event, TextDelta) and event.text:
                    yield Piece(clean(event.text), begins)
                    begins = False
                elif isinstance(event, ToolStarted):
                    begins = True
                elif isinstance(event, RunEnded):
                    yield _judged(server, event.result)
    except ConfigError as exc:
        raise Refused(400, str(exc)) from None
    finally:
        if not talk.keep and place.is_fresh:
            await _forget(server, place.session)


async def _settle(server: Server, talk: Talk) -> None:
    """Put results of tools into a session that waits for them, before the message.

    A client that sends the whole conversation may say something behind the results;
    a session that goes on does not look at what was given with a message.
    """
    if talk.message.role != "user" or not talk.given or talk.given[-1].role != "tool":
        return
    info = await server.gateway.state.sessions.get(talk.place.session)
    if info is None:
        return
    transcript = await server.gateway.state.sessions.transcript(info)
    last = transcript.entries[-1].message if transcript.entries else None
    waiting = {call.id for call in last.tool_calls} if last else set()
    results = talk.given[-1]
    if waiting & {getattr(block, "call_id", "") for block in results.content}:
        await server.gateway.inject(talk.place.session, results)


async def _forget(server: Server, session: str) -> None:
    try:
        with anyio.move_on_after(_DELETING_SECONDS, shield=True):
            await server.gateway.reset(session, "delete")
    except RustyclawError as exc:
        logger.warning("cannot delete session %s: %s", session, exc)


def _judged(server: Server, result: RunResult) -> RunResult:
    if result.error is not None:
        raise failure(server, result.error)
    if result.aborted:
        raise Refused(500, "the run was aborted", _ONCE, code="aborted")
    return result


def failure(server: Server, error: RunError) -> Refused:
    """Return a run's error as an answer of HTTP; it holds no secret."""
    status = _STATUS.get(error.kind, 500)
    code = "context_length_exceeded" if error.kind == "context_overflow" else error.kind
    return Refused(status, str(server.gateway.redact(error.message)), _ONCE, code=code)
