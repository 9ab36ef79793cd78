"""What happens in a gateway, for those who watch the whole of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream

    from rustyclaw.runs import RunEvent

logger = logging.getLogger(__name__)

_BUFFER = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayEvent:
    """An event of any run."""

    session_key: str
    run_id: str
    event: RunEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What no run reports, such as ``approval.requested``.

    :param payload: JSON values, without secrets.
    :param scope: Callers from outside need it to learn of this; empty: none.
    """

    name: str
    payload: Mapping[str, Any]
    scope: str = ""


#: Told at once and in order; it must be quick.
Watcher = Callable[["GatewayEvent | Notice"], None]


class Feed:
    """Passes on what happens."""

    def __init__(self) -> None:
        self._watchers: list[Watcher] = []

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Have a function told of all that happens; returns what ends that."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    @contextmanager
    def events(self) -> Iterator[MemoryObjectReceiveStream[GatewayEvent]]:
        """Read the events of all runs; a reader that is too slow misses some."""
        send, receive = anyio.create_memory_object_stream[GatewayEvent](_BUFFER)

        def pass_on(seen: GatewayEvent | Notice) -> None:
            with suppress(anyio.WouldBlock, anyio.BrokenResourceError):
                if isinstance(seen, GatewayEvent):
                    send.send_nowait(seen)

        unwatch = self.watch(pass_on)
        try:
            with send, receive:
                yield receive
        finally:
            unwatch()

    def publish(self, session_key: str, run_id: str, event: RunEvent) -> None:
        """Show an event of a run."""
        if self._watchers:
            seen = GatewayEvent(session_key=session_key, run_id=run_id, event=event)
            self._show(seen)

    def announce(self, name: str, payload: Mapping[str, Any], scope: str = "") -> None:
        """Tell of something that no run reports; see `Notice`."""
        self._show(Notice(name=name, payload=payload, scope=scope))

    def _show(self, seen: GatewayEvent | Notice) -> None:
        for watcher in tuple(self._watchers):
            try:
                watcher(seen)
            except Exception:
                logger.exception("a watcher of the gateway failed")
