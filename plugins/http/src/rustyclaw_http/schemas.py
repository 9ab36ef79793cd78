"""JSON Schemas of tools, made plain enough for vendors that read only a part of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from rustyclaw import ToolSchema

from rustyclaw_http.remembered import remembered

_DEFINITIONS = ("$defs", "definitions")
_COMBINED = ("anyOf", "oneOf", "allOf")
_UNWANTED = {"$schema", "$id", "$comment"}
#: Objects and lists of one schema; references could make it grow without end.
_MAX_NODES = 10_000


@remembered
def fitting(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a tool as every vendor takes them.

    They want an object at the top without alternatives beside its properties (OpenAI,
    Anthropic), and servers with grammars often cannot follow references.

    Alternatives at the top are joined: all properties may be given, and what is
    required by each of them is. The answer is shared: it must not be changed.
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


def functions(tools: Iterable[ToolSchema]) -> list[dict[str, Any]]:
    """Return tools as OpenAI's Chat Completions has them, and who imitates it."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": fitting(tool.parameters),
            },
        }
        for tool in tools
    ]


def inline_refs(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema with each local ``$ref`` replaced by what it names.

    A schema that contains itself becomes ``{}`` (anything) where it does so; so does
    what would make it grow beyond measure.
    """
    definitions = {
        f"#/{group}/{name}": value
        for group in _DEFINITIONS
        for name, value in _mapping(schema.get(group)).items()
    }
    body = {key: v for key, v in schema.items() if key not in _DEFINITIONS}
    return dict(_mapping(_Inliner(definitions).inlined(body, ())))


def without_keys(schema: Any, keys: Collection[str]) -> Any:
    """Return a schema without these keywords; properties of that name stay."""
    if isinstance(schema, list):
        return [without_keys(item, keys) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        key: (
            {name: without_keys(item, keys) for name, item in value.items()}
            if key in ("properties", "$defs", "definitions")
            and isinstance(value, Mapping)
            else value
            if key in ("enum", "const", "default", "examples", "required")
            else without_keys(value, keys)
        )
        for key, value in schema.items()
        if key not in keys
    }


class _Inliner:
    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions
        self._left = _MAX_NODES

    def inlined(self, schema: Any, inside: tuple[str, ...]) -> Any:
        """Return a part of a schema; ``inside`` are the references that led here."""
        if not isinstance(schema, list | Mapping):
            return schema
        self._left -= 1
        if self._left < 0:
            return {}
        if isinstance(schema, list):
            return [self.inlined(item, inside) for item in schema]
        target = schema.get("$ref")
        if not isinstance(target, str) or target not in self._definitions:
            return {key: self.inlined(value, inside) for key, value in schema.items()}
        if target in inside:
            return {}
        named = self.inlined(self._definitions[target], (*inside, target))
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return {**_mapping(named), **_mapping(self.inlined(beside, inside))}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
