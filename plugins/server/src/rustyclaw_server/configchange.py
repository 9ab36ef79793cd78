"""Changes to the config file: secrets put back, patches, and the least that changes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import inf
from typing import Any

import yaml
from rustyclaw import ConfigError

from rustyclaw_server.configfile import (
    REDACTED,
    ConfigFile,
    at,
    is_json,
    parse,
    replaced,
    span,
    without_values,
)

# --- Putting back -----------------------------------------------------------------


def restored_text(text: str, file: ConfigFile) -> str:
    """Return a YAML text with the secrets of the file in their places.

    :raises ConfigError: It is no YAML, or nobody knows which secret is meant.
    """
    text = _with_comments(text, file)
    parsed, places = parse(text)
    whole = restored(parsed, file.parsed)
    spans = {
        span(node): _written(at(whole, keys))
        for keys, node in places.items()
        if REDACTED in node.value
    }
    return replaced(text, spans)


def _written(value: Any) -> str:
    """Return a scalar as YAML that means the same wherever it stands."""
    if isinstance(value, str):
        return str(yaml.safe_dump(value, default_style='"', width=inf)).rstrip("\n")
    return json.dumps(value)


def _with_comments(text: str, file: ConfigFile) -> str:
    """Put back the lines whose comments were shown without a secret."""
    if not file.raw or is_json(file.text):
        return text
    masked = without_values(file.text, file.shown, parse(file.text)[1])
    lines = [*zip(file.raw.split("\n"), masked.split("\n"), strict=False)]
    known = {shown: line for shown, line in lines if shown != line}
    if not known or file.raw.count("\n") != masked.count("\n"):
        return text
    return "\n".join(known.get(line, line) for line in text.split("\n"))


def restored(new: Any, old: Any, way: str = "") -> Any:
    """Return a value with the secrets of an old one where it says `REDACTED`.

    :raises ConfigError: There is no such secret.
    """
    if isinstance(new, dict):
        known = old if isinstance(old, dict) else {}
        return {
            key: restored(item, known.get(key), f"{way}.{key}".lstrip("."))
            for key, item in new.items()
        }
    if isinstance(new, list):
        return [
            restored(item, _match(item, index, new, old), f"{way}.{index}")
            for index, item in enumerate(new)
        ]
    if isinstance(new, str) and REDACTED in new:
        if new != REDACTED or old is None or isinstance(old, dict | list):
            raise ConfigError(f"{way}: the value is redacted; give the real one")
        return old
    return new


def _match(item: Any, index: int, new: list[Any], old: Any) -> Any:
    """Return the item of an old list that one of a new list comes from."""
    if not isinstance(old, list):
        return None
    if isinstance(item, dict) and "id" in item:
        same = (o for o in old if isinstance(o, dict) and o.get("id") == item["id"])
        return next(same, None)
    return old[index] if len(new) == len(old) else None


# --- Changing ---------------------------------------------------------------------


def merged(old: Any, patch: Any) -> Any:
    """Lay a JSON merge patch over a value; lists of things with an id merge by it."""
    if isinstance(patch, dict):
        known = old if isinstance(old, dict) else {}
        result = {k: v for k, v in known.items() if patch.get(k, 1) is not None}
        for key, item in patch.items():
            if item is not None:
                result[key] = merged(known.get(key), item)
        return result
    if isinstance(old, list) and isinstance(patch, list) and _has_ids(old, patch):
        ids = [item["id"] for item in old]
        by_id = {item["id"]: item for item in patch}
        items = [merged(o, by_id[o["id"]]) if o["id"] in by_id else o for o in old]
        return [*items, *(merged(None, i) for i in patch if i["id"] not in ids)]
    return patch


def _has_ids(*lists: list[Any]) -> bool:
    items = [item for one in lists for item in one]
    return all(isinstance(i, dict) and isinstance(i.get("id"), str) for i in items)


@dataclass(frozen=True, slots=True)
class Changes:
    """What leads from one configuration to another; for `rustyclaw.edit_config`."""

    drop: list[tuple[str, ...]]
    put: list[tuple[tuple[str, ...], Any]]


def changes(old: Any, new: Any) -> Changes:
    """Return the least that must change, so that comments beside it can stay."""
    found = Changes([], [])
    _compare(old, new, (), (), found)
    return found


def _compare(
    old: Any, new: Any, before: tuple[str, ...], after: tuple[str, ...], found: Changes
) -> None:
    """Collect changes; ways differ ``before`` and ``after`` things left a list."""
    if isinstance(old, dict) and isinstance(new, dict):
        found.drop.extend((*before, key) for key in old if key not in new)
        for key, item in new.items():
            if key not in old:
                found.put.append(((*after, key), item))
            else:
                _compare(old[key], item, (*before, key), (*after, key), found)
        return
    if isinstance(old, list) and isinstance(new, list) and _has_ids(old, new):
        ids = [item["id"] for item in new]
        stay = [(n, item) for n, item in enumerate(old) if item["id"] in ids]
        if [item["id"] for _, item in stay] == ids[: len(stay)]:
            for place, (n, item) in enumerate(stay):
                ways = (*before, str(n)), (*after, str(place))
                _compare(item, new[place], *ways, found)
            gone = [n for n, item in enumerate(old) if item["id"] not in ids]
            found.drop.extend((*before, str(n)) for n in reversed(gone))
            for place in range(len(stay), len(new)):
                found.put.append(((*after, str(place)), new[place]))
            return
    if old != new or type(old) is not type(new):
        found.put.append((after, new))
