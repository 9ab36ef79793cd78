"""Makes the schemas of tools fit for vendors that read only a part of JSON Schema.

OpenAI wants an object at the top, without alternatives beside its properties (function
calling guide); servers with grammars often cannot follow references.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rustyclaw_http.schemas import inline_refs, without_keys

_COMBINED = ("anyOf", "oneOf", "allOf")
_UNWANTED = {"$schema", "$id", "$comment"}


def fitting(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a tool as every vendor takes them.

    Alternatives at the top are joined: all properties may be given, and what is
    required by each of them is.
    """
    plain = without_keys(inline_refs(schema), _UNWANTED)
    properties: dict[str, Any] = {}
    required = set(plain.get("required") or ())
    for key in _COMBINED:
        branches = [b for b in plain.pop(key, None) or () if isinstance(b, Mapping)]
        demands = [set(branch.get("required") or ()) for branch in branches]
        for branch in branches:
            properties.update(branch.get("properties") or {})
        if demands:
            join = set.union if key == "allOf" else set.intersection
            required |= join(*demands)
    for key in ("enum", "not", "const"):
        plain.pop(key, None)
    properties.update(plain.get("properties") or {})
    fitted = {**plain, "type": "object", "properties": properties}
    if required:
        fitted["required"] = sorted(required, key=[*properties, *required].index)
    return fitted
