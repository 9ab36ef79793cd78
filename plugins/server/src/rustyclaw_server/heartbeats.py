"""Heartbeats as clients see them; a plugin makes them and announces each in the feed.

A notice ``heartbeat`` of the feed becomes the event of that name. A client that
switches heartbeats is heard as the notice ``heartbeats.switch`` with ``enabled``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rustyclaw import Notice

if TYPE_CHECKING:
    from rustyclaw import GatewayEvent

    from rustyclaw_server.server import Server


class Heartbeats:
    """The last heartbeat, and whether there are to be more.

    :ivar last: Its payload; ``None`` before the first.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.last: dict[str, Any] | None = None

    def hear(self, seen: GatewayEvent | Notice) -> None:
        """Pass on what a plugin announces; watches `Gateway.feed`."""
        if isinstance(seen, Notice) and seen.name == "heartbeat":
            self.last = dict(seen.payload)
            self._server.hub.broadcast("heartbeat", self.last)

    def switch(self, enabled: bool) -> None:
        """Tell the plugins whether heartbeats are wanted."""
        self._server.gateway.feed.announce("heartbeats.switch", {"enabled": enabled})
