"""The table of failures: a realistic answer for each of its rows, vendor by vendor.

The bodies in ``failures.jsonl`` have the shapes that the vendors document; names and
numbers are made up. A status of ``null`` means: within a stream, or not by HTTP.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from rustyclaw import ProviderError
from rustyclaw_http.classify import RULES, STATUSES, Kind, classify, observed_tokens
from rustyclaw_http.errors import error_from_answer

DATA = Path(__file__).parent / "data" / "failures.jsonl"
CASES = [json.loads(line) for line in DATA.read_text().splitlines()]


def name(case: Any) -> str:
    return f"{case['vendor']}-{case['status']}-{case['kind']}"


def text_of(case: Any) -> str:
    body = case["body"]
    return body if isinstance(body, str) else json.dumps(body)


@pytest.mark.parametrize("case", CASES, ids=name)
def test_answers(case: dict[str, Any]) -> None:
    body = text_of(case)
    error = error_from_answer(case["vendor"], status=case["status"], body=body)
    assert error.kind == case["kind"], str(error)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.pattern.pattern[:40])
def test_each_row_of_the_table_has_a_case(rule: Any) -> None:
    assert any(rule.pattern.search(text_of(case)) for case in CASES)


def test_weak_rows_stand_last() -> None:
    weak = [rule.weak for rule in RULES]
    assert weak == sorted(weak)


def test_kinds_are_those_of_the_core() -> None:
    kinds = get_args(get_type_hints(ProviderError.__init__)["kind"])
    assert get_args(Kind) == kinds
    assert {rule.kind for rule in RULES} | {*STATUSES.values()} <= {*kinds}


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("prompt is too long: 210348 tokens > 200000 maximum", 210348),
        ("However, your messages resulted in 130,112 tokens.", 130112),
        ("you requested about 40000 tokens (39000 of text)", 40000),
        ("The input token count (1200000) exceeds the maximum", 1200000),
        ("Prompt contains 40000 tokens, too large", 40000),
        ("maximum context length is 8192 tokens", None),
        ("resulted in " + "9" * 5000 + " tokens", None),
    ],
)
def test_observed_tokens(text: str, tokens: int | None) -> None:
    assert observed_tokens(text) == tokens


def test_hostile_texts_take_no_time() -> None:
    for text in (
        "a" * 100_000,
        "model" * 20_000,
        "exceed context " * 9000,
        " " * 10**5,
    ):
        assert classify(text) in get_args(Kind)
