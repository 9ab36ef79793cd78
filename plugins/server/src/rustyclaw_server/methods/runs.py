"""One run of an agent, and its end: ``agent`` and ``agent.*``.

The call is answered twice: when the run is accepted, and when it has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

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

from rustyclaw_server.auth.scopes import READ, WRITE
from rustyclaw_server.methods.base import Context, Loose, method
from rustyclaw_server.methods.chat import Key, Words, watch_tools
from rustyclaw_server.wire.attachments import media_of
from rustyclaw_server.wire.frames import Wire, clean
from rustyclaw_server.wire.liverun import LiveRun
from rustyclaw_server.wire.words import now_ms, usage_of

if TYPE_CHECKING:
    from rustyclaw import RunResult

_WAIT_MS = 30_000
#: Channels that clients name by default, whether they are there or not.
_CHANNELS = (
    *("telegram", "whatsapp", "discord", "irc", "googlechat", "slack", "signal"),
    *("imessage", "webchat", "last"),
)


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
        accepted = {"runId": run_id, "status": "accepted", "acceptedAt": now_ms()}
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
    watch_tools(run, context)
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
