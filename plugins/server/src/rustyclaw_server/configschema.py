"""The schema of the config file as clients' forms want it: flat, with hints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel
from rustyclaw import __version__, config_schema

_ROOT = "."


class ConfigSchema:
    """The schema with the sections of plugins.

    :param models: By kind and name.
    """

    def __init__(self, models: Mapping[str, Mapping[str, type[BaseModel]]]) -> None:
        whole = config_schema(models)
        parts = whole.pop("$defs", {})
        self._schema = _inlined(whole, parts, ())
        self._schema["$schema"] = "http://json-schema.org/draft-07/schema#"
        self._hints = {path: _hint(path, node) for path, node in _walk(self._schema)}

    def answer(self) -> dict[str, Any]:
        """Return it as ``config.schema`` does."""
        return {
            "schema": self._schema,
            "uiHints": self._hints,
            "version": __version__,
            "generatedAt": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        }

    def lookup(self, path: str) -> dict[str, Any] | None:
        """Return what ``config.schema.lookup`` tells of a path; ``.`` is the whole."""
        keys = [
            key for key in path.replace("[", ".").replace("]", "").split(".") if key
        ]
        node: Any = self._schema
        for key in keys:
            node = _child(node, key)
            if node is None:
                return None
        dotted = ".".join(keys)
        children = []
        for key, child in _children(node):
            way = f"{dotted}.{key}".lstrip(".")
            row = {
                "key": key,
                "path": way,
                "type": _type(child),
                "required": key in _required(node),
                "hasChildren": any(True for _ in _children(child)),
                "hint": self._hints.get(way),
                "hintPath": way if way in self._hints else None,
            }
            children.append({k: v for k, v in row.items() if v is not None})
        simple = {k: v for k, v in node.items() if k not in _DEEP}
        found = {"path": dotted or _ROOT, "schema": simple, "children": children}
        if hint := self._hints.get(dotted):
            found |= {"hint": hint, "hintPath": dotted}
        return found


_DEEP = ("properties", "items", "additionalProperties", "$schema", "anyOf")


def _inlined(node: Any, parts: Mapping[str, Any], seen: tuple[str, ...]) -> Any:
    """Return a schema without references; one that leads into itself is cut."""
    if isinstance(node, list):
        return [_inlined(item, parts, seen) for item in node]
    if not isinstance(node, dict):
        return node
    if isinstance(ref := node.get("$ref"), str):
        name = ref.removeprefix("#/$defs/")
        rest = {key: value for key, value in node.items() if key != "$ref"}
        if name in seen or name not in parts:
            return rest
        return {**_inlined(parts[name], parts, (*seen, name)), **rest}
    return {key: _inlined(item, parts, seen) for key, item in node.items()}


def _variants(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return a schema, or what it may be besides null."""
    kinds = node.get("anyOf")
    if not isinstance(kinds, list):
        return [node]
    return [
        node,
        *(k for k in kinds if isinstance(k, dict) and k.get("type") != "null"),
    ]


def _children(node: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for kind in _variants(node):
        for key, child in kind.get("properties", {}).items():
            yield key, child
        for key in ("items", "additionalProperties"):
            if isinstance(child := kind.get(key), dict):
                yield "*", child


def _child(node: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    found = dict(_children(node))
    return found.get(key, found.get("*"))


def _required(node: Mapping[str, Any]) -> set[str]:
    return {key for kind in _variants(node) for key in kind.get("required", ())}


def _type(node: Mapping[str, Any]) -> str | list[str] | None:
    kinds = [kind["type"] for kind in _variants(node) if "type" in kind]
    return kinds[0] if len(kinds) == 1 else kinds or None


def _walk(
    node: Mapping[str, Any], path: str = ""
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key, child in _children(node):
        way = f"{path}.{key}".lstrip(".")
        yield way, child
        yield from _walk(child, way)


#: The sections in the order in which people look for them.
_SECTIONS = (
    *("agents", "providers", "channels", "tools", "session", "bindings"),
    *("hooks", "plugins", "compactors", "gateway", "logging"),
)


def _hint(path: str, node: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a form shows a setting."""
    section, _, rest = path.partition(".")
    name = path.rpartition(".")[2]
    hint: dict[str, Any] = {"label": name.replace("_", " ").capitalize()}
    if about := node.get("description"):
        hint["help"] = about
    if any(kind.get("writeOnly") for kind in _variants(node)):
        hint["sensitive"] = True
    if not rest:
        hint["group"] = hint["label"]
        order = _SECTIONS.index(section) if section in _SECTIONS else len(_SECTIONS)
        hint["order"] = 10 * (order + 1)
    return hint
