"""A WebSocket from its upgrade to its end."""

from __future__ import annotations

import asyncio
import logging
import socket as sockets
import time
from base64 import b64decode
from collections import Counter
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import anyio
from rustyclaw import MethodError, __version__

from rustyclaw_server.auth import guests
from rustyclaw_server.auth.address import peer_of
from rustyclaw_server.auth.origin import refusal
from rustyclaw_server.auth.scopes import authorize
from rustyclaw_server.wire import frames
from rustyclaw_server.wire.connection import Answering, Connection
from rustyclaw_server.wire.handshake import Grant, Handshake, Refused
from rustyclaw_server.wire.hub import EVENTS
from rustyclaw_server.wire.socket import Disconnected, Socket

if TYPE_CHECKING:
    import anyio.abc

    from rustyclaw_server.auth.address import Peer
    from rustyclaw_server.server import Server
    from rustyclaw_server.wire.socket import Receive, Scope, Send

logger = logging.getLogger(__name__)


class Endpoint:
    """Serves WebSockets; an ASGI application."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._limits = server.config.limits
        self._total = self._preauth = 0
        self._per_address: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection until it ends."""
        socket = Socket(scope, receive, send)
        trusted = self._server.config.trusted_proxies
        peer = peer_of(socket.client, socket.headers, trusted)
        if refused := self._refusal(socket, peer):
            await socket.refuse(*refused)
            return
        self._total += 1
        self._per_address[peer.bucket] += 1
        try:
            await socket.accept()
            await self._serve(socket, peer)
        except Disconnected:
            pass
        finally:
            self._total -= 1
            self._per_address[peer.bucket] -= 1
            if not self._per_address[peer.bucket]:
                del self._per_address[peer.bucket]

    def _refusal(
        self, socket: Socket, peer: Peer
    ) -> tuple[int, str, dict[str, str]] | None:
        """Return the HTTP error for an upgrade that is not wanted."""
        if problem := refusal(socket.headers, self._server.config):
            logger.warning("refused a page at %r: %s", peer.ip, problem)
            return 403, problem, {}
        if not _is_key(socket.headers.get("sec-websocket-key", "")):
            return 400, "the key of the upgrade is not one", {}
        if self._server.gateway.draining:
            return 503, "the gateway is stopping", {"retry-after": "5"}
        full = self._total >= self._limits.max_connections
        if full or self._preauth >= self._limits.max_preauth:
            return 503, "too many connections", {"retry-after": "10"}
        if not peer.is_local:
            if self._per_address[peer.bucket] >= self._limits.max_per_address:
                return 429, "too many connections", {"retry-after": "60"}
            if wait := self._server.connects.wait_for(peer.bucket):
                return 429, "too many connections", {"retry-after": f"{wait:.0f}"}
        return None

    async def _serve(self, socket: Socket, peer: Peer) -> None:
        self._preauth += 1
        try:
            grant = await self._shake(socket, peer)
        finally:
            self._preauth -= 1
        if grant is None:
            return
        socket.widen(self._limits.max_payload_bytes)
        socket.forget_upgrade()
        # Requests have a group of asyncio: one of anyio spends a third of a short one.
        async with anyio.create_task_group() as group, asyncio.TaskGroup() as requests:
            connection = Connection(
                conn_id=str(uuid4()),
                socket=socket,
                group=group,
                params=grant.params,
                peer=peer,
                protocol=grant.protocol,
                scopes=grant.scopes,
                shared=grant.shared,
                max_buffered=self._limits.max_buffered_bytes,
            )
            try:
                await self._welcome(connection, grant)
                del grant  # no idle connection needs it
                await self._answer_all(connection, socket, requests)
            except Disconnected:
                pass
            finally:
                self._leave(connection)
                group.cancel_scope.cancel()

    async def _shake(self, socket: Socket, peer: Peer) -> Grant | None:
        try:
            with anyio.move_on_after(self._limits.handshake_seconds):
                return await Handshake(self._server, socket, peer).run()
            if socket.is_amid_message:
                await socket.close(1002, "incomplete frame")
            else:
                await socket.close(1000)  # it said nothing in time
        except Refused as refused:
            if refused.code:
                answer = frames.failed(
                    refused.request_id,
                    refused.code,
                    refused.message,
                    details=refused.details or None,
                )
                await socket.send(answer)
            told = refused.message[:512]
            logger.info("refused %s: %s", peer.ip or "a client", told)
            await socket.close(refused.close_code, refused.reason)
        return None

    # --- hello-ok ---------------------------------------------------------------------

    async def _welcome(self, connection: Connection, grant: Grant) -> None:
        server, hub = self._server, self._server.hub
        if connection.is_tracked:
            hub.presence_version += 1
            server.presence.joined(connection)
        health = await server.health.snapshot()
        if connection.is_guest:
            health = guests.health(health)
        connection.push(
            frames.ok(grant.request_id, self._hello(connection, grant, health))
        )
        hub.add(connection)
        versions = frames.dump(hub.versions)
        if connection.hears("health", health):
            connection.event(frames.event_head("health", health), versions=versions)

    def _hello(
        self, connection: Connection, grant: Grant, health: dict[str, Any]
    ) -> dict[str, Any]:
        server = self._server
        gateway, limits = server.gateway, self._limits
        auth: dict[str, Any] = {"role": connection.role, "scopes": sorted(grant.scopes)}
        if grant.device_token:
            auth |= {"deviceToken": grant.device_token, "issuedAtMs": grant.issued_at}
        default = gateway.config.default_agent_id
        hello: dict[str, Any] = {
            "type": "hello-ok",
            "protocol": grant.protocol,
            "server": {
                "version": __version__,
                "host": sockets.gethostname(),
                "connId": connection.id,
            },
            "features": {
                "methods": [m.name for m in server.methods() if m.listed],
                "events": EVENTS,
            },
            "snapshot": {
                "presence": [] if connection.is_guest else server.presence.rows(),
                "health": health,
                "stateVersion": server.hub.versions,
                "uptimeMs": int((time.time() - gateway.started_at) * 1000),
                "configPath": str(gateway.config.path),
                "stateDir": str(gateway.home),
                "sessionDefaults": {
                    "defaultAgentId": default,
                    "mainKey": "main",
                    "mainSessionKey": gateway.key("main"),
                    "scope": "per-sender",
                },
                "authMode": server.secret.mode,
            },
            "canvasHostUrl": server.url,
            "auth": auth,
            "policy": {
                "maxPayload": limits.max_payload_bytes,
                "maxBufferedBytes": limits.max_buffered_bytes,
                "tickIntervalMs": int(limits.tick_seconds * 1000),
            },
        }
        if grant.protocol >= 4:
            hello["pluginSurfaceUrls"] = {}
        return hello

    def _leave(self, connection: Connection) -> None:
        server = self._server
        connection.closed = True
        server.hub.remove(connection)
        if connection.is_tracked:
            server.presence.left(connection)
            server.announce_presence()

    # --- Requests ---------------------------------------------------------------------

    async def _answer_all(
        self, connection: Connection, socket: Socket, requests: asyncio.TaskGroup
    ) -> None:
        while True:
            try:
                request = frames.request(await socket.receive())
            except frames.BadFrame as bad:
                if bad.reply_to is not None:
                    answer = frames.failed(bad.reply_to, "INVALID_REQUEST", str(bad))
                    connection.push(answer)
                continue
            except ValueError:
                problem = "invalid request frame: must be text"
                connection.push(frames.failed("invalid", "INVALID_REQUEST", problem))
                continue
            await connection.admit()
            requests.create_task(self._answer(connection, request))

    async def _answer(self, connection: Connection, request: frames.Request) -> None:
        try:
            connection.push(await self._call(connection, request))
        finally:
            connection.release()
        if connection.ending is not None:
            await connection.flushed()
            connection.close(*connection.ending)

    async def _call(self, connection: Connection, request: frames.Request) -> str:
        server, name = self._server, request.method
        try:
            if name == "connect":
                raise MethodError("connect is only valid as the first request")
            caller = Answering(connection, request.id)
            method = server.method(name)
            authorize(caller, method)
            if method is None:
                raise MethodError(f"unknown method: {name}")
            if connection.is_guest:
                guests.check(name, request.params)
            payload = await method.handler(request.params, caller)
            if connection.is_guest and name == "health":
                payload = guests.health(payload)
            return frames.ok(request.id, payload)
        except MethodError as exc:
            return frames.failed(
                request.id, exc.code, str(exc), details=exc.details, payload=exc.payload
            )
        except Exception as exc:
            logger.exception("method %r failed", name)
            text = str(server.gateway.redact(f"{type(exc).__name__}: {exc}"))
            return frames.failed(request.id, "UNAVAILABLE", text)


def _is_key(text: str) -> bool:
    """Return whether a header is a nonce of 16 bytes (RFC 6455, section 4.2.1)."""
    try:
        return len(b64decode(text, validate=True)) == 16
    except ValueError:
        return False
