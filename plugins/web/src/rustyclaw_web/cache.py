"""Keeps a few answers for a while, in memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Cache(Generic[Value]):
    """The answers used last, for a limited time; for one event loop.

    :param max_entries: When there are more, the one not used for longest goes.
    :param seconds: How long one is good; 0 keeps nothing.
    :param clock: Tells the time in seconds.
    """

    def __init__(
        self,
        *,
        max_entries: int,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_entries = max_entries
        self._seconds = seconds
        self._clock = clock
        self._entries: OrderedDict[Hashable, tuple[float, Value]] = OrderedDict()

    def get(self, key: Hashable) -> Value | None:
        """Return an answer that is still good."""
        until, value = self._entries.get(key, (0.0, None))
        if value is None:
            return None
        if until <= self._clock():
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return value

    def put(self, key: Hashable, value: Value) -> None:
        """Keep an answer."""
        if self._seconds > 0:
            self._entries[key] = (self._clock() + self._seconds, value)
            self._entries.move_to_end(key)
            while len(self._entries) > self._max_entries:
                self._entries.popitem(last=False)
