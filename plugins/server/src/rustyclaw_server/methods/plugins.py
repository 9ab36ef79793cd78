"""The plugins: what is installed, what is allowed, what is wrong."""

from __future__ import annotations

import platform
from typing import Any, Literal

import anyio.to_thread
from pydantic import Field
from rustyclaw import ConfigError, MethodError, __version__, edit_config

from rustyclaw_server import configfile
from rustyclaw_server.auth.scopes import ADMIN, READ
from rustyclaw_server.methods.base import Anything, Context, method
from rustyclaw_server.methods.config import announce
from rustyclaw_server.wire.frames import Wire


class ListResult(Wire):
    """One row for each plugin; ``reason`` says why it is not enabled."""

    plugins: list[dict[str, Any]]


@method("plugins.list", scope=READ, params=Anything, result=ListResult)
async def plugins_list(params: Anything, context: Context) -> dict[str, Any]:
    """Return what is installed, and why it is not enabled; nothing is imported."""
    loader = context.gateway.loader
    statuses = await anyio.to_thread.run_sync(lambda: list(loader.statuses()))
    rows = [
        {
            "kind": status.kind,
            "name": status.name,
            "dist": status.dist,
            "version": status.version,
            "summary": status.summary,
            "state": status.state,
            "reason": context.gateway.redact(status.reason),
        }
        for status in statuses
    ]
    return {"plugins": rows}


class NameParams(Wire):
    """Parameters of ``plugins.allow`` and ``plugins.deny``: a plugin or a dist."""

    name: str = Field(min_length=1, max_length=128, pattern=r"^[\w.-]+$")


class ChangeResult(Wire):
    """What the file says now; it holds once the gateway has restarted."""

    ok: bool
    name: str
    allow: list[str] | None
    deny: list[str]
    restart_required: bool


@method("plugins.allow", scope=ADMIN, params=NameParams, result=ChangeResult)
async def plugins_allow(params: NameParams, context: Context) -> dict[str, Any]:
    """Allow a plugin, or all of a distribution, from the next start on."""
    return await _move(context, params.name, "deny", "allow")


@method("plugins.deny", scope=ADMIN, params=NameParams, result=ChangeResult)
async def plugins_deny(params: NameParams, context: Context) -> dict[str, Any]:
    """Deny a plugin, or all of a distribution, from the next start on."""
    if params.name in ("server", "rustyclaw-server"):
        raise MethodError("the server cannot deny itself; use `rustyclaw plugins deny`")
    return await _move(context, params.name, "allow", "deny")


_List = Literal["allow", "deny"]


async def _move(context: Context, name: str, away: _List, to: _List) -> dict[str, Any]:
    gateway = context.gateway

    def work() -> tuple[configfile.ConfigFile, configfile.ConfigFile]:
        before = configfile.read(gateway)
        lists = _lists(before)
        listed, target = lists[away] or [], lists[to]
        drop = [("plugins", away, str(listed.index(name)))] if name in listed else []
        put = []
        if to == "deny" or target is not None:  # without a list all are allowed
            target = target or []
            if name not in target:
                put = [(("plugins", to, str(len(target))), name)]
        edit_config(gateway.config.path, drop=drop, put=put)
        return before, configfile.read(gateway)

    async with context.server.config_lock:
        try:
            before, after = await anyio.to_thread.run_sync(work)
        except ConfigError as exc:
            raise MethodError(str(exc)) from None
    announce(context.server, before, after)
    lists = _lists(after)
    answer = {"ok": True, "name": name, "restartRequired": before.hash != after.hash}
    return {**answer, "allow": lists["allow"], "deny": lists["deny"] or []}


def _lists(file: configfile.ConfigFile) -> dict[str, list[str] | None]:
    section = file.parsed.get("plugins") or {}
    return {name: section.get(name) for name in ("allow", "deny")}


class DoctorResult(Wire):
    """Checks; ``mark`` is ``ok``, ``--`` (worth a look) or ``!!`` (mend it)."""

    ok: bool
    checks: list[dict[str, str]]


@method("doctor.run", scope=ADMIN, params=Anything, result=DoctorResult)
async def doctor_run(params: Anything, context: Context) -> dict[str, Any]:
    """Find what is wrong with this gateway, and say what to do about it."""
    gateway = context.gateway
    python = platform.python_version()
    checks = [("ok", f"rustyclaw {__version__}, python {python}")]
    file = await anyio.to_thread.run_sync(configfile.read, gateway)
    checks += [("--", f"{row['path']}: {row['message']}") for row in file.warnings]
    checks += [("!!", f"{row['path']}: {row['message']}") for row in file.issues]
    if not file.issues:
        checks.append(("ok", f"config {file.path}"))
    for failure in gateway.loader.failures.values():
        remedy = f"run `rustyclaw plugins deny {failure.plugin}`"
        checks.append(("!!", f"{failure}; or {remedy}"))
    for name, status in gateway.channels.items():
        if status.state == "failed":
            checks.append(("!!", f"channel {name!r}: {status.error}"))
    for provider, problem in (await context.server.catalog.problems()).items():
        if problem:
            checks.append(("!!", f"provider {provider!r}: {problem}"))
    for plugin, hook, reason, count in await gateway.state.faults():
        checks.append(
            ("--", f"plugin {plugin!r}, hook {hook!r}: {reason}; {count} times")
        )
    for channel, state, error in await gateway.state.journal.troubles():
        checks.append(("--", f"a reply on channel {channel!r} is {state}: {error}"))
    rows = [{"mark": mark, "text": str(gateway.redact(text))} for mark, text in checks]
    return {"ok": all(row["mark"] != "!!" for row in rows), "checks": rows}
