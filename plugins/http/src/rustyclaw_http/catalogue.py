"""Lists of models: those that we know, and those that a vendor tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rustyclaw import ModelInfo

#: More than any vendor has; what follows is not read.
MAX_MODELS = 5000


def alike(
    *ids: str, window: int, output: int, vision: bool = True, reasoning: bool = True
) -> tuple[ModelInfo, ...]:
    """Return models that differ by their names only; sizes in tokens."""
    return tuple(
        ModelInfo(
            id=id,
            context_window=window,
            max_output_tokens=output,
            vision=vision,
            reasoning=reasoning,
        )
        for id in ids
    )


def listed(
    entries: Any, info: Callable[[Mapping[str, Any]], ModelInfo | None]
) -> list[ModelInfo]:
    """Return the models of a list; none if it is no list.

    :param info: Reads an entry; ``None``: it is nothing to talk to.
    """
    if not isinstance(entries, list):
        return []
    objects = (entry for entry in entries[:MAX_MODELS] if isinstance(entry, Mapping))
    return [found for found in map(info, objects) if found is not None]


def size_in(entry: Mapping[str, Any], key: str, default: int) -> int:
    """Return a number of tokens, or the default if there is none."""
    size = entry.get(key)
    return size if isinstance(size, int) and size > 0 else default
