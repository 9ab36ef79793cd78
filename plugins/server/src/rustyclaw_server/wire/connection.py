"""One client after the handshake: its grant, and what it is sent.

A connection that is idle has no task of its own but the one that reads. What can be
sent at once is; a writer lives only while something waits. What waits is bounded:
events that may be dropped are, and a client that reads nothing is dropped itself.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import anyio
from rustyclaw import Caller

from rustyclaw_server.auth import guests
from rustyclaw_server.auth.scopes import ADMIN, READ, has
from rustyclaw_server.wire import frames
from rustyclaw_server.wire.socket import Disconnected

if TYPE_CHECKING:
    import anyio.abc

    from rustyclaw_server.auth.address import Peer
    from rustyclaw_server.wire.frames import ConnectParams
    from rustyclaw_server.wire.socket import Socket

_CLOSE_SECONDS = 2.0
#: Requests that are worked on at the same time.
_MAX_IN_FLIGHT = 128
#: Characters that wait above which an event is dropped that may be.
_LATE = 131_072


class Connection:
    """A client, as methods and events see it.

    :param scopes: What the gateway granted, not what the client asked for.
    :param shared: It showed the shared secret, so a new one ends it.
    :ivar connected_at: Milliseconds since the epoch.
    :ivar params: What it said in ``connect``, without its credentials.
    """

    def __init__(
        self,
        *,
        conn_id: str,
        socket: Socket,
        group: anyio.abc.TaskGroup,
        params: ConnectParams,
        peer: Peer,
        protocol: int,
        scopes: Iterable[str],
        shared: bool,
        max_buffered: int,
    ) -> None:
        self.id = conn_id
        self.role = params.role
        self.scopes = frozenset(scopes)
        self.strict = protocol < 4
        self.protocol = protocol
        self.client = params.client
        self.caps = frozenset(params.caps)
        self.device_id = params.device.id if params.device else ""
        self.params = params
        params.auth = params.device = None
        is_page = params.client.mode == "webchat"
        self.is_guest = is_page and ADMIN not in self.scopes
        self.peer = peer
        self.shared = shared
        self.connected_at = int(time.time() * 1000)
        #: Code and reason of a close that waits for the answers that are due.
        self.ending: tuple[int, str] | None = None
        self._socket, self._group = socket, group
        self._max_buffered = max_buffered
        self._waiting: deque[str] | None = None  # there is one while it is written
        self._buffered = 0
        self._in_flight = 0
        self._room: anyio.Event | None = None
        self._writing = False
        self._seq = 0
        self.closed = False

    # --- Sending ----------------------------------------------------------------------

    def event(
        self,
        head: str,
        *,
        numbered: bool = True,
        versions: str = "",
        droppable: bool = False,
    ) -> None:
        """Send an event.

        :param head: From `frames.event_head`.
        :param versions: The ``stateVersion`` as JSON.
        :param droppable: Rather not sent than late.
        """
        tail = ""
        if numbered:
            if droppable and self._buffered > _LATE:
                return  # it takes no number, so the client sees no gap
            self._seq += 1
            tail = f',"seq":{self._seq}'
        if versions:
            tail += f',"stateVersion":{versions}'
        self.push(f"{head}{tail}}}", droppable=droppable)

    def push(self, text: str, *, droppable: bool = False) -> None:
        """Queue a frame; returns at once."""
        if self.closed:
            return
        if droppable and self._buffered > _LATE:
            return
        if not self._writing and self._socket.send_now(text):
            return
        # A single frame may be larger than the bound: an answer is what was asked for.
        if self._buffered and self._buffered + len(text) > self._max_buffered:
            self.close(1008, "slow consumer")
            return
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(text)
        self._buffered += len(text)
        if not self._writing:
            self._writing = True
            self._group.start_soon(self._write)

    async def _write(self) -> None:
        try:
            while self._waiting and not self.closed:
                text = self._waiting.popleft()
                await self._socket.send(text)
                self._buffered -= len(text)
        except Disconnected:
            self._group.cancel_scope.cancel()
        finally:
            self._writing, self._waiting = False, None

    def close(self, code: int, reason: str) -> None:
        """End the connection; what was not read by then is lost."""
        if not self.closed:
            self.closed = True
            self._group.start_soon(self._close, code, reason)

    async def _close(self, code: int, reason: str) -> None:
        with anyio.move_on_after(_CLOSE_SECONDS, shield=True) as patience:
            await self._socket.close(code, reason)
        if patience.cancelled_caught:  # it does not even read the close frame
            self._socket.abort()
        self._group.cancel_scope.cancel()

    async def flushed(self) -> None:
        """Return when all that was queued has been handed to the network."""
        while self._writing and not self.closed:  # noqa: ASYNC110 - at shutdown only
            await anyio.sleep(0.01)

    # --- Requests ---------------------------------------------------------------------

    async def admit(self) -> None:
        """Count a request in; waits while too many are being worked on."""
        while self._in_flight >= _MAX_IN_FLIGHT:
            self._room = anyio.Event()
            await self._room.wait()
        self._in_flight += 1

    def release(self) -> None:
        """Count a request out."""
        self._in_flight -= 1
        if self._room is not None:
            self._room.set()
            self._room = None

    # --- What it may learn ------------------------------------------------------------

    def hears(self, name: str, payload: Any) -> bool:
        """Return whether an event is for this client, whatever its scopes are."""
        return not self.is_guest or guests.may_hear(name, payload)

    def may_see(self, scope: str) -> bool:
        """Return whether an event that needs a scope is for this client."""
        return not scope or (self.role != "node" and has(self.scopes, scope))

    @property
    def reads(self) -> bool:
        """Whether it may read conversations."""
        return has(self.scopes, READ)

    @property
    def is_tracked(self) -> bool:
        """Whether others are told of its presence (every mode but ``cli``)."""
        return self.client.mode != "cli"


class Answering(Caller):
    """The caller of one request: may give a first answer before the last."""

    def __init__(self, connection: Connection, request_id: str) -> None:
        self.connection = connection
        self.role, self.scopes = connection.role, connection.scopes
        self.strict = connection.strict
        self._request_id = request_id

    def progress(self, payload: Any) -> None:
        """Send a first answer."""
        self.connection.push(frames.ok(self._request_id, payload))
