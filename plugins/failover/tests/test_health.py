"""How long a key rests, and who comes first."""

from __future__ import annotations

import pytest
from rustyclaw_failover.config import CooldownConfig
from rustyclaw_failover.health import BURST_SECONDS, Health, ordered

RULES = CooldownConfig()
HOUR = 3600.0
NOW = 1_000_000.0


def test_rests_grow_up_to_an_hour_while_failures_go_on() -> None:
    health, now, rests = Health(), NOW, []
    for _ in range(6):
        health = health.failed("rate_limit", RULES, now=now)
        rests.append(health.cooling_until - now)
        now += BURST_SECONDS + 1  # a probe while it rests
    assert rests == [60, 300, 1500, 3600, 3600, 3600]
    assert health.errors == 6
    assert health.failures == {"rate_limit": 6}


def test_after_a_rest_half_of_the_count_is_forgotten() -> None:
    health = Health(errors=5, cooling_until=NOW, last_failure=NOW - HOUR)
    health = health.failed("overloaded", RULES, now=NOW + 1)
    assert health.errors == 3, "five, halved, and one more"
    assert health.cooling_until == NOW + 1 + 1500


def test_a_burst_is_one_failure() -> None:
    health = Health()
    for second in range(10):
        health = health.failed("rate_limit", RULES, now=NOW + second)
    assert health.errors == 1
    assert health.cooling_until == NOW + 9 + 60, "but the rest begins with the last"


@pytest.mark.parametrize(("asked", "rest"), [(5.0, 60.0), (500.0, 500.0)])
def test_the_longer_rest_wins(asked: float, rest: float) -> None:
    health = Health().failed("rate_limit", RULES, now=NOW, retry_after=asked)
    assert health.cooling_until == NOW + rest


@pytest.mark.parametrize("kind", ["billing", "auth_permanent"])
def test_without_credit_a_key_is_disabled_for_hours(kind: str) -> None:
    health, now, hours = Health(), NOW, []
    for _ in range(4):
        health = health.failed(kind, RULES, now=now)
        hours.append((health.disabled_until - now) / HOUR)
        assert (health.state(now), health.disabled_reason) == ("disabled", kind)
        now = health.disabled_until
    assert hours == [5, 10, 20, 24]


def test_old_failures_count_no_more() -> None:
    health = Health(errors=4, failures={"billing": 3}, last_failure=NOW - 25 * HOUR)
    health = health.failed("billing", RULES, now=NOW)
    assert health.failures == {"billing": 1}
    assert health.disabled_until == NOW + 5 * HOUR


def test_an_answer_clears_all() -> None:
    health = Health().failed("billing", RULES, now=NOW).succeeded(NOW + 1)
    assert health == Health(last_used=NOW + 1)
    assert health.state(NOW + 1) == "ready"


def test_the_order_of_keys() -> None:
    health = {
        "new": Health(),
        "old": Health(last_used=5),
        "late": Health(cooling_until=NOW + 90, last_used=1),
        "soon": Health(disabled_until=NOW + 30, last_used=9),
    }
    ids = ["late", "soon", "old", "new"]
    assert ordered(ids, health, now=NOW) == ["new", "old", "soon", "late"]
    assert ordered(ids, health, now=NOW, pinned="old")[0] == "old"
    assert ordered(ids, health, now=NOW, pinned="late")[0] == "new", "it rests"
    fixed = ["late", "old", "new"]
    wanted = ["old", "new", "soon", "late"]
    assert ordered(ids, health, now=NOW, fixed=fixed) == wanted
