"""How the gateway is, who is connected, and what wakes it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from rustyclaw import MethodError, __version__

from rustyclaw_server.auth.scopes import ADMIN, READ, WRITE, has
from rustyclaw_server.channelfacts import title
from rustyclaw_server.methods.base import Anything, Context, Loose, method
from rustyclaw_server.wire.frames import Wire

if TYPE_CHECKING:
    from rustyclaw_server.catalog import Default
    from rustyclaw_server.server import Server

_RECENT = 10


class HealthParams(Anything):
    """Parameters of ``health``."""

    probe: bool | None = None


@method("health", scope=READ, params=HealthParams, result=Loose)
async def health(params: HealthParams, context: Context) -> dict[str, Any]:
    """Return how the gateway is; at most a minute old unless it is to be probed."""
    return await context.server.health.snapshot(fresh=bool(params.probe))


@method("system-presence", scope=READ, params=Anything)
async def system_presence(params: Anything, context: Context) -> list[dict[str, Any]]:
    """Return who is connected."""
    return context.server.presence.rows()


# --- status ---------------------------------------------------------------------------


@method("status", scope=READ, params=Anything, result=Loose)
async def status(params: Anything, context: Context) -> dict[str, Any]:
    """Return agents, channels and the sessions that were last used.

    Paths and waiting system events are for administrators alone.
    """
    server, gateway = context.server, context.gateway
    is_admin = has(frozenset(context.caller.scopes), ADMIN)
    default = await server.catalog.default()
    agents = (await server.health.snapshot())["agents"]
    beats, by_agent = [], []
    for agent in agents:
        beat, agent_id = agent["heartbeat"], agent["agentId"]
        beats.append(
            {
                "agentId": agent_id,
                "enabled": beat["enabled"],
                "every": beat["every"],
                "everyMs": beat["everyMs"],
            }
        )
        infos = await gateway.state.sessions.list(agent=agent_id, limit=_RECENT)
        by_agent.append(
            {
                "agentId": agent_id,
                "path": agent["sessions"]["path"] if is_admin else "[redacted]",
                "count": max(agent["sessions"]["count"], len(infos)),
                "recent": [_session(server, i, default) for i in infos[:_RECENT]],
            }
        )
    recent = [row for agent in by_agent for row in agent["recent"]]
    recent.sort(key=lambda row: -row["updatedAt"])
    events = server.system_events.waiting(gateway.key("main")) if is_admin else []
    return {
        "runtimeVersion": __version__,
        "heartbeat": {
            "defaultAgentId": gateway.config.default_agent_id,
            "agents": beats,
        },
        "channelSummary": [
            f"{title(name)}: {channel.state}"
            for name, channel in sorted(gateway.channels.items())
        ],
        "queuedSystemEvents": events,
        "sessions": {
            "paths": [agent["path"] for agent in by_agent] if is_admin else [],
            "count": sum(agent["count"] for agent in by_agent),
            "defaults": {
                "model": default.model or None,
                "contextTokens": default.window or None,
            },
            "recent": recent[:_RECENT],
            "byAgent": by_agent,
        },
    }


def _session(server: Server, info: Any, default: Default) -> dict[str, Any]:
    updated, model = int(info.updated_at * 1000), info.model or ""
    levels = {
        "thinkingLevel": info.thinking,
        "verboseLevel": server.runs.verbose_of.get(info.key),
        "reasoningLevel": server.runs.reasoning_of.get(info.key),
    }
    used, window = info.context_tokens, default.window
    flags = [f"id:{info.session_id}"]
    flags = [f"think:{info.thinking}", *flags] if info.thinking else flags
    shared = info.key.split(":")[3:-1][:1] in (["group"], ["channel"])
    return {
        "agentId": info.agent_id,
        "key": info.key,
        "kind": "group" if shared else "direct",
        "sessionId": info.session_id,
        "updatedAt": updated,
        "age": max(int(time.time() * 1000) - updated, 0),
        **{name: level for name, level in levels.items() if level},
        "systemSent": True,
        "abortedLastRun": False,
        "inputTokens": info.usage.input_tokens,
        "outputTokens": info.usage.output_tokens,
        "cacheRead": info.usage.cache_read_tokens,
        "cacheWrite": info.usage.cache_write_tokens,
        "totalTokens": used,
        "totalTokensFresh": bool(used),
        "remainingTokens": max(window - used, 0),
        "percentUsed": min(round(100 * used / window), 999) if window else 0,
        "model": model.partition("/")[2] or model or default.model,
        "contextTokens": window,
        "flags": flags,
    }


# --- Events of the system, and heartbeats ---------------------------------------------


Name = Field(None, max_length=256)


class SystemEventParams(Wire):
    """Parameters of ``system-event``: a text, and what a client says of itself."""

    text: str = Field(min_length=1, max_length=10_000)
    device_id: str | None = Name
    instance_id: str | None = Name
    host: str | None = Name
    ip: str | None = Name
    mode: str | None = Name
    version: str | None = Name
    platform: str | None = Name
    device_family: str | None = Name
    model_identifier: str | None = Name
    last_input_seconds: float | None = None
    reason: str | None = Name
    roles: list[str] | None = Field(None, max_length=16)
    scopes: list[str] | None = Field(None, max_length=64)
    tags: list[str] | None = Field(None, max_length=64)


class Ok(Wire):
    """It is done."""

    ok: bool


@method("system-event", scope=ADMIN, params=SystemEventParams, result=Ok)
async def system_event(params: SystemEventParams, context: Context) -> dict[str, Any]:
    """Note that something is there, and tell the main session with its next message."""
    text = params.text.strip()
    if not text:
        raise MethodError("text required")
    server = context.server
    facts = params.model_dump(by_alias=True, exclude_none=True)
    key = params.device_id or params.instance_id or params.host or text[:64]
    known = next((r for r in server.presence.rows() if r.get("text") == text), None)
    server.presence.beacon(key.lower(), {"reason": "system-event", **facts})
    server.announce_presence()
    # A node says the same again and again; a session hears of it when it is new.
    if not (text.startswith("Node:") and known):
        server.system_events.add(context.gateway.key("main"), text)
    return {"ok": True}


@method("last-heartbeat", scope=READ, params=Anything)
async def last_heartbeat(params: Anything, context: Context) -> dict[str, Any] | None:
    """Return the last heartbeat that a plugin has told of; ``null`` if none has."""
    return context.server.heartbeats.last


class HeartbeatsParams(Wire):
    """Parameters of ``set-heartbeats``."""

    enabled: bool


class HeartbeatsResult(Ok):
    """Whether heartbeats are on now."""

    enabled: bool


@method("set-heartbeats", scope=ADMIN, params=HeartbeatsParams, result=HeartbeatsResult)
async def set_heartbeats(params: HeartbeatsParams, context: Context) -> dict[str, Any]:
    """Switch heartbeats on or off until the gateway ends."""
    context.server.heartbeats.switch(params.enabled)
    return {"ok": True, "enabled": params.enabled}


class WakeParams(Wire):
    """Parameters of ``wake``."""

    mode: Literal["now", "next-heartbeat"]
    text: str = Field(min_length=1, max_length=10_000)
    session_key: str | None = Field(None, max_length=512)


class WakeResult(Ok):
    """The run that it has started, if it was to be now."""

    run_id: str | None = None


@method("wake", scope=WRITE, params=WakeParams, result=WakeResult)
async def wake(params: WakeParams, context: Context) -> dict[str, Any]:
    """Tell the main session something, now or with its next message."""
    if not params.text.strip():
        raise MethodError("text required")
    if context.gateway.draining:
        text = "the gateway is stopping; try again later"
        raise MethodError(text, code="UNAVAILABLE")
    now = params.mode == "now"
    session = params.session_key or "main"
    run_id = await context.server.system_events.wake(
        params.text, now=now, session=session
    )
    return {"ok": True, **({"runId": run_id} if run_id else {})}


# --- Updates and restarts -------------------------------------------------------------


class UpdateParams(Wire):
    """Parameters of ``update.run``."""

    session_key: str | None = None
    note: str | None = None
    restart_delay_ms: int | None = Field(None, ge=0)
    timeout_ms: int | None = Field(None, ge=1)


@method("update.run", scope=ADMIN, params=UpdateParams, result=Loose)
async def update_run(params: UpdateParams, context: Context) -> dict[str, Any]:
    """Refuse: rustyclaw is updated where it was installed."""
    raise MethodError(
        "rustyclaw does not update itself; run `pip install --upgrade rustyclaw` and "
        "the same for its plugins, then call `gateway.restart`",
        code="UNAVAILABLE",
    )


class RestartParams(Wire):
    """Parameters of ``gateway.restart``."""

    session_key: str | None = Field(None, max_length=512)
    note: str | None = Field(None, max_length=4000)
    delay_ms: int | None = Field(None, ge=0)


class RestartResult(Ok):
    """The restart, and what is told when it has come about."""

    restart: dict[str, Any]
    sentinel: dict[str, Any]


@method("gateway.restart", scope=ADMIN, params=RestartParams, result=RestartResult)
async def gateway_restart(params: RestartParams, context: Context) -> dict[str, Any]:
    """Finish what was begun, and start anew."""
    restarts = context.server.restarts
    note, reason = params.note, "gateway.restart"
    sentinel = await restarts.leave(reason, params.session_key, note)
    restart = restarts.schedule(reason, params.delay_ms)
    return {"ok": True, "restart": restart, "sentinel": sentinel}
