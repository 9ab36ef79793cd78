"""How the gateway is, and who is connected."""

from __future__ import annotations

from typing import Any

from rustyclaw_server.auth.scopes import READ
from rustyclaw_server.methods.base import Anything, Context, Loose, method


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
