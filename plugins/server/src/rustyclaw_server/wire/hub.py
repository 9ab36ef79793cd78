"""All connections: who is there, and how an event reaches them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rustyclaw_server.wire import frames

if TYPE_CHECKING:
    from rustyclaw_server.wire.connection import Connection

#: Events that all may see; `hello-ok` lists them (sheet section 11, and ours).
EVENTS = (
    *("connect.challenge", "agent", "chat", "presence", "tick", "talk.mode"),
    *("shutdown", "health", "heartbeat", "cron", "node.pair.requested"),
    *("node.pair.resolved", "node.invoke.request", "device.pair.requested"),
    *("device.pair.resolved", "voicewake.changed", "exec.approval.requested"),
    *("exec.approval.resolved", "sessions.changed", "config.changed", "pairing"),
    *("hook", "fallback", "auth_rotation"),
)


class Hub:
    """The connections of a gateway."""

    def __init__(self) -> None:
        self._connections: dict[str, Connection] = {}
        self._caps = Counter[str]()
        self._subscribed: dict[str, set[str]] = {}
        #: Told of each connection that has come or gone, when it has.
        self.on_join: list[Callable[[Connection], None]] = []
        self.on_leave: list[Callable[[Connection], None]] = []
        self.presence_version = 1
        self.health_version = 1

    def __iter__(self) -> Iterator[Connection]:
        return iter(tuple(self._connections.values()))

    def __len__(self) -> int:
        return len(self._connections)

    def add(self, connection: Connection) -> None:
        """Let a connection hear of events."""
        self._connections[connection.id] = connection
        self._caps.update(connection.caps)
        for told in self.on_join:
            told(connection)

    def remove(self, connection: Connection) -> None:
        """Forget a connection."""
        if self._connections.pop(connection.id, None) is None:
            return
        self._caps.subtract(connection.caps)
        for key in list(self._subscribed):
            self.unsubscribe(connection, key)
        for told in self.on_leave:
            told(connection)

    def wants(self, cap: str) -> bool:
        """Return whether any connection has said that it wants something."""
        return self._caps[cap] > 0

    def subscribe(self, connection: Connection, session_key: str) -> None:
        """Let a node hear of a session; operators who may read hear of all."""
        self._subscribed.setdefault(session_key, set()).add(connection.id)

    def unsubscribe(self, connection: Connection, session_key: str) -> None:
        """Take `subscribe` back."""
        subscribed = self._subscribed.get(session_key, set())
        subscribed.discard(connection.id)
        if not subscribed:
            self._subscribed.pop(session_key, None)

    def get(self, conn_id: str) -> Connection | None:
        """Return a connection by its id."""
        return self._connections.get(conn_id)

    @property
    def versions(self) -> dict[str, int]:
        """The ``stateVersion`` of now."""
        return {"presence": self.presence_version, "health": self.health_version}

    def broadcast(
        self,
        name: str,
        payload: Any,
        *,
        newer: Any = None,
        scope: str = "",
        cap: str = "",
        session: str = "",
        versioned: bool = False,
        droppable: bool = False,
    ) -> None:
        """Send an event to all who may see it.

        :param newer: The payload for clients of protocol 4, if theirs is another.
        :param scope: Only for connections with this scope.
        :param cap: Only for connections that have said that they want it.
        :param session: What it is about; nodes that have subscribed to it hear of it
            in spite of the scope, without a number.
        :param versioned: With the ``stateVersion``.
        """
        if not self._connections:
            return
        heads = {3: frames.event_head(name, payload)}
        heads[4] = heads[3] if newer is None else frames.event_head(name, newer)
        versions = frames.dump(self.versions) if versioned else ""
        for connection in self:
            sees = connection.may_see(scope) and connection.hears(name, payload)
            if sees and (not cap or cap in connection.caps):
                connection.event(
                    heads[connection.protocol], versions=versions, droppable=droppable
                )
            elif connection.id in self._subscribed.get(session, ()):
                head = heads[connection.protocol]
                connection.event(head, numbered=False, droppable=droppable)

    def send_to(
        self, conn_ids: Iterable[str], name: str, payload: Mapping[str, Any]
    ) -> None:
        """Send an event to chosen connections; it takes no number."""
        head = ""
        for conn_id in conn_ids:
            connection = self._connections.get(conn_id)
            if connection and connection.hears(name, payload):
                head = head or frames.event_head(name, payload)
                connection.event(head, numbered=False)

    def close_all(self, code: int, reason: str) -> None:
        """End all connections."""
        for connection in self:
            connection.close(code, reason)
