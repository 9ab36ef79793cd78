"""Describes tools in the part of JSON Schema that Gemini takes.

Source: ``Schema`` of the Gemini API reference, a subset of OpenAPI 3.0. Anything else
makes the vendor refuse the whole request, so only what is known passes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rustyclaw import ToolSchema
from rustyclaw_http.remembered import remembered
from rustyclaw_http.schemas import fitting

Json = dict[str, Any]

_COMBINED = ("anyOf", "oneOf")
_TYPES = ("string", "integer", "number", "boolean", "array", "object")


@remembered
def declaration(tool: ToolSchema) -> Json:
    """Return a tool as a function declaration."""
    declared: Json = {"name": tool.name, "description": tool.description}
    schema = cleaned(fitting(tool.parameters))
    if schema.get("properties"):  # an object without properties is refused
        declared["parameters"] = {**schema, "type": "object"}
    return declared


def cleaned(schema: Any) -> Json:
    """Return a schema, without references, as Gemini takes it."""
    if not isinstance(schema, Mapping):
        return {"type": "string"}
    given = _joined(schema)
    branches = [*_branches(given)]
    types = _types(given)
    nullable = "null" in types or given.get("nullable") is True
    nullable = nullable or any(map(_is_null, branches))
    branches = [branch for branch in branches if not _is_null(branch)]
    plain = {key: value for key, value in given.items() if key not in _COMBINED}
    if len(branches) == 1:
        found = cleaned({**branches[0], **plain})
    elif branches and (values := _literals(branches)) is None:
        found = {"anyOf": [cleaned(branch) for branch in branches]}
        if isinstance(plain.get("description"), str):
            found["description"] = plain["description"]
    else:
        if branches:
            plain["enum"] = values
        found = _single(plain, next((t for t in _TYPES if t in types), ""))
    return {**found, "nullable": True} if nullable else found


def _single(given: Mapping[str, Any], kind: str) -> Json:
    """Return a schema of one type."""
    properties, values = given.get("properties"), _values(given)
    kind = kind or _guessed(given, values)
    found: Json = {"type": kind}
    notes = [given["description"]] if isinstance(given.get("description"), str) else []
    if kind == "object" and isinstance(properties, Mapping):
        found["properties"] = {n: cleaned(value) for n, value in properties.items()}
        wanted = given.get("required")
        wanted = wanted if isinstance(wanted, list) else []
        required = [name for name in properties if name in wanted]
        if required:
            found["required"] = required
    elif kind == "array":
        found["items"] = cleaned(given.get("items"))
    elif values and kind == "string" and all(isinstance(v, str) and v for v in values):
        found["enum"] = values
    elif values:  # only texts may be enumerated
        listed = ", ".join(json.dumps(value) for value in values)
        notes.append(f"One of: {listed}.")
    return {**found, "description": " ".join(notes)} if notes else found


def _types(schema: Mapping[str, Any]) -> list[Any]:
    types = schema.get("type")
    return types if isinstance(types, list) else [types]


def _guessed(schema: Mapping[str, Any], values: list[Any]) -> str:
    """Return the type of a schema that names none."""
    if values:
        names = {bool: "boolean", int: "integer", float: "number"}
        return names.get(type(values[0]), "string")
    if "properties" in schema:
        return "object"
    return "array" if "items" in schema else "string"


def _joined(schema: Mapping[str, Any]) -> Json:
    """Return a schema with all that it must be besides, ``allOf``, in it."""
    joined = {key: value for key, value in schema.items() if key != "allOf"}
    for part in _list(schema, "allOf"):
        if not isinstance(part, Mapping):
            continue
        inner = _joined(part)
        properties = _mapping(inner, "properties") | _mapping(joined, "properties")
        required = [n for s in (inner, joined) for n in _list(s, "required")]
        required = [name for name in required if isinstance(name, str)]
        joined = {**inner, **joined}
        if properties:
            joined["properties"] = properties
        if required:
            joined["required"] = list(dict.fromkeys(required))
    return joined


def _branches(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for key in _COMBINED:
        for branch in _list(schema, key):
            if isinstance(branch, Mapping):
                yield branch


def _literals(branches: list[Mapping[str, Any]]) -> list[Any] | None:
    """Return the values of branches that are nothing but values."""
    values: list[Any] = []
    for branch in branches:
        found = _values(branch)
        if not found:
            return None
        values += found
    return values


def _values(schema: Mapping[str, Any]) -> list[Any]:
    if "const" in schema:
        return [schema["const"]]
    return [value for value in _list(schema, "enum") if value is not None]


def _is_null(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "null" or ("const", None) in schema.items()


def _mapping(schema: Mapping[str, Any], key: str) -> Json:
    value = schema.get(key)
    return dict(value) if isinstance(value, Mapping) else {}


def _list(schema: Mapping[str, Any], key: str) -> list[Any]:
    value = schema.get(key)
    return value if isinstance(value, list) else []
