"""Small shorthands for the tables of rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from rustyclaw_exec.call import Call
from rustyclaw_exec.verdict import Finding

#: Judges one call of a program that it knows.
Check = Callable[[Call], Iterator[Finding]]


def programs(rows: Mapping[str, Check]) -> dict[str, Check]:
    """Return a table with one program a key from one with several a key.

    :raises ValueError: A program stands in two rows; one would be ignored.
    """
    table: dict[str, Check] = {}
    for row, check in rows.items():
        for name in row.split():
            if table.setdefault(name, check) is not check:
                raise ValueError(
                    f"{name!r} stands in two rows of one table; merge them"
                )
    return table
