"""The comparison of shapes finds what it is there to find."""

from __future__ import annotations

from typing import Any

import pytest

from .shapes import differences, exchanges, frames


@pytest.mark.parametrize(
    ("theirs", "ours", "found"),
    [
        ({"a": 1}, {"a": 2}, []),
        ({"a": 1}, {}, ["a: missing"]),
        ({"a": 1}, {"a": "1"}, ["a: string, theirs is integer"]),
        ({"a": 1}, {"a": True}, ["a: boolean, theirs is integer"]),
        ({"a": 1}, {"a": 1, "b": 1}, ["b: only ours has it"]),
        ({"a": None}, {"a": 1}, []),
        ({"a": 1}, {"a": None}, ["a: null, theirs is integer"]),
        ({"a": [{"x": 1}]}, {"a": []}, ["a: empty, theirs has elements"]),
        ({"a": []}, {"a": [1]}, []),
        ({"a": [{"x": 1}, {"x": 1, "y": 1}]}, {"a": [{"x": 2}]}, []),
        (
            {"a": [{"x": 1}]},
            {"a": [{"x": 2}, {"z": 3}]},
            ["a[].x: missing", "a[].z: only ours has it"],
        ),
    ],
)
def test_differences(theirs: Any, ours: Any, found: list[str]) -> None:
    assert differences(theirs, ours) == found


def test_tolerances_are_paths() -> None:
    theirs = {"a": {"b": {"c": 1}}, "x": {"one": {"k": 1}}}

    assert (
        differences(theirs, {"a": {}, "x": {"one": {}}}, missing=["a.b", "x.*"]) == []
    )
    assert differences(theirs, {"a": {}}, missing=["a.b"]) == ["x: missing"]
    assert differences({}, {"new": {"k": 1}}, extra=["new"]) == []


def test_captures_can_be_read() -> None:
    assert frames("handshake-operator")[0]["frame"]["event"] == "connect.challenge"
    assert [request["method"] for request, _ in exchanges("sessions")] == [
        "sessions.list",
        "sessions.list",
    ]
