"""Who is connected, and the gateway itself (sheet sections 3, 4 and 6)."""

from __future__ import annotations

import platform
import socket
import time
from typing import TYPE_CHECKING, Any

from rustyclaw import __version__

if TYPE_CHECKING:
    from rustyclaw_server.wire.connection import Connection

_LIFETIME_MS = 300_000
_MAX = 200


class Presence:
    """Rows by client; a row is what people are shown."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, Any]] = {}  # the newest last
        self._connected: dict[str, int] = {}

    def rows(self) -> list[dict[str, Any]]:
        """Return the gateway's own row and those of the clients, the newest first."""
        oldest = _now() - _LIFETIME_MS
        for key, row in list(self._rows.items()):
            if row["ts"] <= oldest and key not in self._connected:
                del self._rows[key]
        return [_own(), *reversed(self._rows.values())]

    def _keep(self, key: str, row: dict[str, Any]) -> None:
        self._rows.pop(key, None)
        self._rows[key] = row
        if len(self._rows) >= _MAX:
            del self._rows[next(iter(self._rows))]

    def joined(self, connection: Connection) -> None:
        """Note that a client has connected."""
        client, params, key = connection.client, connection.params, _key(connection)
        self._connected[key] = self._connected.get(key, 0) + 1
        row: dict[str, Any] = {
            "host": client.display_name or client.id,
            "version": client.version,
            "platform": client.platform,
            "mode": client.mode,
            "roles": [connection.role],
            "scopes": list(params.scopes),
            "instanceId": client.instance_id or key,
            "reason": "connect",
            "ts": _now(),
            "text": f"Node: {client.display_name or client.id} · mode {client.mode}",
        }
        optional = {
            "ip": "" if connection.peer.is_local else connection.peer.ip,
            "deviceId": connection.device_id,
            "deviceFamily": client.device_family,
            "modelIdentifier": client.model_identifier,
        }
        self._keep(key, row | {name: v for name, v in optional.items() if v})

    def left(self, connection: Connection) -> None:
        """Note that a client has gone; its row stays for some minutes."""
        key = _key(connection)
        self._connected[key] = self._connected.get(key, 1) - 1
        if not self._connected[key]:
            del self._connected[key]
            if row := self._rows.get(key):
                self._keep(key, {**row, "reason": "disconnect", "ts": _now()})

    def beacon(self, key: str, facts: dict[str, Any]) -> None:
        """Note what a client says of itself."""
        self._keep(key, {**self._rows.get(key, {}), **facts, "ts": _now()})


def _key(connection: Connection) -> str:
    return connection.device_id or connection.client.instance_id or connection.id


def _own() -> dict[str, Any]:
    host, system = socket.gethostname(), platform.uname()
    return {
        "host": host,
        "ip": "127.0.0.1",
        "version": __version__,
        "platform": f"{system.system.lower()} {system.release}",
        "deviceFamily": system.system,
        "modelIdentifier": system.machine,
        "mode": "gateway",
        "reason": "self",
        "text": f"Gateway: {host} · app {__version__} · mode gateway · reason self",
        "ts": _now(),
    }


def _now() -> int:
    return int(time.time() * 1000)
