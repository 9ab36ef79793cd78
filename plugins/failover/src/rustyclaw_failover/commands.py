"""``rustyclaw models auth``: how the keys are; works beside a running gateway."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import anyio
import typer
from rustyclaw import RustyclawError, load_config

from rustyclaw_failover.config import NAME, FailoverConfig
from rustyclaw_failover.health import Health
from rustyclaw_failover.ledger import Ledger

_STYLE: dict[str, Any] = {"add_completion": False, "rich_markup_mode": None}

models_app = typer.Typer(help="See which keys of models rest, and why.", **_STYLE)
auth_app = typer.Typer(help="List and clear the profiles of `failover`.", **_STYLE)
models_app.add_typer(auth_app, name="auth")


@models_app.callback()
def models() -> None:
    """See which keys of models rest, and why."""


@auth_app.command("list")
def list_profiles(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the keys by name: state, until when, failures."""
    config, ledger = _open()
    known = anyio.run(_read, ledger)
    rows = [_row(id, known.get(id, Health())) for id in _ids(config, known)]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        typer.echo("no profile yet; name models in `providers.failover.models`")
        return
    width = max(len(row["profile"]) for row in rows)
    for row in rows:
        until = datetime.fromtimestamp(row["until"]) if row["until"] else None
        told = f" until {until:%Y-%m-%d %H:%M:%S}" if until else ""
        counts = ", ".join(f"{kind} {n}" for kind, n in row["failures"].items())
        line = f"{row['profile']:{width}}  {row['state']}{told}"
        typer.echo(f"{line}  {counts}".rstrip())


@auth_app.command("clear")
def clear(
    profile: Annotated[
        str, typer.Argument(help="Such as `anthropic:key1`; default: all.")
    ] = "",
) -> None:
    """Let a key that rests be used again; forget its failures."""
    config, ledger = _open()
    known = anyio.run(_read, ledger)
    ids = _ids(config, known)
    if profile and profile not in ids:
        names = ", ".join(ids) or "there is none"
        raise RustyclawError(f"there is no profile {profile!r}; known are {names}")
    chosen = [profile] if profile else [id for id in ids if id in known]
    anyio.run(_clear, ledger, chosen)
    typer.echo(f"cleared {', '.join(chosen)}" if chosen else "nothing to clear")


def _open() -> tuple[FailoverConfig, Ledger]:
    config = load_config()
    section = config.section("providers", NAME, FailoverConfig)
    folder = config.home / "providers" / NAME
    return section, Ledger(folder, section.cooldowns)


async def _read(ledger: Ledger) -> dict[str, Health]:
    try:
        return await ledger.all()
    finally:
        await ledger.close()


async def _clear(ledger: Ledger, ids: list[str]) -> None:
    try:
        await ledger.clear(ids)
    finally:
        await ledger.close()


def _ids(config: FailoverConfig, known: dict[str, Health]) -> list[str]:
    """Return configured profiles, then those that were used once."""
    configured = [profile.id for profile in config.all_profiles()]
    return list(dict.fromkeys([*configured, *sorted(known)]))


def _row(id: str, health: Health) -> dict[str, Any]:
    """Return what is told of a profile; times in seconds since the epoch."""
    now = time.time()
    facts = {**asdict(health), "failures": dict(health.failures)}
    return {
        "profile": id,
        "provider": id.partition(":")[0],
        "state": health.state(now),
        "until": health.until(now) or None,
        **facts,
    }
