"""Levels of thinking, and the nearest one that a model has."""

from __future__ import annotations

from collections.abc import Sequence

from rustyclaw import ProviderError

#: Levels of thinking, the least first; vendors call the first one ``none``.
LEVELS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_ALIASES = {"off": "none", "on": "low", "x_high": "xhigh"}


def known(level: str) -> str:
    """Return a level as `LEVELS` has it.

    :param level: ``off``, ``on``, or one of `LEVELS`.
    :raises ProviderError: There is no such level.
    """
    wanted = _ALIASES.get(level, level)
    if wanted not in LEVELS:
        names = ", ".join(("off", *LEVELS[1:]))
        raise ProviderError(
            f"there is no thinking level {level!r}; use one of {names}", kind="format"
        )
    return wanted


def nearest(level: str, supported: Sequence[str]) -> str:
    """Return the supported level that is nearest, rather less than more.

    :param level: As for `known`.
    :param supported: In the order of `LEVELS`, and at least one.
    :raises ProviderError: There is no such level.
    """
    limit = LEVELS.index(known(level))
    fitting = [name for name in supported if LEVELS.index(name) <= limit]
    return fitting[-1] if fitting else supported[0]
