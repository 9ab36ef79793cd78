"""The server: what its sockets, methods and HTTP routes share, and its lifespan."""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket as sockets
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from rustyclaw import ConfigError, Notice, RustyclawError, StorageError

from rustyclaw_server.approvals import ApprovalDesk
from rustyclaw_server.auth.address import is_loopback
from rustyclaw_server.auth.devices import DeviceStore, PairingRequest
from rustyclaw_server.auth.limiter import Failures, Rate
from rustyclaw_server.auth.scopes import PAIRING, READ
from rustyclaw_server.auth.secret import SharedSecret
from rustyclaw_server.catalog import ModelCatalog
from rustyclaw_server.dedupe import Dedupe
from rustyclaw_server.health import Health
from rustyclaw_server.heartbeats import Heartbeats
from rustyclaw_server.hookevents import HookEvents
from rustyclaw_server.logbook import LogBook
from rustyclaw_server.methods.base import FALLBACK_GROUPS, GROUPS, methods_of
from rustyclaw_server.nodes import NodeBook
from rustyclaw_server.notes import Notes
from rustyclaw_server.restart import Restarts
from rustyclaw_server.rows import SessionRows
from rustyclaw_server.sends import Sends
from rustyclaw_server.serving import serve
from rustyclaw_server.settings import SessionSettings
from rustyclaw_server.systemevents import SystemEvents
from rustyclaw_server.tls import tls_context
from rustyclaw_server.usage import UsageBook
from rustyclaw_server.wire.hub import Hub
from rustyclaw_server.wire.presence import Presence
from rustyclaw_server.wire.runs import RunBook

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from rustyclaw import Gateway, GatewayEvent, Method, Secret

    from rustyclaw_server.config import ServerConfig
    from rustyclaw_server.wire.connection import Connection

logger = logging.getLogger(__name__)

_DRAIN_SECONDS = 5.0
#: Notices of the core and of `rustyclaw-failover` that are events for clients.
_TOLD = frozenset({"pairing", "fallback", "auth_rotation"})
_PRESENCE_SECONDS = 0.1


class Server:
    """One server of one gateway.

    :ivar url: Where it listens, such as ``http://127.0.0.1:18789``.
    :ivar control_secret: What the command line of this home shows, until the end.
    """

    def __init__(self, gateway: Gateway, config: ServerConfig) -> None:
        auth, limits = config.auth, config.limits
        self.gateway, self.config = gateway, config
        self.secret = SharedSecret(auth, gateway.home / "credentials")
        self.failures = Failures(
            auth.max_failures, auth.window_seconds, auth.lock_seconds
        )
        self.connects = Rate(limits.connects_per_minute)
        self.devices = DeviceStore(gateway)
        self.hub = Hub()
        self.presence = Presence()
        self.runs = RunBook(gateway, self.hub)
        self.notes = Notes(gateway)
        self.settings = SessionSettings(gateway, self.runs)
        self.rows = SessionRows(self)
        self.nodes = NodeBook(self)
        self.approvals = ApprovalDesk(gateway, self.hub)
        self.health = Health(self)
        self.dedupe = Dedupe()
        self.log = LogBook(gateway)
        self.catalog = ModelCatalog(gateway)
        self.heartbeats = Heartbeats(self)
        self.restarts = Restarts(self)
        self.sends = Sends()
        self.usage = UsageBook(gateway)
        self.system_events = SystemEvents(self)
        self.config_lock = anyio.Lock()
        self.control_secret = secrets.token_urlsafe(32)
        self.url = ""
        self.tls: ssl.SSLContext | None = None
        self._fallbacks: dict[str, Method] = {}
        self._unwatch: list[Callable[[], None]] = []
        self._presence_due = False

    # --- The lifespan -----------------------------------------------------------------

    async def start(self) -> None:
        """Listen, and serve in the background.

        :raises RustyclawError: It would not be safe, or the port is taken.
        """
        check_safety(self.config)
        if self.config.tls:
            self.tls = await anyio.to_thread.run_sync(tls_context, self.config.tls)
        await self.devices.load()
        if self.secret.mode in ("token", "password"):
            self.gateway.config.redactor.add(self.secret.value())
        self.gateway.config.redactor.add(self.control_secret)
        await self.settings.load()
        await self.notes.load()
        for method in methods_of(self, GROUPS):
            self.gateway.methods.add(method, owner="server")
        self._fallbacks = {m.name: m for m in methods_of(self, FALLBACK_GROUPS)}
        self._listen_to_changes()
        for watcher in (self.runs.hear, self.heartbeats.hear, self._hear):
            self._unwatch.append(self.gateway.feed.watch(watcher))
        self.gateway.hooks.monitor(HookEvents(self.hub).tell)
        listener = self._listen()
        host, port = listener.getsockname()[:2]
        scheme = "https" if self.config.tls else "http"
        name = f"[{host}]" if ":" in host else host
        self.url = f"{scheme}://{name}:{port}"
        try:
            self._write_endpoint()
        except OSError as exc:
            listener.close()
            problem = f"cannot write {exc.filename!r}: {exc.strerror}"
            raise StorageError(problem) from None
        self.gateway.spawn(serve, self, listener)
        self.gateway.spawn(self.runs.flush_when_due)
        self.gateway.spawn(self._tick)
        self.gateway.spawn(self._refresh_health)
        self.gateway.spawn(self.restarts.tell)
        self.log.open()
        logger.info("listening on %s", self.url)
        self._tell_of_page()

    def _listen_to_changes(self) -> None:
        self.runs.on_end.append(lambda run: self.announce_session(run.key, "run"))
        self.hub.on_join += [self.approvals.look, self._greet_node]
        self.hub.on_leave += [self.approvals.look, self.nodes.left]

    def _greet_node(self, connection: Connection) -> None:
        if connection.role == "node":
            words = {"triggers": self.voice_words()}
            self.hub.send_to((connection.id,), "voicewake.changed", words)

    def voice_words(self) -> list[str]:
        """Return the words that wake nodes which listen."""
        return self.notes.get("voicewake") or ["rustyclaw"]

    # --- Methods ----------------------------------------------------------------------

    def method(self, name: str) -> Method | None:
        """Return a method; a plugin's own goes before what we say in its absence."""
        return self.gateway.methods.get(name) or self._fallbacks.get(name)

    def methods(self) -> list[Method]:
        """Return all methods by name."""
        known = self._fallbacks | {m.name: m for m in self.gateway.methods}
        return [known[name] for name in sorted(known)]

    # --- Listening --------------------------------------------------------------------

    def _listen(self) -> sockets.socket:
        host, port = self.config.host, self.config.port
        family = sockets.AF_INET6 if ":" in host else sockets.AF_INET
        # Only where the protocol is named asyncio turns Nagle's delay of 40 ms off.
        listener = sockets.socket(family, sockets.SOCK_STREAM, sockets.IPPROTO_TCP)
        listener.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(2048)
        except OSError as exc:
            listener.close()
            problem = f"cannot listen on {host}:{port}: {exc.strerror or exc}"
            remedy = "stop what does, or set hooks.server.port (0: a free one)"
            raise RustyclawError(f"{problem}; {remedy}") from None
        listener.setblocking(False)
        return listener

    def _write_endpoint(self) -> None:
        """Tell the command line of this home where we are, and how to ask us."""
        facts: dict[str, Any] = {"url": self.url, "secret": self.control_secret}
        facts["pid"] = os.getpid()
        if self.config.tls:
            facts["certificate"] = str(self.config.tls.cert_path)
        path = self.gateway.home / "gateway.json"
        new = path.with_suffix(".new")
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            json.dump(facts, file)
        new.replace(path)

    def _tell_of_page(self) -> None:
        """Have the terminal show where the page of a plugin is, and how to get in.

        A page for people is a ``GET`` route whose path ends in ``/``. The token stands
        behind ``#``, which browsers do not send. It goes to no log, and so not to the
        journal, which others may read; a pipe is the work of whoever starts us.
        """
        pages = (r.path for r in self.gateway.routes if r.method == "GET")
        page = min((path for path in pages if path.endswith("/")), default="")
        if not page:
            return
        url = self.url.replace("//0.0.0.0:", "//127.0.0.1:")
        url = url.replace("//[::]:", "//[::1]:") + page
        if self.secret.mode == "token":
            if _is_journal(sys.stdout.fileno):
                made = self.secret.is_generated
                url += f" (its token: {self.secret.path if made else 'in the config'})"
            else:
                url += f"#token={self.secret.value()}"
        self.gateway.banner.append(f"Control UI: {url}")

    async def stop(self, reason: str) -> None:
        """Tell all clients, and close; see `rustyclaw_server.serving` for the rest."""
        (self.gateway.home / "gateway.json").unlink(missing_ok=True)
        while self._unwatch:
            self._unwatch.pop()()
        self.log.close()
        expected = 5000 if reason == "restart" else None
        payload = {"reason": reason, "restartExpectedMs": expected}
        self.hub.broadcast("shutdown", payload)
        with anyio.move_on_after(_DRAIN_SECONDS):
            async with anyio.create_task_group() as group:
                for connection in self.hub:
                    group.start_soon(connection.flushed)
        self.hub.close_all(1012, "service restart")

    async def _tick(self) -> None:
        while True:
            await anyio.sleep(self.config.limits.tick_seconds)
            self.hub.broadcast("tick", {"ts": self.devices.now()}, droppable=True)

    async def _refresh_health(self) -> None:
        while True:
            await anyio.sleep(self.health.interval_seconds)
            self.hub.health_version += 1
            snapshot = await self.health.snapshot(fresh=True)
            self.hub.broadcast("health", snapshot, versioned=True)

    # --- What several parts announce --------------------------------------------------

    def _hear(self, seen: GatewayEvent | Notice) -> None:
        """Tell of a sender who asks to be let in, and of a model that steps in."""
        if isinstance(seen, Notice) and seen.name in _TOLD:
            payload = dict(seen.payload)
            session = str(payload.get("sessionKey", ""))
            self.hub.broadcast(seen.name, payload, scope=seen.scope, session=session)

    def announce_pairing_request(self, request: PairingRequest) -> None:
        """Tell operators that a device asks to be paired."""
        payload = pairing_row(request)
        self.hub.broadcast("device.pair.requested", payload, scope=PAIRING)

    def announce_pairing(self, request: PairingRequest, decision: str) -> None:
        """Tell operators what became of a device's request."""
        payload = {"requestId": request.request_id, "deviceId": request.device_id}
        payload |= {"decision": decision, "ts": self.devices.now()}  # type: ignore[dict-item]  # JSON
        self.hub.broadcast("device.pair.resolved", payload, scope=PAIRING)

    def announce_session(self, key: str, reason: str) -> None:
        """Tell readers that a session has changed."""
        payload = {"sessionKey": key, "reason": reason, "ts": self.devices.now()}
        self.hub.broadcast("sessions.changed", payload, scope=READ)

    def announce_presence(self) -> None:
        """Tell all who is there now, soon: many come and go at the same time."""
        self.hub.presence_version += 1
        if not self._presence_due and not self.gateway.draining:
            self._presence_due = True
            self.gateway.spawn(self._tell_presence)

    async def _tell_presence(self) -> None:
        # All rows to everybody: the more there are, the less often.
        await anyio.sleep(_PRESENCE_SECONDS * (1 + len(self.hub) / 100))
        self._presence_due = False
        rows = {"presence": self.presence.rows()}
        self.hub.broadcast("presence", rows, versioned=True, droppable=True)

    def end_shared_sessions(self, caller: Connection | None = None) -> None:
        """Drop all who came in with the shared secret, because it has changed.

        :param caller: Who has changed it, and is to read the answer first.
        """
        end = (1008, "unauthorized: gateway token changed")
        for connection in self.hub:
            if connection is caller:
                connection.ending = end if connection.shared else None
            elif connection.shared:
                connection.close(*end)


def _is_journal(descriptor: Callable[[], int]) -> bool:
    """Return whether output goes to systemd's journal; see `man systemd.exec`."""
    with suppress(OSError, ValueError):
        facts = os.fstat(descriptor())
        return os.environ.get("JOURNAL_STREAM") == f"{facts.st_dev}:{facts.st_ino}"
    return False


def pairing_row(request: PairingRequest) -> dict[str, Any]:
    """Return a request as clients know it."""
    row = {
        "requestId": request.request_id,
        "deviceId": request.device_id,
        "publicKey": request.public_key,
        **request.about,
        "role": request.role,
        "roles": [request.role],
        "scopes": list(request.scopes),
        "isRepair": request.is_repair,
        "silent": False,
        "ts": request.created_at,
    }
    return {name: value for name, value in row.items() if value is not None}


def check_safety(config: ServerConfig) -> None:
    """Refuse to listen where anybody could do anything.

    :raises ConfigError: Naming the setting to change.
    """
    auth = config.auth
    is_open = not is_loopback(_address(config.host))
    if auth.mode == "none" and is_open:
        problem = f"hooks.server.host {config.host!r} is no loopback address"
        remedy = "set hooks.server.auth.mode to `token`"
        raise ConfigError(f"{problem} and auth.mode is `none`; {remedy}")
    if auth.mode == "password" and auth.password is None:
        raise ConfigError("auth.mode is `password`; set hooks.server.auth.password")
    if auth.mode == "trusted-proxy" and not config.trusted_proxies:
        raise ConfigError(
            "auth.mode is `trusted-proxy`; name the proxy in "
            "hooks.server.trusted_proxies"
        )
    shown = auth.password if auth.mode == "password" else auth.token
    if config.hooks.enabled:
        _check_hook_token(config.hooks.token, shown)
    if is_open and shown is not None and len(shown.get_secret_value()) < 16:
        raise ConfigError(
            "the secret of hooks.server.auth is too short for an open port; "
            "use at least 16 characters"
        )


def _check_hook_token(token: Secret | None, shared: Secret | None) -> None:
    text = token.get_secret_value() if token else ""
    if len(text) < 16:
        raise ConfigError(
            "hooks.server.hooks.enabled needs hooks.server.hooks.token, "
            "of at least 16 characters"
        )
    if shared is not None and text == shared.get_secret_value():
        raise ConfigError(
            "hooks.server.hooks.token is the gateway's own secret, which may do "
            "everything; choose another one"
        )


def _address(host: str) -> str:
    return "127.0.0.1" if host == "localhost" else host
