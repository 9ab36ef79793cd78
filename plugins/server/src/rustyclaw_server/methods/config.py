"""The config file: read, check, change; secrets never leave, and come back unharmed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from pydantic import Field
from rustyclaw import ConfigError, MethodError, edit_config, replace_config

from rustyclaw_server import configfile
from rustyclaw_server.auth.scopes import ADMIN, READ
from rustyclaw_server.configchange import changes, merged, restored, restored_text
from rustyclaw_server.configfile import ConfigFile, is_json
from rustyclaw_server.configschema import ConfigSchema
from rustyclaw_server.methods.base import Anything, Context, Loose, method
from rustyclaw_server.wire.frames import Wire

if TYPE_CHECKING:
    from rustyclaw import Gateway

    from rustyclaw_server.server import Server

_RELOAD = "re-run config.get and retry"


# --- Reading --------------------------------------------------------------------------


class Snapshot(Loose):
    """The file and what it means, without secrets."""

    path: str
    exists: bool
    raw: str | None
    parsed: dict[str, Any]
    resolved: dict[str, Any]
    valid: bool
    config: dict[str, Any]
    hash: str
    issues: list[dict[str, str]]
    warnings: list[dict[str, str]]
    legacy_issues: list[dict[str, str]]


@method("config.get", scope=READ, params=Anything, result=Snapshot)
async def config_get(params: Anything, context: Context) -> dict[str, Any]:
    """Return the config file, its values and what is wrong with it, without secrets."""
    file = await anyio.to_thread.run_sync(configfile.read, context.gateway)
    return {
        "path": str(file.path),
        "exists": file.exists,
        "raw": file.raw,
        "parsed": file.shown,
        "sourceConfig": file.shown,
        "resolved": file.shown,
        "valid": not file.issues,
        "runtimeConfig": file.config,
        "config": file.config,
        "hash": file.hash,
        "issues": file.issues,
        "warnings": file.warnings,
        "legacyIssues": [],
    }


class SchemaResult(Wire):
    """The JSON Schema (draft 7, without references), and hints for forms."""

    schema_: dict[str, Any] = Field(alias="schema")
    ui_hints: dict[str, dict[str, Any]]
    version: str
    generated_at: str


@method("config.schema", scope=ADMIN, params=Anything, result=SchemaResult)
async def config_schema(params: Anything, context: Context) -> dict[str, Any]:
    """Return the JSON Schema of the config file, with the sections of plugins."""
    schema = await _schema(context.gateway)
    return schema.answer()


class LookupParams(Wire):
    """Parameters of ``config.schema.lookup``."""

    path: str = Field(
        min_length=1, max_length=1024, pattern=r"^[A-Za-z0-9_./\[\]\-*]+$"
    )


@method("config.schema.lookup", scope=READ, params=LookupParams, result=Loose)
async def config_schema_lookup(
    params: LookupParams, context: Context
) -> dict[str, Any]:
    """Return the schema of one setting, and what stands below it."""
    schema = await _schema(context.gateway)
    found = schema.lookup(params.path)
    if found is None:
        raise MethodError("config schema path not found")
    return found


async def _schema(gateway: Gateway) -> ConfigSchema:
    models = await anyio.to_thread.run_sync(configfile.models_of, gateway)
    return await anyio.to_thread.run_sync(ConfigSchema, models)


# --- Changing -------------------------------------------------------------------------


Raw = Field(min_length=1, max_length=1_048_576)


class SetParams(Wire):
    """Parameters of ``config.set``; ``raw`` is the whole file, YAML or JSON."""

    raw: str = Raw
    base_hash: str | None = Field(None, max_length=256)


class ChangeParams(SetParams):
    """Parameters of ``config.apply`` and ``config.patch``.

    :param note: Told in the session once the gateway has restarted.
    """

    session_key: str | None = Field(None, max_length=512)
    delivery_context: dict[str, Any] | None = None
    note: str | None = Field(None, max_length=4000)
    restart_delay_ms: int | None = Field(None, ge=0)


class SetResult(Wire):
    """The settings after the change, without secrets."""

    ok: bool
    path: str
    config: dict[str, Any]


class ChangeResult(SetResult):
    """The same, and the restart that makes them hold."""

    restart: dict[str, Any]
    sentinel: dict[str, Any]


@method("config.set", scope=ADMIN, params=SetParams, result=SetResult)
async def config_set(params: SetParams, context: Context) -> dict[str, Any]:
    """Write the whole config file; it holds from the next start on."""
    return await _change(context.server, params, _replace)


@method("config.apply", scope=ADMIN, params=ChangeParams, result=ChangeResult)
async def config_apply(params: ChangeParams, context: Context) -> dict[str, Any]:
    """Write the whole config file, and restart."""
    written = await _change(context.server, params, _replace)
    return written | await _restart(context.server, "config.apply", params)


@method("config.patch", scope=ADMIN, params=ChangeParams, result=ChangeResult)
async def config_patch(params: ChangeParams, context: Context) -> dict[str, Any]:
    """Lay a JSON merge patch over the config file, keep its comments, and restart."""
    written = await _change(context.server, params, _patch)
    return written | await _restart(context.server, "config.patch", params)


async def _restart(server: Server, reason: str, params: ChangeParams) -> dict[str, Any]:
    sentinel = await server.restarts.leave(reason, params.session_key, params.note)
    restart = server.restarts.schedule(reason, params.restart_delay_ms)
    return {"restart": restart, "sentinel": sentinel}


async def _change(
    server: Server, params: SetParams, write: Callable[[Gateway, ConfigFile, str], None]
) -> dict[str, Any]:
    """Change the file if it is still the one that the caller has seen."""
    gateway = server.gateway
    async with server.config_lock:
        before = await anyio.to_thread.run_sync(configfile.read, gateway)
        if before.exists and params.base_hash is None:
            raise MethodError(f"config base hash required; {_RELOAD}")
        if before.exists and params.base_hash != before.hash:
            raise MethodError(f"config changed since last load; {_RELOAD}")
        try:
            await anyio.to_thread.run_sync(write, gateway, before, params.raw)
        except ConfigError as exc:
            issues = [configfile.issue(line) for line in str(exc).splitlines()]
            raise _invalid(issues) from None
        after = await anyio.to_thread.run_sync(configfile.read, gateway)
    announce(server, before, after)
    return {"ok": True, "path": str(after.path), "config": after.config}


def announce(server: Server, before: ConfigFile, after: ConfigFile) -> None:
    """Tell clients which sections of the file have changed; never their values."""
    both = {**before.parsed, **after.parsed}
    changed = [k for k in both if before.parsed.get(k) != after.parsed.get(k)]
    payload = {"path": str(after.path), "hash": after.hash, "changed": sorted(changed)}
    payload["ts"] = int(time.time() * 1000)  # type: ignore[assignment]  # JSON
    server.hub.broadcast("config.changed", payload, scope=READ)


def _invalid(issues: list[dict[str, str]]) -> MethodError:
    return MethodError("invalid config", details={"issues": issues})


def _replace(gateway: Gateway, file: ConfigFile, raw: str) -> None:
    """Write a whole text; one of JSON changes a YAML file value by value."""
    if is_json(raw):
        new = restored(json.loads(raw), file.parsed)
        text = json.dumps(new, indent=2, ensure_ascii=False) + "\n"
        _check(gateway, text)
        if file.parsed and not is_json(file.text):
            _edit(gateway, file, new)
        else:
            replace_config(file.path, text)
        return
    text = restored_text(raw, file)
    _check(gateway, text)
    replace_config(file.path, text)


def _patch(gateway: Gateway, file: ConfigFile, raw: str) -> None:
    """Lay a patch over the file."""
    if file.issues:
        raise MethodError("invalid config; fix before patching")
    patch, _ = configfile.parse(raw)
    new = merged(file.parsed, restored(patch, file.parsed))
    text = json.dumps(new, ensure_ascii=False)
    _check(gateway, text)
    if is_json(file.text):
        replace_config(file.path, json.dumps(new, indent=2, ensure_ascii=False) + "\n")
    else:
        _edit(gateway, file, new)


def _edit(gateway: Gateway, file: ConfigFile, new: dict[str, Any]) -> None:
    found = changes(file.parsed, new)
    edit_config(file.path, drop=found.drop, put=found.put)


def _check(gateway: Gateway, text: str) -> None:
    """Check a text with all that is known of plugins, which the core does not load."""
    _, issues = configfile.check(gateway, text)
    if issues:
        raise _invalid(issues)
