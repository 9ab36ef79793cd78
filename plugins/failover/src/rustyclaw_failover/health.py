"""How a profile is, and how long it rests after a failure. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Literal

from rustyclaw_failover.config import CooldownConfig

#: Failures that say something about the key, not about the request or the network.
MARKING = frozenset({"rate_limit", "overloaded", "auth", "auth_permanent", "billing"})
#: Those that do not pass within minutes.
DISABLING = frozenset({"auth_permanent", "billing"})
#: Failures of a resting profile within so many seconds are one: several sessions may
#: meet the same limit at once.
BURST_SECONDS = 30.0
_MOST_DOUBLINGS = 10

State = Literal["ready", "cooling", "disabled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What is known of a profile; times in seconds since the epoch, 0: never.

    :param errors: Failures that count for the next rest.
    :param failures: Kind of failure -> how often within the window.
    """

    last_used: float = 0.0
    cooling_until: float = 0.0
    disabled_until: float = 0.0
    disabled_reason: str = ""
    errors: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    last_failure: float = 0.0

    def until(self, now: float) -> float:
        """Return when it may be used again; 0: at once."""
        latest = max(self.cooling_until, self.disabled_until)
        return latest if latest > now else 0.0

    def state(self, now: float) -> State:
        """Return the word for it."""
        if self.disabled_until > now:
            return "disabled"
        return "cooling" if self.cooling_until > now else "ready"

    def failed(
        self,
        kind: str,
        rules: CooldownConfig,
        *,
        now: float,
        retry_after: float | None = None,
    ) -> Health:
        """Return it after a failure of a kind that marks.

        :param retry_after: Seconds that the vendor asked for; the longer rest counts.
        """
        old = self
        if now - old.last_failure > rules.failure_window_hours * 3600:
            old = replace(old, errors=0, failures={})
        elif old.cooling_until and old.cooling_until <= now:
            old = replace(old, errors=old.errors // 2)  # it has been well meanwhile
        is_same = bool(old.until(now)) and now - old.last_failure < BURST_SECONDS
        grown = 0 if is_same and kind in old.failures else 1
        failures = {**old.failures, kind: old.failures.get(kind, 0) + grown}
        new = replace(
            old, errors=old.errors + grown, failures=failures, last_failure=now
        )
        if kind in DISABLING:
            doublings = min(failures[kind] - 1, _MOST_DOUBLINGS)
            hours = min(rules.billing_max_hours, rules.billing_hours * 2**doublings)
            until = max(old.disabled_until, now + hours * 3600)
            return replace(new, disabled_until=until, disabled_reason=kind)
        seconds = rules.initial_seconds * rules.factor ** min(new.errors - 1, 50)
        seconds = max(min(seconds, rules.max_seconds), retry_after or 0.0)
        return replace(new, cooling_until=max(old.cooling_until, now + seconds))

    def succeeded(self, now: float) -> Health:
        """Return it after an answer: all is forgotten."""
        return Health(last_used=max(now, self.last_used))


def ordered(
    ids: Sequence[str],
    health: Mapping[str, Health],
    *,
    now: float,
    fixed: Sequence[str] = (),
    pinned: str = "",
) -> list[str]:
    """Return profiles in the order in which to try them; those that rest come last.

    :param fixed: The order that somebody wants; others follow in turn, that is, the
        one first that was used longest ago.
    :param pinned: Comes first, unless it rests.
    """
    places = {id: place for place, id in enumerate(ids)}
    wanted = {id: place for place, id in enumerate(fixed)}

    def rank(id: str) -> tuple[float, ...]:
        known = health.get(id, Health())
        turn = (wanted.get(id, inf), known.last_used, places[id])
        return (known.until(now), id != pinned, *turn)

    return sorted(ids, key=rank)
