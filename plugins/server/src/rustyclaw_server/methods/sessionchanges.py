"""Conversations: change, reset, delete and shorten them.

Two decisions of ours. ``sessions.compact`` with ``maxLines`` keeps the newest lines,
as OpenClaw does, and without it has the model write a summary, as people expect who
press the button. ``sessions.patch`` refuses restrictions that this gateway would not
enforce for one session (such as ``execSecurity``), rather than keep them in vain.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import anyio
from pydantic import Field
from rustyclaw import MethodError, ProviderError, RustyclawError

from rustyclaw_server.auth.scopes import ADMIN
from rustyclaw_server.methods.base import Context, Loose, method
from rustyclaw_server.methods.sessions import Key
from rustyclaw_server.wire.frames import Wire

_WAIT_SECONDS = 15.0
_COMPACT_SECONDS = 330.0

_LEVELS = {
    "thinking_level": ("off", "minimal", "low", "medium", "high", "xhigh"),
    "verbose_level": ("off", "on", "full"),
    "reasoning_level": ("off", "on", "stream"),
    "response_usage": ("off", "on", "tokens", "full"),
    "group_activation": ("mention", "always"),
}
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
    kept = _kept((await gateway.state.sessions.transcript(info)).entries)
    if result is None:
        return {**answer, "kept": kept, "reason": "nothing to shorten"}
    context.server.announce_session(key, "compact")
    answer |= {"compacted": True, "kept": kept}
    answer |= {"tokensBefore": result.tokens_before}
    answer |= {"tokensAfter": result.tokens_after}
    # The transcript is only ever appended to: what was left out still stands in it.
    return {**answer, "archived": str(gateway.state.sessions.path_of(info))}


def _kept(entries: Sequence[Any]) -> int:
    """Return how many entries are still sent: those that the last mark has kept."""
    marks = [n for n, entry in enumerate(entries) if entry.kind == "compaction"]
    if not marks:
        return len(entries)
    first = entries[marks[-1]].first_kept_id
    places = (n for n, entry in enumerate(entries) if entry.id == first)
    start = next(places, marks[-1])
    return sum(entry.kind != "compaction" for entry in entries[start:])
