"""Conversations: list, look into, change, reset, delete, shorten.

Two decisions of ours. ``sessions.compact`` with ``maxLines`` keeps the newest lines,
as OpenClaw does, and without it has the model write a summary, as people expect who
press the button. ``sessions.patch`` refuses restrictions that this gateway would not
enforce for one session (such as ``execSecurity``), rather than keep them in vain.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal

import anyio
from pydantic import Field
from rustyclaw import MethodError, ProviderError, RustyclawError, SessionError, ToolCall

from rustyclaw_server.auth.scopes import ADMIN, READ
from rustyclaw_server.methods.base import Anything, Context, Loose, method
from rustyclaw_server.rows import one_line, shorten
from rustyclaw_server.wire.frames import Wire, clean
from rustyclaw_server.wire.history import page

_TITLED = 200
_WAIT_SECONDS = 15.0
_COMPACT_SECONDS = 330.0
Key = Field(min_length=1, max_length=512)

_LEVELS = {
    "thinking_level": ("off", "minimal", "low", "medium", "high", "xhigh"),
    "verbose_level": ("off", "on", "full"),
    "reasoning_level": ("off", "on", "stream"),
    "response_usage": ("off", "on", "tokens", "full"),
    "group_activation": ("mention", "always"),
}


# --- Looking --------------------------------------------------------------------------


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


# --- Changing -------------------------------------------------------------------------

#: What a session may be set to because it is so anyway; else it would be in vain.
_FIXED = {
    "elevated_level": ("off", "the exec tool asks an operator instead"),
    "exec_host": ("gateway", "commands run on the gateway's host"),
    "exec_security": (None, "set tools.exec in the config"),
    "exec_ask": (None, "set tools.exec in the config"),
    "exec_node": (None, "commands run on the gateway's host"),
    "send_policy": ("allow", "disable the channel instead"),
}


class PatchParams(Wire):
    """Parameters of ``sessions.patch``; ``null`` clears."""

    key: str = Key
    label: str | None = Field(None, min_length=1, max_length=64)
    model: str | None = Field(None, min_length=1, max_length=256)
    thinking_level: str | None = None
    verbose_level: str | None = None
    reasoning_level: str | None = None
    response_usage: str | None = None
    group_activation: str | None = None
    spawned_by: str | None = Field(None, min_length=1, max_length=512)
    spawn_depth: int | None = Field(None, ge=0, le=100)
    elevated_level: str | None = None
    exec_host: str | None = None
    exec_security: str | None = None
    exec_ask: str | None = None
    exec_node: str | None = None
    send_policy: str | None = None


class PatchResult(Wire):
    """The session as it is now."""

    ok: bool
    path: str
    key: str
    entry: dict[str, Any]
    resolved: dict[str, Any]


@method("sessions.patch", scope=ADMIN, params=PatchParams, result=PatchResult)
async def sessions_patch(params: PatchParams, context: Context) -> dict[str, Any]:
    """Change the settings of a conversation; it is made if it is new."""
    gateway, server = context.gateway, context.server
    key, sessions = gateway.key(params.key), gateway.state.sessions
    gateway.config.agent(key.split(":")[1])
    given = params.model_fields_set - {"key"}
    for name in sorted(given):
        _check_option(name, getattr(params, name))
    if params.model:
        await _check_model(params.model, context)
    core = {"label": "label", "model": "model", "thinking_level": "thinking"}
    changes = {core[n]: getattr(params, n) for n in core if n in given}
    info = await sessions.get_or_create(key)
    if changes:
        info = await sessions.patch(key, **changes)
    own = given - core.keys() - _FIXED.keys()
    aliases = {n: f.alias or n for n, f in PatchParams.model_fields.items()}
    await server.settings.patch(key, {aliases[n]: getattr(params, n) for n in own})
    model = await server.rows.model_of(info)
    server.announce_session(key, "patch")
    return {
        "ok": True,
        "path": str(gateway.home / "state.db"),
        "key": key,
        "entry": await server.rows.entry(info),
        "resolved": {"modelProvider": model.provider, "model": model.model},
    }


def _check_option(name: str, value: Any) -> None:
    """Check that an option has a value that it can have.

    :raises MethodError: In the words that clients know.
    """
    alias = PatchParams.model_fields[name].alias
    if value is None:
        return
    if name in _LEVELS and value not in _LEVELS[name]:
        choice = "|".join(f'"{level}"' for level in _LEVELS[name])
        raise MethodError(f"invalid {alias} (use {choice})")
    if name in _FIXED and value != _FIXED[name][0]:
        remedy = _FIXED[name][1]
        raise MethodError(f"{alias} {value!r} is not kept per session; {remedy}")


async def _check_model(spec: str, context: Context) -> None:
    """Check that a model can be called, so that the next run does not fail.

    :raises MethodError: Its provider is missing or broken.
    """
    try:
        with anyio.fail_after(_WAIT_SECONDS):
            await context.gateway.models.resolve(spec)
    except (RustyclawError, TimeoutError) as exc:
        problem = str(exc) or "its provider does not open"
        raise MethodError(f"model {spec!r} cannot be used: {problem}") from exc


class ResetParams(Wire):
    """Parameters of ``sessions.reset``."""

    key: str = Key
    reason: Literal["new", "reset"] | None = None


class ResetResult(Wire):
    """The session as it is now."""

    ok: bool
    key: str
    entry: dict[str, Any]


@method("sessions.reset", scope=ADMIN, params=ResetParams, result=ResetResult)
async def sessions_reset(params: ResetParams, context: Context) -> dict[str, Any]:
    """Begin a conversation anew; what goes on in it is aborted."""
    gateway, key = context.gateway, context.gateway.key(params.key)
    gateway.config.agent(key.split(":")[1])
    await _end(key, "reset", context)
    info = await gateway.state.sessions.get_or_create(key)
    return {"ok": True, "key": key, "entry": await context.server.rows.entry(info)}


async def _end(key: str, reason: str, context: Context) -> None:
    """Abort the runs of a session and reset or delete it."""
    runs = context.server.runs
    for run in runs.active_in(key):
        runs.abort(run, "rpc")
    context.gateway.abort(key)
    try:
        with anyio.fail_after(_WAIT_SECONDS):
            await context.gateway.reset(key, reason)
    except TimeoutError:
        text = f"Session {key} is still active; try again in a moment."
        raise MethodError(text, code="UNAVAILABLE") from None


class DeleteParams(Wire):
    """Parameters of ``sessions.delete``; a transcript is put aside in any case."""

    key: str = Key
    delete_transcript: bool | None = None


class DeleteResult(Wire):
    """What was deleted, and where its transcript is now."""

    ok: bool
    key: str
    deleted: bool
    archived: list[str]


@method("sessions.delete", scope=ADMIN, params=DeleteParams, result=DeleteResult)
async def sessions_delete(params: DeleteParams, context: Context) -> dict[str, Any]:
    """Delete a conversation; the main one can only be reset."""
    gateway, key = context.gateway, context.gateway.key(params.key)
    if key == (main := gateway.key("main")):
        raise MethodError(f"Cannot delete the main session ({main}).")
    info = await gateway.state.sessions.get(key)
    if info is None:
        return {"ok": True, "key": key, "deleted": False, "archived": []}
    path = gateway.state.sessions.path_of(info)
    await _end(key, "delete", context)
    await context.server.settings.forget(key)
    aside = await anyio.to_thread.run_sync(
        lambda: sorted(map(str, path.parent.glob(f"{path.name}.deleted-*")))
    )
    return {"ok": True, "key": key, "deleted": True, "archived": aside}


class CompactParams(Wire):
    """Parameters of ``sessions.compact``."""

    key: str = Key
    max_lines: int | None = Field(None, ge=1)
    instructions: str | None = Field(None, max_length=4000)


@method("sessions.compact", scope=ADMIN, params=CompactParams, result=Loose)
async def sessions_compact(params: CompactParams, context: Context) -> dict[str, Any]:
    """Shorten a conversation: by a summary, or to its newest ``maxLines`` lines."""
    gateway, key = context.gateway, context.gateway.key(params.key)
    answer: dict[str, Any] = {"ok": True, "key": key, "compacted": False}
    info = await gateway.state.sessions.get(key)
    if info is None:
        return {**answer, "reason": "no sessionId"}
    transcript = await gateway.state.sessions.transcript(info)
    if not transcript.entries:
        return {**answer, "reason": "no transcript"}
    try:
        with anyio.fail_after(_COMPACT_SECONDS):
            result = await gateway.compact(
                key, params.instructions or "", keep=params.max_lines
            )
    except (ProviderError, TimeoutError) as exc:
        problem = str(exc) or "the conversation was busy for too long"
        raise MethodError(problem, code="UNAVAILABLE") from exc
    kept = len(transcript.entries) - (result.entries if result else 0)
    if result is None:
        return {**answer, "kept": kept, "reason": "nothing to shorten"}
    context.server.announce_session(key, "compact")
    answer |= {"compacted": True, "kept": kept}
    answer |= {"tokensBefore": result.tokens_before}
    answer |= {"tokensAfter": result.tokens_after}
    # The transcript is only ever appended to: what was left out still stands in it.
    return {**answer, "archived": str(gateway.state.sessions.path_of(info))}
