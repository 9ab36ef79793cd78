"""Keeps what was made of values that come with every request, such as tools."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")

#: More than the tools of a large gateway; those of callers come and go.
_MOST = 512


def remembered(make: Callable[[K], V]) -> Callable[[K], V]:
    """Have a function called once for each object, not once for each request.

    Objects are told apart by identity: a schema cannot be hashed, and to compare it
    costs as much as to make it anew. Neither it nor the answer may be changed.
    """
    made: dict[int, tuple[K, V]] = {}

    @wraps(make)
    def once(given: K) -> V:
        found = made.get(id(given))
        if found is None or found[0] is not given:
            if len(made) >= _MOST:
                del made[next(iter(made))]
            found = made[id(given)] = (given, make(given))
        return found[1]

    return once
