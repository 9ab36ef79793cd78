"""Talking to an agent: ``chat.*`` for windows of a conversation, ``agent`` for one run.

The flow is that of sheet sections 8 and 12: an answer at once, the rest as events
(`rustyclaw_server.wire.runs`). The idempotency key of a client is the id of its run.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal
from uuid import NAMESPACE_OID, uuid5

import anyio
from pydantic import Field
from rustyclaw import (
    Message,
    MethodError,
    RunOptions,
    RustyclawError,
    SessionError,
    Target,
)

from rustyclaw_server.auth.scopes import ADMIN, READ, WRITE
from rustyclaw_server.methods.base import Context, Loose, method
from rustyclaw_server.wire.attachments import media_of
from rustyclaw_server.wire.frames import Wire, clean
from rustyclaw_server.wire.history import history
from rustyclaw_server.wire.liverun import LiveRun
from rustyclaw_server.wire.words import injected, usage_of

if TYPE_CHECKING:
    from rustyclaw import RunResult

_WAIT_MS = 30_000
_STOP_WORDS = frozenset({"/stop", "stop", "esc", "abort", "wait", "exit", "interrupt"})
#: Channels that clients name by default, whether they are there or not.
_CHANNELS = (
    *("telegram", "whatsapp", "discord", "irc", "googlechat", "slack", "signal"),
    *("imessage", "webchat", "last"),
)
Key = Field(min_length=1, max_length=512)
Words = Field(max_length=10_000_000)


# --- chat.* ---------------------------------------------------------------------------


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
    _watch_tools(run, context)
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


def _watch_tools(run: LiveRun, context: Context) -> None:
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


# --- agent ----------------------------------------------------------------------------


class AgentParams(Wire):
    """Parameters of ``agent``; where the answer goes besides is for `deliver`."""

    message: str = Words
    idempotency_key: str = Field(min_length=1, max_length=256)
    agent_id: str | None = None
    session_key: str | None = None
    session_id: str | None = None
    to: str | None = None
    reply_to: str | None = None
    thinking: str | None = None
    deliver: bool | None = None
    attachments: list[dict[str, Any]] = Field([], max_length=32)
    channel: str | None = None
    reply_channel: str | None = None
    account_id: str | None = None
    reply_account_id: str | None = None
    thread_id: str | None = None
    group_id: str | None = None
    group_channel: str | None = None
    group_space: str | None = None
    timeout: int | None = Field(None, ge=0)
    lane: str | None = None
    extra_system_prompt: str | None = None
    input_provenance: dict[str, Any] | None = None
    label: str | None = None
    spawned_by: str | None = None


@method("agent", scope=WRITE, params=AgentParams, result=Loose)
async def agent(params: AgentParams, context: Context) -> dict[str, Any]:
    """Run an agent: a first answer when it is accepted, a second one at its end."""
    server, run_id = context.server, params.idempotency_key
    known = await server.runs.find(run_id)
    if known is None:
        if context.gateway.draining:
            text = "the gateway is stopping; try again later"
            raise MethodError(text, code="UNAVAILABLE")
        known = await _start_agent(params, context)
    if not known.done.is_set():
        accepted = {"runId": run_id, "status": "accepted", "acceptedAt": _now()}
        context.caller.progress(accepted)
    await known.done.wait()
    if known.error:
        summary = {"runId": run_id, "status": "error", "summary": known.error}
        raise MethodError(known.error, code="UNAVAILABLE", payload=summary)
    return {
        "runId": run_id,
        "status": "ok",
        "summary": "aborted" if known.aborted else "completed",
        "result": result_of(known.result) if known.result else {"payloads": []},
    }


async def _start_agent(params: AgentParams, context: Context) -> LiveRun:
    server, gateway = context.server, context.gateway
    key = await _session_of(params, context)
    text, media = clean(params.message), media_of(params.attachments)
    if text.strip().lower() in ("/new", "/reset"):
        await gateway.reset(key)
    run = LiveRun(
        run_id=params.idempotency_key,
        key=key,
        verbose=server.runs.verbose_of.get(key, "off"),
        reasoning=server.runs.reasoning_of.get(key, "off"),
    )
    _watch_tools(run, context)
    options = RunOptions(
        thinking=params.thinking,
        system=params.extra_system_prompt or "",
        timeout_seconds=params.timeout or None,
    )
    target = await _target_of(params, key, context) if params.deliver else None
    return await server.runs.start(run, Message.user(text, *media), options, target)


async def _session_of(params: AgentParams, context: Context) -> str:
    """Return the key of the session that a call of ``agent`` means.

    :raises MethodError: It names an agent, a session or a channel that cannot be.
    """
    gateway = context.gateway
    known = {*_CHANNELS, *gateway.channels, *gateway.loader.enabled("channels")}
    for channel in filter(None, (params.channel, params.reply_channel)):
        if channel.strip().lower() not in known:
            raise MethodError(f"invalid agent params: unknown channel: {channel}")
    if params.session_id:
        for info in await gateway.state.sessions.list():
            if info.session_id == params.session_id:
                return info.key
    agent_id = params.agent_id or gateway.config.default_agent_id
    try:
        agent_id = gateway.config.agent(agent_id).id
        key = params.session_key or "main"
        is_full = key.lower().startswith("agent:")
        name = gateway.key(key if is_full else f"agent:{agent_id}:{key}")
    except SessionError:
        problem = f'malformed session key "{params.session_key}"'
        raise MethodError(f"invalid agent params: {problem}") from None
    except RustyclawError:
        problem = f'unknown agent id "{agent_id}"'
        raise MethodError(f"invalid agent params: {problem}") from None
    gateway.config.agent(name.split(":")[1])  # an unknown one is an error now
    return name


async def _target_of(params: AgentParams, key: str, context: Context) -> Target | None:
    """Return the chat that was named, or that the session used last."""
    gateway = context.gateway
    channel = params.reply_channel or params.channel or "last"
    if params.to and channel in gateway.deliveries:
        return Target(
            channel=channel,
            chat_id=params.to,
            account_id=params.reply_account_id or params.account_id or "default",
            thread_id=params.thread_id,
        )
    info = await gateway.state.sessions.get(key)
    return info.last_target if info else None


def result_of(result: RunResult) -> dict[str, Any]:
    """Return how a run ended, as clients know it."""
    provider, _, model = result.model.partition("/")
    usage = usage_of(result.usage)
    total = {"input": usage["input"], "output": usage["output"]}
    return {
        "payloads": [{"text": clean(result.text), "mediaUrl": None}],
        "meta": {
            "durationMs": round(result.seconds * 1000),
            "agentMeta": {
                "sessionId": result.session_key,
                "provider": provider,
                "model": model,
                "usage": {**total, "total": usage["totalTokens"]},
                "promptTokens": result.usage.prompt_tokens,
            },
            "aborted": result.aborted,
            "stopReason": result.stop_reason,
        },
    }


class WaitParams(Wire):
    """Parameters of ``agent.wait``."""

    run_id: str = Key
    timeout_ms: int | None = Field(None, ge=0, le=86_400_000)


class WaitResult(Wire):
    """How a run ended; times in milliseconds since the epoch."""

    run_id: str
    status: Literal["ok", "error", "timeout"]
    started_at: int | None = None
    ended_at: int | None = None
    error: str | None = None


@method("agent.wait", scope=WRITE, params=WaitParams, result=WaitResult)
async def agent_wait(params: WaitParams, context: Context) -> dict[str, Any]:
    """Wait for the end of a run, but not longer than 30 s or what was said."""
    run = await context.server.runs.find(params.run_id)
    limit = _WAIT_MS if params.timeout_ms is None else params.timeout_ms
    with anyio.move_on_after(limit / 1000):
        while run is None:  # it may be about to be started
            await anyio.sleep(0.05)
            run = context.server.runs.get(params.run_id)
        await run.done.wait()
    if run is None or not run.done.is_set():
        return {"runId": params.run_id, "status": "timeout"}
    times = {"startedAt": run.started_at, "endedAt": run.ended_at}
    if run.error:
        return {"runId": run.run_id, "status": "error", **times, "error": run.error}
    return {"runId": run.run_id, "status": "ok", **times}


class AgentAbortParams(Wire):
    """Parameters of ``agent.abort``; one of the two, or neither for all runs."""

    session_key: str | None = None
    run_id: str | None = None


class AgentAbortResult(Wire):
    """How many runs were aborted."""

    aborted: int


@method("agent.abort", scope=WRITE, params=AgentAbortParams, result=AgentAbortResult)
async def agent_abort(params: AgentAbortParams, context: Context) -> dict[str, Any]:
    """Abort runs: by id, of a session, or all."""
    runs, gateway = context.server.runs, context.gateway
    key = gateway.key(params.session_key) if params.session_key else ""
    meant = [
        run
        for active in gateway.active_runs()
        if (run := runs.get(active.run_id)) is not None
        and key in ("", run.key)
        and params.run_id in (None, run.run_id)
    ]
    return {"aborted": sum(runs.abort(run, "rpc") for run in meant)}


class AgentStatusParams(Wire):
    """Parameters of ``agent.status``."""

    session_key: str | None = None


@method("agent.status", scope=READ, params=AgentStatusParams, result=Loose)
async def agent_status(params: AgentStatusParams, context: Context) -> dict[str, Any]:
    """Return the runs in progress, or whether a session has one."""
    active = context.gateway.active_runs()
    if params.session_key:
        key = context.gateway.key(params.session_key)
        return {"sessionKey": key, "running": any(r.session_key == key for r in active)}
    return {
        "activeAgents": [
            {
                "runId": run.run_id,
                "sessionKey": run.session_key,
                "channel": run.channel,
                "startedAt": int(run.started_at * 1000),
            }
            for run in active
        ]
    }


def _now() -> int:
    return int(time.time() * 1000)
