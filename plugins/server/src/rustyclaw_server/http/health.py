"""``/health`` and ``/ready``: for those who watch from outside.

Without the shared secret a caller learns that the process lives, and nothing else.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from rustyclaw import __version__

from rustyclaw_server.http.answers import Refused, answer_json
from rustyclaw_server.http.guard import require_secret, server_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


class HealthAnswer(BaseModel):
    """That the process lives; the rest is for the owner."""

    status: str
    version: str = ""
    uptime_seconds: float = 0
    connections: int = 0
    active_agents: int = 0
    providers: list[dict[str, Any]] = []
    channels: list[dict[str, Any]] = []
    plugins: list[dict[str, Any]] = []


class ReadyAnswer(BaseModel):
    """Whether work is taken."""

    ready: bool


async def health(request: Request) -> Response:
    """Say that the process lives, and to its owner how it is."""
    try:
        require_secret(request)
    except Refused:
        return answer_json({"status": "ok"})
    server = server_of(request)
    gateway = server.gateway
    channels = [
        {"id": name, "connected": status.state == "connected", "state": status.state}
        for name, status in gateway.channels.items()
    ]
    plugins = list(gateway.loader.statuses())
    broken = [s for s in plugins if s.state in ("failed", "conflict")]
    failed = [c for c in channels if c["state"] == "failed"]
    return answer_json(
        {
            "status": "degraded" if broken or failed else "ok",
            "version": __version__,
            "uptime_seconds": round(time.time() - gateway.started_at, 1),
            "connections": len(server.hub),
            "active_agents": len(gateway.active_runs()),
            "providers": [{"id": name} for name in gateway.loader.enabled("providers")],
            "channels": channels,
            "plugins": [
                {"kind": s.kind, "name": s.name, "state": s.state, "version": s.version}
                for s in plugins
            ],
        }
    )


async def ready(request: Request) -> Response:
    """Say whether work is taken: 503 while the gateway stops."""
    draining = server_of(request).gateway.draining
    return answer_json({"ready": not draining}, 503 if draining else 200)
