"""The table of measurements: one row each, with its floor and its target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

HEADINGS = ("measurement", "median", "floor", "ratio", "target", "verdict", "note")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a row must not exceed.

    :param of: What is held against the limit; ``excess`` is median minus floor.
    """

    limit: float
    of: Literal["median", "ratio", "excess"] = "median"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measurement beside the floor that was measured in the same run.

    :param unit: Of ``median`` and ``floor``.
    """

    name: str
    unit: str
    median: float
    floor: float
    target: Target | None = None
    note: str = ""

    @property
    def ratio(self) -> float:
        """How many times the floor it is."""
        return self.median / self.floor

    @property
    def verdict(self) -> str:
        """``ok`` or ``over``; ``-`` if there is no target."""
        if self.target is None:
            return "-"
        held = {
            "median": self.median,
            "ratio": self.ratio,
            "excess": self.median - self.floor,
        }[self.target.of]
        return "ok" if held <= self.target.limit else "over"

    def wanted(self) -> str:
        """Return the target as people read it."""
        if self.target is None:
            return "-"
        limit = f"{self.target.limit:g}"
        return {
            "median": f"<= {limit} {self.unit}",
            "ratio": f"<= {limit}x",
            "excess": f"<= floor + {limit} {self.unit}",
        }[self.target.of]

    def as_json(self) -> dict[str, Any]:
        """Return all that is known as JSON values."""
        return asdict(self) | {"ratio": self.ratio, "verdict": self.verdict}

    def cells(self) -> tuple[str, ...]:
        """Return the row as it is printed, in the order of `HEADINGS`."""
        return (
            self.name,
            f"{_short(self.median)} {self.unit}",
            f"{_short(self.floor)} {self.unit}",
            f"{_short(self.ratio)}x",
            self.wanted(),
            self.verdict,
            self.note,
        )


def _short(number: float) -> str:
    """Return a number with three digits that say something."""
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


def markdown(rows: Sequence[Row]) -> str:
    """Return a table that is legible as it is, and a table in the docs."""
    lines = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = [
        "| " + " | ".join(map(str.ljust, cells, widths)) + " |" for cells in lines
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join((padded[0], rule, *padded[1:]))
