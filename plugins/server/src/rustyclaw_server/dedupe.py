"""Remembers answers by idempotency key, so that a repeated call does nothing anew."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from typing import Any


class Dedupe:
    """Answers by key: 5 minutes, 1000 of them (sheet section 6)."""

    def __init__(
        self,
        seconds: float = 300.0,
        limit: int = 1000,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._seconds, self._limit, self._clock = seconds, limit, clock
        self._kept: OrderedDict[str, tuple[float, Any]] = OrderedDict()

    def get(self, key: str) -> Any:
        """Return what was kept under a key; ``None`` if nothing is."""
        kept = self._kept.get(key)
        return kept[1] if kept and kept[0] > self._clock() else None

    def keep(self, key: str, answer: Any) -> None:
        """Keep an answer, or a newer stage of it."""
        now = self._clock()
        self._kept[key] = (now + self._seconds, answer)
        self._kept.move_to_end(key)
        while self._kept:
            oldest = next(iter(self._kept))
            if len(self._kept) <= self._limit and self._kept[oldest][0] > now:
                break
            del self._kept[oldest]
