"""How the gateway is: the object behind ``health``, kept for a minute."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import anyio

from rustyclaw_server.channelfacts import healthy, labels

if TYPE_CHECKING:
    from rustyclaw_server.server import Server

#: What OpenClaw's clients look for; the cron plugin will own these.
_HEARTBEAT = {
    "enabled": False,
    "every": "0m",
    "everyMs": None,
    "prompt": "",
    "target": "none",
    "ackMaxChars": 300,
}
_RECENT = 5


class Health:
    """Makes snapshots, and keeps the last one."""

    interval_seconds = 60.0
    _reuse_seconds = 5.0

    def __init__(self, server: Server) -> None:
        self._server = server
        self._last: dict[str, Any] = {}
        self._made_at = 0.0
        self._lock = anyio.Lock()

    async def snapshot(self, *, fresh: bool = False) -> dict[str, Any]:
        """Return how things are; at most a minute old, or some seconds if ``fresh``."""
        limit = self._reuse_seconds if fresh else self.interval_seconds
        if self._is_old(limit):
            async with self._lock:
                if self._is_old(limit):
                    self._last = await self._make()
                    self._made_at = time.monotonic()
        return self._last

    def _is_old(self, limit: float) -> bool:
        return not self._last or time.monotonic() - self._made_at > limit

    async def _make(self) -> dict[str, Any]:
        started = time.perf_counter()
        gateway = self._server.gateway
        config, now = gateway.config, int(time.time() * 1000)
        agents = []
        for agent_id in config.agent_ids:
            agent = config.agent(agent_id)
            row: dict[str, Any] = {"agentId": agent_id}
            if agent.name:
                row["name"] = agent.name
            row |= {
                "isDefault": agent_id == config.default_agent_id,
                "heartbeat": _HEARTBEAT,
                "sessions": await self._sessions(agent_id, now),
            }
            agents.append(row)
        channels = {
            name: healthy(self._server, name)
            for name in {*config.channels, *gateway.channels}
        }
        return {
            "ok": True,
            "ts": now,
            "durationMs": round((time.perf_counter() - started) * 1000),
            "channels": channels,
            "channelOrder": sorted(channels),
            "channelLabels": {
                name: labels(self._server, name)["label"] for name in channels
            },
            "heartbeatSeconds": 0,
            "defaultAgentId": config.default_agent_id,
            "agents": agents,
            "sessions": await self._sessions(config.default_agent_id, now),
        }

    async def _sessions(self, agent_id: str, now: int) -> dict[str, Any]:
        gateway = self._server.gateway
        rows = await gateway.state.sessions.list(agent=agent_id)
        recent = [
            {
                "key": info.key,
                "updatedAt": int(info.updated_at * 1000),
                "age": max(now - int(info.updated_at * 1000), 0),
            }
            for info in rows[:_RECENT]
        ]
        path = str(gateway.home / "agents" / agent_id / "sessions")
        return {"path": path, "count": len(rows), "recent": recent}
