"""Windows of a conversation: ``chat.*``.

The flow is that of sheet sections 8 and 12: an answer at once, the rest as events
(`rustyclaw_server.wire.runs`). The idempotency key of a client is the id of its run.
"""

from __future__ import annotations

from typing import Any, Literal
from uuid import NAMESPACE_OID, uuid5

from pydantic import Field
from rustyclaw import Message, MethodError, RunOptions

from rustyclaw_server.auth.scopes import ADMIN, READ, WRITE
from rustyclaw_server.methods.base import Context, method
from rustyclaw_server.wire.attachments import media_of
from rustyclaw_server.wire.frames import Wire, clean
from rustyclaw_server.wire.history import history
from rustyclaw_server.wire.liverun import LiveRun
from rustyclaw_server.wire.words import injected

_STOP_WORDS = frozenset({"/stop", "stop", "esc", "abort", "wait", "exit", "interrupt"})
Key = Field(min_length=1, max_length=512)
Words = Field(max_length=10_000_000)


class HistoryParams(Wire):
    """Parameters of ``chat.history``."""

    session_key: str = Key
    limit: int | None = Field(None, ge=1, le=1000)
    max_chars: int | None = Field(None, ge=1, le=500_000)


class HistoryResult(Wire):
    """Messages as a chat window shows them, oldest first."""

    session_key: str
    session_id: str | None = None
    messages: list[dict[str, Any]]
    thinking_level: str
    verbose_level: str | None = None


@method("chat.history", scope=READ, params=HistoryParams, result=HistoryResult)
async def chat_history(params: HistoryParams, context: Context) -> dict[str, Any]:
    """Return the last messages of a conversation; an unknown one has none."""
    gateway, key = context.gateway, context.gateway.key(params.session_key)
    info = await gateway.state.sessions.get(key)
    answer: dict[str, Any] = {"sessionKey": params.session_key, "messages": []}
    if info is not None:
        transcript = await gateway.state.sessions.transcript(info)
        answer["sessionId"] = info.session_id
        answer["messages"] = history(
            transcript.entries, params.limit or 200, params.max_chars
        )
    thinking = info.thinking if info else None
    answer["thinkingLevel"] = thinking or gateway.config.agents.defaults.thinking
    answer["verboseLevel"] = context.server.runs.verbose_of.get(key, "off")
    return answer


class SendParams(Wire):
    """Parameters of ``chat.send``."""

    session_key: str = Key
    session_id: str | None = None
    message: str = Words
    thinking: str | None = None
    deliver: bool | None = None
    attachments: list[dict[str, Any]] = Field([], max_length=32)
    timeout_ms: int | None = Field(None, ge=0)
    idempotency_key: str = Field(min_length=1, max_length=256)


class SendResult(Wire):
    """What became of the message for now; events tell the rest."""

    run_id: str
    status: Literal["started", "in_flight", "ok", "error"]
    summary: str | None = None


@method("chat.send", scope=WRITE, params=SendParams, result=SendResult)
async def chat_send(params: SendParams, context: Context) -> dict[str, Any]:
    """Say something in a conversation; the answer comes as events."""
    server, gateway = context.server, context.gateway
    run_id, key = params.idempotency_key, gateway.key(params.session_key)
    text = clean(params.message)
    media = media_of(params.attachments)
    if not text.strip() and not media:
        raise MethodError("message or attachment required")
    if text.strip().lower() in _STOP_WORDS:
        return _abort_all(params.session_key, key, context)
    if known := await server.runs.find(run_id, _queued(run_id)):
        is_queued = known.run_id != run_id
        return {"runId": run_id, "status": "ok"} if is_queued else _again(known)
    if server.dedupe.get(f"chat:{run_id}"):
        return {"runId": run_id, "status": "ok"}
    gateway.config.agent(key.split(":")[1])  # an unknown agent is an error now
    if gateway.draining:
        raise MethodError(
            "the gateway is stopping; try again later", code="UNAVAILABLE"
        )
    server.dedupe.keep(f"chat:{run_id}", True)
    answer = await gateway.command(text, key)
    if answer is not None:
        server.runs.inject(params.session_key, run_id, injected(answer), key)
        return {"runId": run_id, "status": "started"}
    is_busy = bool(server.runs.active_in(key)) or _is_busy(context, key)
    run = LiveRun(
        run_id=_queued(run_id) if is_busy else run_id,
        key=key,
        raw_key=params.session_key,
        verbose=server.runs.verbose_of.get(key, "off"),
        reasoning=server.runs.reasoning_of.get(key, "off"),
    )
    watch_tools(run, context)
    options = RunOptions(
        thinking=params.thinking,
        timeout_seconds=params.timeout_ms / 1000 if params.timeout_ms else None,
    )
    if is_busy:  # it waits for its turn, under an id of ours
        server.runs.end_silently(key, run_id)
    await server.runs.start(run, Message.user(text, *media), options)
    return {"runId": run_id, "status": "started"}


def _queued(run_id: str) -> str:
    """Return the id that a run gets if its session is busy: the same each time."""
    return str(uuid5(NAMESPACE_OID, run_id))


def _again(run: LiveRun) -> dict[str, Any]:
    """Return what is told to a client that says the same once more."""
    if not run.ended_at:
        return {"runId": run.run_id, "status": "in_flight"}
    if run.error:
        payload = {"runId": run.run_id, "status": "error", "summary": run.error}
        raise MethodError(run.error, code="UNAVAILABLE", payload=payload)
    return {"runId": run.run_id, "status": "ok"}


def _is_busy(context: Context, key: str) -> bool:
    return any(run.session_key == key for run in context.gateway.active_runs())


def watch_tools(run: LiveRun, context: Context) -> None:
    """Let a connection that wants to know of tools hear of this run and its like."""
    connection = context.connection
    if connection is not None and "tool-events" in connection.caps:
        for one in (run, *context.server.runs.active_in(run.key)):
            one.tool_conns.add(connection.id)


class AbortParams(Wire):
    """Parameters of ``chat.abort``."""

    session_key: str = Key
    run_id: str | None = None


class AbortResult(Wire):
    """Which runs were aborted."""

    ok: bool
    aborted: bool
    run_ids: list[str]


@method("chat.abort", scope=WRITE, params=AbortParams, result=AbortResult)
async def chat_abort(params: AbortParams, context: Context) -> dict[str, Any]:
    """Abort one run of a conversation, or all; what was said until then is kept."""
    runs, key = context.server.runs, context.gateway.key(params.session_key)
    if params.run_id is None:
        return _abort_all(params.session_key, key, context)
    run = runs.get(params.run_id)
    if run is None or run.ended_at:
        return {"ok": True, "aborted": False, "runIds": []}
    if params.session_key not in (run.raw_key, run.key):
        raise MethodError("runId does not match sessionKey")
    aborted = runs.abort(run, "rpc")
    return {"ok": True, "aborted": aborted, "runIds": [run.run_id] if aborted else []}


def _abort_all(raw_key: str, key: str, context: Context) -> dict[str, Any]:
    runs = context.server.runs
    aborted = [run.run_id for run in runs.active_in(key) if runs.abort(run, "stop")]
    return {"ok": True, "aborted": bool(aborted), "runIds": aborted}


class InjectParams(Wire):
    """Parameters of ``chat.inject``."""

    session_key: str = Key
    message: str = Words
    label: str | None = Field(None, max_length=100)


class InjectResult(Wire):
    """The id of the new message."""

    ok: bool
    message_id: str


@method(
    "chat.inject", scope=ADMIN, params=InjectParams, result=InjectResult, listed=False
)
async def chat_inject(params: InjectParams, context: Context) -> dict[str, Any]:
    """Put a message of the assistant into a conversation, without a run."""
    text = clean(params.message)
    said = f"[{params.label}]\n\n{text}" if params.label else text
    message_id = await context.gateway.inject(
        params.session_key, Message.assistant(said)
    )
    key = context.gateway.key(params.session_key)
    context.server.runs.inject(key, f"inject-{message_id}", injected(said))
    return {"ok": True, "messageId": message_id}
