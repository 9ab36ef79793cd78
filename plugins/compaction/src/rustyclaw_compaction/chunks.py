"""How much is summarised at once: parts and chunks, by their share of the window."""

from __future__ import annotations

from collections.abc import Sequence

from rustyclaw_compaction.wording import Unit

#: Estimates are taken this much higher, to be on the safe side.
MARGIN = 1.2
_BASE_SHARE, _LEAST_SHARE = 0.4, 0.15
_MANY_TOKENS = 0.1  # of the window, in an average message
#: For the instructions, the summary so far, and the one to come; in tokens.
_OVERHEAD = 4_096
_FEWEST_UNITS = 4


def chunk_limit(units: Sequence[Unit], window: int) -> int:
    """Return the tokens that one chunk may have.

    The larger the messages are, the smaller is the share of the window, since their
    sizes are estimates.
    """
    average = total(units) / max(1, len(units)) * MARGIN / window
    share = _BASE_SHARE
    if average > _MANY_TOKENS:
        share = max(_LEAST_SHARE, _BASE_SHARE - min(2 * average, 0.25))
    limit = int(window * share)
    return max(limit - _OVERHEAD, limit // 2)


def chunks(units: Sequence[Unit], limit: int) -> list[list[Unit]]:
    """Return units in runs of at most ``limit`` tokens; a larger unit is its own."""
    runs: list[list[Unit]] = []
    size = 0
    for unit in units:
        if not runs or size + unit.tokens > limit:
            runs.append([])
            size = 0
        runs[-1].append(unit)
        size += unit.tokens
    return runs


def halves(units: Sequence[Unit]) -> tuple[list[Unit], list[Unit]]:
    """Return the older and the newer half by size; with two units none is empty."""
    half, size, place = total(units) / 2, 0, 0
    while place < len(units) and size + units[place].tokens <= half:
        size += units[place].tokens
        place += 1
    place = min(max(place, 1), len(units) - 1) if len(units) > 1 else len(units)
    return list(units[:place]), list(units[place:])


def needs_parts(units: Sequence[Unit], limit: int) -> bool:
    """Return whether two parts are summarised apart and then merged."""
    return total(units) > limit and len(units) >= _FEWEST_UNITS


def is_oversized(unit: Unit, window: int) -> bool:
    """Return whether a unit is too large to be summarised at all."""
    return unit.tokens * MARGIN > window / 2


def total(units: Sequence[Unit]) -> int:
    """Return the tokens of all units."""
    return sum(unit.tokens for unit in units)
