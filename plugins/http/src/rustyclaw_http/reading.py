"""Reads fields of what a vendor sends, whatever it sends."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from rustyclaw import ProviderError

#: Makes an error of what a vendor says.
Fail = Callable[[Mapping[str, Any]], ProviderError]


def decoded(data: str, fail: Fail) -> Mapping[str, Any]:
    """Return the object that an event holds.

    :raises ProviderError: It holds none; as if the stream had been cut off.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):  # all objects of JSON are
        raise fail({"error": "network error: an event of the stream is no JSON object"})
    return value


def text_in(fields: Any, key: str) -> str:
    """Return a text, or an empty one if there is none."""
    value = fields.get(key) if isinstance(fields, dict) else None
    return value if isinstance(value, str) else ""


def tokens_in(fields: Any, key: str) -> int:
    """Return a number of tokens, or zero if there is none."""
    value = fields.get(key) if isinstance(fields, dict) else None
    return value if isinstance(value, int) and value > 0 else 0
