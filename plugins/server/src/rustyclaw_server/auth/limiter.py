"""Bounds on what one address may try."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from time import monotonic


class Failures:
    """Counts failed attempts by key, and locks a key that has too many.

    :param limit: So many failures within ``window`` seconds lock for ``lock`` seconds.
    """

    _MAX_KEYS = 10_000

    def __init__(
        self,
        limit: int,
        window: float,
        lock: float,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._limit, self._window, self._lock = limit, window, lock
        self._clock = clock
        self._times: OrderedDict[str, deque[float]] = OrderedDict()
        self._locked: dict[str, float] = {}

    def locked_for(self, key: str) -> float:
        """Return for how many seconds a key is locked; 0 if it is not."""
        until = self._locked.get(key, 0.0)
        left = until - self._clock()
        if until and left <= 0:
            del self._locked[key]
        return max(left, 0.0)

    def count(self, key: str) -> None:
        """Count a failure."""
        now = self._clock()
        times = self._times.setdefault(key, deque(maxlen=self._limit))
        self._times.move_to_end(key)
        times.append(now)
        if len(times) == self._limit and now - times[0] <= self._window:
            self._locked[key] = now + self._lock
            del self._times[key]
        while len(self._times) > self._MAX_KEYS:
            self._times.popitem(last=False)
        while len(self._locked) > self._MAX_KEYS:
            del self._locked[next(iter(self._locked))]

    def forget(self, key: str) -> None:
        """Forget the failures of a key that has succeeded."""
        self._times.pop(key, None)


class Rate:
    """Lets each key pass ``per_minute`` times a minute, in a burst if it likes."""

    _MAX_KEYS = 10_000

    def __init__(self, per_minute: int, clock: Callable[[], float] = monotonic) -> None:
        self._full = float(per_minute)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_for(self, key: str) -> float:
        """Count one try; return how many seconds too early it is, 0 if it may pass."""
        now = self._clock()
        tokens, then = self._buckets.get(key, (self._full, now))
        tokens = min(self._full, tokens + (now - then) * self._full / 60)
        passes = tokens >= 1
        self._buckets[key] = (tokens - passes, now)
        self._buckets.move_to_end(key)
        while len(self._buckets) > self._MAX_KEYS:
            self._buckets.popitem(last=False)
        return 0.0 if passes else (1 - tokens) * 60 / self._full
