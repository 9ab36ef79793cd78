"""The open pages of each visitor, and what they are sent while they are open."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectSendStream

_BUFFER = 256
_PER_VISITOR, _TOTAL = 4, 1000
_PING_SECONDS = 20.0

Event = tuple[str, dict[str, Any]]
Stream = MemoryObjectSendStream[Event]


class TooMany(Exception):
    """No further page can be kept open."""


class Streams:
    """Passes events on to open pages; a page that does not read is closed."""

    def __init__(self) -> None:
        self._open: defaultdict[str, set[MemoryObjectSendStream[Event]]] = defaultdict(
            set
        )
        self._total = 0

    def send(self, visitor: str, name: str, data: dict[str, Any]) -> None:
        """Send an event to all pages of a visitor."""
        for stream in tuple(self._open.get(visitor, ())):
            try:
                stream.send_nowait((name, data))
            except anyio.WouldBlock:  # it comes back, and asks for what it missed
                stream.close()
            except anyio.BrokenResourceError:
                pass

    def check(self, visitor: str) -> None:
        """Check that a visitor may open another page.

        :raises TooMany: They may not.
        """
        mine = len(self._open.get(visitor, ()))
        if mine >= _PER_VISITOR or self._total >= _TOTAL:
            raise TooMany

    async def open(
        self, visitor: str, missed: Callable[[], Awaitable[list[Event]]]
    ) -> AsyncIterator[bytes]:
        """Yield server-sent events until the page is closed.

        :param missed: Returns what was said before; asked once the page is open, so
            that nothing falls in between.
        """
        send, receive = anyio.create_memory_object_stream[Event](_BUFFER)
        self._open[visitor].add(send)
        self._total += 1
        last = 0
        try:
            for event in await missed():
                last = event[1].get("seq", last)
                yield _encode(event)
            while True:
                event_or_none = None
                with anyio.move_on_after(_PING_SECONDS):
                    event_or_none = await receive.receive()
                if event_or_none is None:
                    yield b": still here\n\n"
                elif event_or_none[1].get("seq", last + 1) > last:
                    yield _encode(event_or_none)
        except anyio.EndOfStream:
            return
        finally:
            self._total -= 1
            self._open[visitor].discard(send)
            if not self._open[visitor]:
                del self._open[visitor]
            with suppress(anyio.BrokenResourceError):
                send.close()
            receive.close()

    def close(self) -> None:
        """Close all pages' streams."""
        for streams in tuple(self._open.values()):
            for stream in tuple(streams):
                stream.close()


def _encode(event: Event) -> bytes:
    name, data = event
    head = f"id: {data['seq']}\n" if "seq" in data else ""
    return f"{head}event: {name}\ndata: {json.dumps(data)}\n\n".encode()
