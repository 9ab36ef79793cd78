"""Nodes: devices that offer commands, such as a camera or a shell (sheet section 10).

A node may be asked for a command only if its platform is known to have it, it has
said that it offers it, and the config does not forbid it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import anyio
from rustyclaw import MethodError

from rustyclaw_server.wire.frames import dump

if TYPE_CHECKING:
    from rustyclaw_server.server import Server
    from rustyclaw_server.wire.connection import Connection

_MAX_PENDING = 256
_SYSTEM = ("system.notify",)
_SHELL = ("system.run", "system.which", "system.notify", "browser.proxy")
_SENSORS = (
    *("canvas.present", "canvas.hide", "canvas.navigate", "canvas.eval"),
    *("canvas.snapshot", "canvas.a2ui.push", "canvas.a2ui.reset"),
    *("canvas.a2ui.pushJSONL", "camera.list", "location.get", "device.info"),
    *("device.status", "contacts.search", "calendar.events", "reminders.list"),
    *("photos.latest", "motion.activity", "motion.pedometer"),
)
#: What nodes of a platform may be asked for unless the config says otherwise.
_OF_PLATFORM = {
    "linux": _SHELL,
    "windows": _SHELL,
    "macos": (*_SHELL, *_SENSORS),
    "ios": (*_SENSORS, *_SYSTEM),
    "android": _SENSORS,
}
_ALIASES = {"darwin": "macos", "mac": "macos", "win32": "windows", "ipados": "ios"}
#: What decides about a node's own approvals goes through methods of its own.
_RESERVED = "system.execApprovals."


@dataclass(slots=True)
class _Invoke:
    node_id: str
    done: anyio.Event = field(default_factory=anyio.Event)
    result: dict[str, Any] = field(default_factory=dict)


class NodeBook:
    """The nodes that are connected, and what they were asked to do."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._invokes: dict[str, _Invoke] = {}

    # --- Who is there -----------------------------------------------------------------

    def connections(self) -> dict[str, Connection]:
        """Return the newest connection of each node, by the id of its device."""
        return {c.device_id: c for c in self._server.hub if c.role == "node"}

    def rows(self) -> list[dict[str, Any]]:
        """Return all nodes, connected ones first."""
        connected, rows = self.connections(), []
        for node_id, connection in connected.items():
            rows.append(self._connected_row(node_id, connection))
        for device in self._server.devices.paired():
            if "node" in device.roles and device.id not in connected:
                about = device.about
                row: dict[str, Any] = {"nodeId": device.id}
                row["displayName"] = about.get("displayName", device.id[:12])
                row["platform"] = about.get("platform", "unknown")
                row |= {"caps": [], "commands": [], "paired": True, "connected": False}
                rows.append(row)
        return rows

    def _connected_row(self, node_id: str, connection: Connection) -> dict[str, Any]:
        client, params = connection.client, connection.params
        device = self._server.devices.get(node_id)
        about = device.about if device else {}
        name = about.get("displayName") or client.display_name or client.id
        row: dict[str, Any] = {
            "nodeId": node_id,
            "displayName": name,
            "platform": client.platform,
            "version": client.version,
            "caps": sorted(connection.caps),
            "commands": self.commands(connection),
            "connectedAtMs": connection.connected_at,
            "paired": device is not None,
            "connected": True,
        }
        optional = {
            "deviceFamily": client.device_family,
            "modelIdentifier": client.model_identifier,
            "permissions": params.permissions,
            "pathEnv": params.path_env,
            "remoteIp": "" if connection.peer.is_local else connection.peer.ip,
        }
        return row | {key: value for key, value in optional.items() if value}

    def row(self, node_id: str) -> dict[str, Any]:
        """Return one node.

        :raises MethodError: There is none of that id.
        """
        for row in self.rows():
            if row["nodeId"] == node_id:
                return row
        raise MethodError("unknown nodeId")

    def commands(self, connection: Connection) -> list[str]:
        """Return what a node offers and may be asked for."""
        allowed = self._allowed(connection.client.platform)
        return [c for c in connection.params.commands if c in allowed]

    def _allowed(self, platform: str) -> frozenset[str]:
        first = platform.strip().lower().split()[0] if platform.strip() else ""
        known = _OF_PLATFORM.get(_ALIASES.get(first, first), ())
        config = self._server.config.nodes
        chosen = {*known, *config.allow_commands} - set(config.deny_commands)
        return frozenset(c for c in chosen if not c.startswith(_RESERVED))

    # --- Asking -----------------------------------------------------------------------

    async def invoke(
        self,
        node_id: str,
        command: str,
        params: Any = None,
        *,
        seconds: float = 30.0,
        idempotency_key: str = "",
        reserved: bool = False,
    ) -> dict[str, Any]:
        """Have a node do something and return its answer.

        :param reserved: It is one of our own requests about a node's approvals.
        :raises MethodError: It is not there, may not, fails, or does not answer.
        """
        connection = self.check(node_id, "" if reserved else command)
        if len(self._invokes) >= _MAX_PENDING:
            raise MethodError("too many commands are on their way", code="UNAVAILABLE")
        invoke_id, invoke = str(uuid4()), _Invoke(node_id)
        request: dict[str, Any] = {
            "id": invoke_id,
            "nodeId": node_id,
            "command": command,
            "paramsJSON": None if params is None else dump(params),
            "timeoutMs": int(seconds * 1000),
        }
        if idempotency_key:
            request["idempotencyKey"] = idempotency_key
        self._invokes[invoke_id] = invoke
        try:
            hub = self._server.hub
            hub.send_to((connection.id,), "node.invoke.request", request)
            with anyio.move_on_after(seconds):
                await invoke.done.wait()
        finally:
            del self._invokes[invoke_id]
        return _answer(node_id, command, invoke)

    def check(self, node_id: str, command: str) -> Connection:
        """Return the connection of a node that may be asked for a command.

        :param command: Empty: one of our own.
        :raises MethodError: It is not there, or may not be asked for that.
        """
        connection = self.connections().get(node_id)
        if connection is None:
            raise _not_connected()
        reason = ""
        if not command:
            return connection
        if command not in self._allowed(connection.client.platform):
            reason = "command not allowlisted"
        elif command not in connection.params.commands:
            reason = "command not declared by node"
        if reason:
            details = {"reason": reason, "command": command}
            raise MethodError("node command not allowed", details=details)
        return connection

    def resolve(self, invoke_id: str, node_id: str, result: Mapping[str, Any]) -> bool:
        """Take a node's answer; return whether somebody still waits for it."""
        invoke = self._invokes.get(invoke_id)
        if invoke is None or invoke.node_id != node_id or invoke.done.is_set():
            return False
        invoke.result = dict(result)
        invoke.done.set()
        return True

    def left(self, connection: Connection) -> None:
        """Tell those who wait for a node that it has gone."""
        if connection.role != "node" or connection.device_id in self.connections():
            return
        for invoke in self._invokes.values():
            if invoke.node_id == connection.device_id and not invoke.done.is_set():
                invoke.result = {"gone": True}
                invoke.done.set()


def _not_connected() -> MethodError:
    details = {"code": "NOT_CONNECTED"}
    return MethodError("node not connected", code="UNAVAILABLE", details=details)


def _answer(node_id: str, command: str, invoke: _Invoke) -> dict[str, Any]:
    result = invoke.result
    if result.get("gone"):
        raise _not_connected()
    if not result:
        result = {"error": {"code": "TIMEOUT", "message": "node invoke timed out"}}
    if not result.get("ok"):
        error = result.get("error") or {}
        text = str(error.get("message") or error.get("code") or "node invoke failed")
        raise MethodError(text, code="UNAVAILABLE", details={"nodeError": error})
    payload, text_form = result.get("payload"), result.get("payloadJSON")
    if payload is None and isinstance(text_form, str):
        try:
            payload = json.loads(text_form)
        except ValueError:
            payload = None
    return {
        "ok": True,
        "nodeId": node_id,
        "command": command,
        "payload": payload,
        "payloadJSON": text_form,
    }
