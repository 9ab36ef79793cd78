"""``rustyclaw gateway status``, ``stop`` and ``call``: the gateway that runs."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Annotated, Any

import typer
from rustyclaw import RustyclawError, ask_gateway, running_gateway

_STYLE: dict[str, Any] = {"add_completion": False, "rich_markup_mode": None}

status_app = typer.Typer(**_STYLE)
stop_app = typer.Typer(**_STYLE)
call_app = typer.Typer(**_STYLE)


@status_app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the gateway that serves this home: address, uptime, channels, clients."""
    facts = running_gateway()
    health, clients = ask_gateway("health"), ask_gateway("system-presence")
    shown = {
        "url": facts["url"],
        "pid": facts["pid"],
        "ok": health["ok"],
        "channels": health["channels"],
        "sessions": health["sessions"]["count"],
        "clients": len(clients) - 1,  # the first row is the gateway itself
    }
    if as_json:
        typer.echo(json.dumps(shown, indent=2))
        return
    typer.echo(f"{shown['url']} (pid {shown['pid']}) is up")
    typer.echo(f"{shown['sessions']} sessions, {shown['clients']} clients")
    for name, channel in shown["channels"].items():
        state = "connected" if channel["connected"] else "not connected"
        typer.echo(f"channel {name}: {channel.get('lastError') or state}")


@stop_app.command()
def stop(
    wait: Annotated[float, typer.Option(help="Seconds to wait for its end.")] = 70,
) -> None:
    """Stop the gateway that serves this home; what was begun is finished first."""
    pid = int(running_gateway()["pid"])
    deadline = time.monotonic() + wait
    try:
        os.kill(pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.1)
    except ProcessLookupError:
        typer.echo("stopped")
        return
    except PermissionError:
        raise RustyclawError(
            f"the gateway (pid {pid}) belongs to another user"
        ) from None
    raise RustyclawError(f"the gateway (pid {pid}) still runs after {wait:g} s")


@call_app.command()
def call(
    method: Annotated[str, typer.Argument(help="Such as `sessions.list`.")],
    params: Annotated[str, typer.Argument(help="A JSON object.")] = "{}",
) -> None:
    """Call a method of the gateway that serves this home, and print its answer."""
    try:
        given = json.loads(params)
    except ValueError as exc:
        raise RustyclawError(f"the parameters are no JSON: {exc}") from None
    if not isinstance(given, dict):
        raise RustyclawError("the parameters must be a JSON object, such as '{}'")
    typer.echo(json.dumps(ask_gateway(method, **given), indent=2))
