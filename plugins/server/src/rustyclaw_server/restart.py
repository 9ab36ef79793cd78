"""Restarts that a client asked for, and what is told when one has come about."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from rustyclaw import Outbound, RustyclawError

if TYPE_CHECKING:
    from rustyclaw_server.server import Server

_DELAY_MS, _MAX_DELAY_MS = 2_000, 60_000


class Restarts:
    """Restarts of one gateway; several that are wanted at once are one."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._path = server.gateway.home / "restart-sentinel.json"
        self._is_due = False

    def schedule(self, reason: str, delay_ms: int | None = None) -> dict[str, Any]:
        """Restart after a while, so that the caller still hears the answer."""
        wanted = _DELAY_MS if delay_ms is None else delay_ms
        delay_ms = min(max(wanted, 0), _MAX_DELAY_MS)
        coalesced, self._is_due = self._is_due, True
        if not coalesced:
            self._server.gateway.spawn(self._restart, delay_ms / 1000)
        return {
            "ok": True,
            "pid": os.getpid(),
            "signal": "SIGUSR1",  # what OpenClaw would send itself; we need none
            "delayMs": delay_ms,
            "reason": reason,
            "mode": "emit",
            "coalesced": coalesced,
        }

    async def _restart(self, seconds: float) -> None:
        await anyio.sleep(seconds)
        self._server.gateway.request_stop("restart")

    # --- What outlives the restart ----------------------------------------------------

    async def leave(
        self, kind: str, session_key: str | None, note: str | None
    ) -> dict[str, Any]:
        """Keep what is to be told afterwards; return where, and what."""
        payload: dict[str, Any] = {"kind": kind.replace(".", "-"), "status": "ok"}
        payload["ts"] = int(time.time() * 1000)
        if session_key:
            payload["sessionKey"] = self._server.gateway.key(session_key)
        payload |= {
            "message": note,
            "doctorHint": "Run: rustyclaw doctor",
            "stats": {"mode": kind, "root": str(self._server.gateway.config.path)},
        }
        try:
            await anyio.to_thread.run_sync(_write, self._path, payload)
        except OSError:  # the restart itself matters more
            return {"path": None, "payload": payload}
        return {"path": str(self._path), "payload": payload}

    async def tell(self) -> None:
        """Tell of a restart that has just come about, once."""
        payload = await anyio.to_thread.run_sync(_take, self._path)
        key, gateway = payload.get("sessionKey"), self._server.gateway
        if not isinstance(key, str):
            return
        note = str(payload.get("message") or "the gateway has restarted")
        self._server.system_events.add(key, f"{payload.get('kind')}: {note}")
        info = await gateway.state.sessions.get(key)
        if payload.get("message") and info and info.last_target:
            out = Outbound(text=note, id=f"restart:{payload.get('ts')}")
            try:
                await gateway.post(info.last_target, out, key)
            except RustyclawError:  # the channel is gone; the session will hear of it
                return


def _write(path: Path, payload: dict[str, Any]) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        json.dump({"version": 1, "payload": payload}, file)


def _take(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text("utf-8"))
        payload = raw["payload"]
    except (OSError, ValueError, LookupError, TypeError):
        payload = {}
    path.unlink(missing_ok=True)
    return payload if isinstance(payload, dict) else {}
