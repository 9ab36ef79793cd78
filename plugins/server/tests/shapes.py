"""Compares what we send with what a real gateway sent: the same keys and types.

``frames("chat-plain")`` reads captured frames (``data/frames``); `differences` says
what is missing in ours, what is more, and what has another type. Values do not count.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_FRAMES = Path(__file__).parent / "data" / "frames"


def frames(name: str) -> list[dict[str, Any]]:
    """Return the lines of a capture."""
    text = (_FRAMES / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def incoming(name: str) -> list[dict[str, Any]]:
    """Return the frames that the gateway sent in a capture."""
    return [line["frame"] for line in frames(name) if line.get("dir") == "in"]


def exchanges(name: str) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Yield each request of a capture with its answers, ``connect`` left out."""
    lines = frames(name)
    for line in lines:
        request = line.get("frame", {})
        if line.get("dir") != "out" or request.get("type") != "req":
            continue
        if request["method"] != "connect":
            answers = [f for f in incoming(name) if f.get("id") == request["id"]]
            yield request, answers


def events(name: str, event: str, **facts: Any) -> list[dict[str, Any]]:
    """Return the payloads of the events of a capture that have these facts."""
    found = (f["payload"] for f in incoming(name) if f.get("event") == event)
    return [p for p in found if all(p.get(k) == v for k, v in facts.items())]


def differences(
    theirs: Any, ours: Any, *, missing: Iterable[str] = (), extra: Iterable[str] = ()
) -> list[str]:
    """Return how our value differs in shape from theirs; empty: not at all.

    A path is written ``sessions[].origin.surface``. Elements of a list are compared
    with the sum of theirs: a key that only some of theirs have is optional. ``null``
    stands for any type. A list of theirs that is not empty wants one of ours.

    :param missing: Paths that ours need not have (with all below them); ``*`` stands
        for anything.
    :param extra: Paths that only ours may have.
    """
    tolerated = [_pattern(path) for path in missing]
    added = [_pattern(path) for path in extra]
    return [
        text
        for kind, path, text in _compare("", [theirs], ours)
        if not any(p.fullmatch(path) for p in (added if kind == "extra" else tolerated))
    ]


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(f"{re.escape(path).replace(re.escape('*'), '.*')}(?:[.[].*)?")


def _compare(path: str, theirs: list[Any], ours: Any) -> Iterator[tuple[str, str, str]]:
    """Yield kind, path and text of each difference from one of several values."""
    known = [value for value in theirs if value is not None]
    if not known or ours is None:
        if len(known) == len(theirs) and known:
            yield "missing", path, f"{path}: null, theirs is {_kind(known[0])}"
        return
    kinds = {_kind(value) for value in known}
    if _kind(ours) not in kinds:
        yield "missing", path, f"{path}: {_kind(ours)}, theirs is {'/'.join(kinds)}"
    elif isinstance(ours, dict):
        yield from _compare_objects(
            path, [v for v in known if _kind(v) == "object"], ours
        )
    elif isinstance(ours, list):
        lists = [value for value in known if isinstance(value, list)]
        elements = [element for value in lists for element in value]
        if all(lists) and not ours:
            yield "missing", path, f"{path}: empty, theirs has elements"
        for element in ours if elements else ():
            yield from _compare(f"{path}[]", elements, element)


def _compare_objects(
    path: str, theirs: list[dict[str, Any]], ours: dict[str, Any]
) -> Iterator[tuple[str, str, str]]:
    keys = dict.fromkeys(key for value in theirs for key in value)
    for key in keys:
        at = f"{path}.{key}".lstrip(".")
        if key in ours:
            having = [value[key] for value in theirs if key in value]
            yield from _compare(at, having, ours[key])
        elif all(key in value for value in theirs):
            yield "missing", at, f"{at}: missing"
    for key in ours.keys() - keys.keys():
        at = f"{path}.{key}".lstrip(".")
        yield "extra", at, f"{at}: only ours has it"


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "list"
    return "object"
