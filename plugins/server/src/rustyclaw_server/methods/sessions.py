"""Conversations: list them, and look into them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from pydantic import Field
from rustyclaw import MethodError, RustyclawError, SessionError, ToolCall

from rustyclaw_server.auth.scopes import ADMIN, READ
from rustyclaw_server.methods.base import Anything, Context, method
from rustyclaw_server.rows import one_line, shorten
from rustyclaw_server.wire.frames import Wire, clean
from rustyclaw_server.wire.history import page

_TITLED = 200
Key = Field(min_length=1, max_length=512)


class ListParams(Wire):
    """Parameters of ``sessions.list``; there are no global or unknown sessions."""

    limit: int | None = Field(None, ge=1, le=10_000)
    active_minutes: int | None = Field(None, ge=1)
    include_global: bool | None = None
    include_unknown: bool | None = None
    include_derived_titles: bool | None = None
    include_last_message: bool | None = None
    label: str | None = Field(None, min_length=1, max_length=64)
    spawned_by: str | None = None
    agent_id: str | None = None
    search: str | None = Field(None, max_length=512)


class ListResult(Wire):
    """Rows of sessions, the last used first."""

    ts: int
    path: str
    count: int
    defaults: dict[str, Any]
    sessions: list[dict[str, Any]]


@method("sessions.list", scope=READ, params=ListParams, result=ListResult)
async def sessions_list(params: ListParams, context: Context) -> dict[str, Any]:
    """List conversations."""
    server, rows, now = context.server, context.server.rows, time.time()
    agent_id = params.agent_id.strip().lower() if params.agent_id else None
    search = (params.search or "").strip()
    found = await context.gateway.state.sessions.list(agent=agent_id, search=search)
    oldest = now - params.active_minutes * 60 if params.active_minutes else 0.0
    chosen = [
        info
        for info in found
        if not rows.is_hidden(info.key)
        and info.updated_at >= oldest
        and params.label in (None, info.label)
        and params.spawned_by in (None, server.settings.get(info.key).get("spawnedBy"))
    ][: params.limit]
    default = await rows.model_of()
    sessions = []
    for number, info in enumerate(chosen):
        row = await rows.row(info)
        if number < _TITLED:
            row |= await _glimpse(info, params, context)
        sessions.append(row)
    return {
        "ts": int(now * 1000),
        "path": "(multiple)",
        "count": len(sessions),
        "defaults": {
            "modelProvider": default.provider or None,
            "model": default.model or None,
            "contextTokens": default.window or None,
        },
        "sessions": sessions,
    }


async def _glimpse(info: Any, params: ListParams, context: Context) -> dict[str, str]:
    """Return title and last message of a session, as far as they are wanted."""
    if not (params.include_derived_titles or params.include_last_message):
        return {}
    try:
        glance = await context.server.rows.glance(info)
    except RustyclawError:  # a damaged one must not hide the others
        return {}
    wanted = {}
    if params.include_derived_titles and glance.title:
        wanted["derivedTitle"] = glance.title
    if params.include_last_message and glance.last:
        wanted["lastMessagePreview"] = glance.last
    return wanted


class PreviewParams(Wire):
    """Parameters of ``sessions.preview``."""

    keys: list[str] = Field(min_length=1, max_length=64)
    limit: int | None = Field(None, ge=1, le=200)
    max_chars: int | None = Field(None, ge=20, le=4000)


class PreviewResult(Wire):
    """The last messages of sessions, one line each."""

    ts: int
    previews: list[dict[str, Any]]


@method("sessions.preview", scope=READ, params=PreviewParams, result=PreviewResult)
async def sessions_preview(params: PreviewParams, context: Context) -> dict[str, Any]:
    """Return the last messages of some conversations."""
    limit, chars = params.limit or 12, params.max_chars or 240
    previews = [await _preview(key, limit, chars, context) for key in params.keys]
    return {"ts": int(time.time() * 1000), "previews": previews}


async def _preview(key: str, limit: int, chars: int, context: Context) -> Any:
    sessions = context.gateway.state.sessions
    try:
        info = await sessions.get(context.gateway.key(key))
    except SessionError:  # it cannot be a key
        info = None
    if info is None:
        return {"key": key, "status": "missing", "items": []}
    try:
        entries = (await sessions.transcript(info)).entries
    except RustyclawError:
        return {"key": key, "status": "error", "items": []}
    items = _items(entries, limit, chars)
    return {"key": key, "status": "ok" if items else "empty", "items": items}


def _items(entries: Sequence[Any], limit: int, chars: int) -> list[dict[str, str]]:
    """Return the last messages, oldest first."""
    items: list[dict[str, str]] = []
    for entry in reversed(entries):
        if len(items) >= limit:
            break
        message = entry.message
        if message is None:
            continue
        calls = [b for b in message.content if isinstance(b, ToolCall)]
        text = one_line(message.content) or ", ".join(f"call {c.name}" for c in calls)
        if message.role == "tool":
            results = (b.text for b in message.content if hasattr(b, "call_id"))
            text = " ".join(clean(" ".join(results)).split())
        role = "tool" if calls or message.role == "tool" else message.role
        if text:
            items.append({"role": role, "text": shorten(text, chars)})
    return items[::-1]


class ResolveParams(Wire):
    """Parameters of ``sessions.resolve``: exactly one of the first three."""

    key: str | None = Field(None, min_length=1, max_length=512)
    session_id: str | None = Field(None, min_length=1, max_length=128)
    label: str | None = Field(None, min_length=1, max_length=64)
    agent_id: str | None = None
    spawned_by: str | None = None
    include_global: bool | None = None
    include_unknown: bool | None = None


class ResolveResult(Wire):
    """The full key."""

    ok: bool
    key: str


@method(
    "sessions.resolve",
    scope=ADMIN,
    params=ResolveParams,
    result=ResolveResult,
    listed=False,
)
async def sessions_resolve(params: ResolveParams, context: Context) -> dict[str, Any]:
    """Find the one conversation that a key, an id or a label names."""
    asked = [t for t in (params.key, params.session_id, params.label) if t]
    if len(asked) != 1:
        raise MethodError("give exactly one of key, sessionId and label")
    sessions, settings = context.gateway.state.sessions, context.server.settings
    if params.key:
        info = await sessions.get(context.gateway.key(params.key))
        found = [info] if info else []
    else:
        found = [
            info
            for info in await sessions.list(agent=params.agent_id)
            if asked[0] in (info.session_id, info.label)
        ]
    if params.spawned_by:
        found = [
            info
            for info in found
            if settings.get(info.key).get("spawnedBy") == params.spawned_by
        ]
    if not found:
        raise MethodError(f"No session found: {asked[0]}")
    return {"ok": True, "key": found[0].key}


class GetParams(Wire):
    """Parameters of ``sessions.get``; ``before`` is what the last page said."""

    key: str = Key
    limit: int | None = Field(None, ge=1, le=1000)
    before: int | None = Field(None, ge=0)


class GetResult(Wire):
    """A page of a transcript, oldest first; no ``before``: it is the first page."""

    key: str
    session_id: str
    session: dict[str, Any]
    messages: list[dict[str, Any]]
    total: int
    before: int | None = None


@method("sessions.get", scope=READ, params=GetParams, result=GetResult)
async def sessions_get(params: GetParams, context: Context) -> dict[str, Any]:
    """Return a conversation page by page, from its end."""
    sessions, key = context.gateway.state.sessions, context.gateway.key(params.key)
    info = await sessions.get(key)
    if info is None:
        raise MethodError(f"No session found: {params.key}")
    entries = (await sessions.transcript(info)).entries
    end = len(entries) if params.before is None else min(params.before, len(entries))
    messages, start = page(entries[:end], params.limit or 100)
    answer: dict[str, Any] = {"key": key, "sessionId": info.session_id}
    answer |= {"session": await context.server.rows.row(info), "messages": messages}
    answer["total"] = len(entries)
    if start:
        answer["before"] = start
    return answer


class SubscribeResult(Wire):
    """Whether one is told of changes."""

    subscribed: bool


@method("sessions.subscribe", scope=READ, params=Anything, result=SubscribeResult)
async def sessions_subscribe(params: Anything, context: Context) -> dict[str, Any]:
    """Agree to be told of changes, which all readers are anyway."""
    return {"subscribed": True}


@method("sessions.unsubscribe", scope=READ, params=Anything, result=SubscribeResult)
async def sessions_unsubscribe(params: Anything, context: Context) -> dict[str, Any]:
    """Take ``sessions.subscribe`` back."""
    return {"subscribed": False}
