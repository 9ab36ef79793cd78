"""What is made once for each object."""

from __future__ import annotations

from typing import Any

from rustyclaw_http import remembered as module
from rustyclaw_http.remembered import remembered
from rustyclaw_http.schemas import fitting


def test_once_for_each_object_however_equal() -> None:
    made: list[dict[str, int]] = []

    @remembered
    def copied(given: dict[str, int]) -> dict[str, int]:
        made.append(given)
        return dict(given)

    one, like_it = {"a": 1}, {"a": 1}
    assert copied(one) is copied(one)
    assert copied(like_it) is not copied(one)
    assert len(made) == 2


def test_it_is_bounded(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "_MOST", 2)
    made: list[object] = []
    told = remembered(made.append)
    first, second, third = [1], [2], [3]
    for given in (first, second, third, second, third, first):
        told(given)
    assert made == [first, second, third, first]


def test_a_tool_is_fitted_once() -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}}
    schema["$defs"] = {"A": {"type": "string"}}
    assert fitting(schema) is fitting(schema)
    assert fitting(schema)["properties"] == {"a": {"type": "string"}}
    assert "$defs" in schema
