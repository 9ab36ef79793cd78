"""Requests as bytes of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any

_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def encode(body: Any) -> bytes:
    """Return a body as JSON that every vendor takes.

    Half surrogates become question marks, and NaN and infinities ``null``: both may
    stand in a transcript, and would make a vendor refuse all of it.
    """
    try:
        text = _JSON.encode(body)
    except ValueError:
        text = json.dumps(_finite(body), ensure_ascii=False)
    return text.encode(errors="replace")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [*map(_finite, value)] if isinstance(value, list | tuple) else value
