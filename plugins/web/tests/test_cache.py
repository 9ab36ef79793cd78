"""A few answers, for a while."""

from __future__ import annotations

from rustyclaw_web.cache import Cache


def test_kept_for_a_while() -> None:
    now = 100.0
    cache: Cache[str] = Cache(max_entries=2, seconds=10, clock=lambda: now)
    assert cache.get("a") is None
    cache.put("a", "1")
    now = 109.9
    assert cache.get("a") == "1"
    now = 110.0
    assert cache.get("a") is None


def test_the_one_not_used_for_longest_goes() -> None:
    cache: Cache[str] = Cache(max_entries=2, seconds=10, clock=lambda: 0.0)
    cache.put("a", "1")
    cache.put("b", "2")
    assert cache.get("a") == "1"
    cache.put("c", "3")
    assert cache.get("b") is None
    assert (cache.get("a"), cache.get("c")) == ("1", "3")


def test_nothing_is_kept() -> None:
    cache: Cache[str] = Cache(max_entries=2, seconds=0)
    cache.put("a", "1")
    assert cache.get("a") is None
