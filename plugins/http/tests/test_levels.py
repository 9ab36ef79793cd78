"""Levels of thinking, and fields of answers that may be anything."""

from __future__ import annotations

from typing import Any

import pytest
from rustyclaw import ProviderError
from rustyclaw_http.levels import LEVELS, known, nearest
from rustyclaw_http.reading import decoded, text_in, tokens_in


def test_the_nearest_level() -> None:
    levels = ("low", "high")
    found = [nearest(level, levels) for level in ("off", "on", *LEVELS)]
    assert found == ["low", "low", "low", "low", "low", "low", "high", "high", "high"]
    assert known("x_high") == "xhigh"


def test_a_level_that_nobody_has() -> None:
    with pytest.raises(ProviderError, match="'hard'; use one of off, minimal"):
        nearest("hard", LEVELS)


@pytest.mark.parametrize("data", ["", "{", "[]", "7", '"x"', "[" * 100_000])
def test_an_event_that_is_no_object(data: str) -> None:
    with pytest.raises(ProviderError, match="no JSON object"):
        decoded(data, lambda fault: ProviderError(fault["error"]))


@pytest.mark.parametrize("fields", [None, 3, [], {}, {"a": None}, {"a": [1]}])
def test_fields_that_are_something_else(fields: Any) -> None:
    assert text_in(fields, "a") == ""
    assert tokens_in(fields, "a") == 0


def test_fields() -> None:
    assert text_in({"a": "b"}, "a") == "b"
    assert tokens_in({"a": 3}, "a") == 3
    assert tokens_in({"a": -3}, "a") == 0
