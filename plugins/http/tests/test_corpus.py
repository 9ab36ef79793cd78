"""The kit that plays the corpus can tell good from bad."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from rustyclaw import Finished, ProviderError, TextDelta, ToolCallDelta
from rustyclaw_http.testing.corpus import answer_of, grade, patience
from rustyclaw_http.testing.hearing import Hearing, hear, request
from rustyclaw_http.testing.server import FakeVendor

from .conftest import Acme


def row(*chunks: dict[str, Any], end: str = "eof", **expect: Any) -> dict[str, Any]:
    return {
        "http_status": 200,
        "http_headers": {"content-type": "text/event-stream"},
        "chunks": list(chunks),
        "end": end,
        "expect": {"outcome": "ok", **expect},
        "why": "a test",
    }


def chunk(text: str, **fields: Any) -> dict[str, Any]:
    key = "repeat_b64" if fields else "b64"
    return {key: b64encode(text.encode()).decode(), **fields}


GOOD = chunk('data: {"text": "Hello"}\n\n')
DONE = chunk("data: [DONE]\n\n")


@pytest.mark.parametrize(
    "case",
    [
        row(GOOD, DONE, text="Hello", stop_reason="stop"),
        row(chunk(": x\n\n", count=3, every_ms=1), GOOD, DONE, text="Hello"),
        row(GOOD, outcome="error", error_kind="stream_truncated", retryable=True),
        row(
            chunk(": x\n\n", every_ms=20, forever=True),
            outcome="error",
            error_kind="timeout",
        ),
        row(
            {"generate": "no_newline", "bytes": 1 << 30},
            outcome="error",
            error_kind="response_too_large",
        ),
        row(GOOD, end="hang", outcome="error", error_kind="timeout"),
        row(GOOD, end="reset", outcome="error", error_kind="stream_truncated"),
    ],
)
async def test_rows(case: dict[str, Any], acme: Acme, vendor: FakeVendor) -> None:
    vendor.script(answer_of(case))
    async with acme(idle_timeout_seconds=0.2, **patience(case)) as provider:
        grade(case, await hear(provider, request()))


CUT_OFF = ProviderError("cut off with the key s3cret", kind="timeout")
HEARD = [TextDelta(text="Hello"), Finished()]
CALL = ToolCallDelta(index=0, id="a", name="exec", arguments='{"command": "1"}')


@pytest.mark.parametrize(
    ("case", "heard"),
    [
        (row(text="Bye"), Hearing(HEARD)),
        (row(), Hearing([], CUT_OFF)),
        (row(outcome="error", error_kind="timeout"), Hearing(HEARD)),
        (row(outcome="error", error_kind="auth"), Hearing([], CUT_OFF)),
        (
            row(outcome="error", error_kind="timeout", retryable=False),
            Hearing([], CUT_OFF),
        ),
        (
            row(outcome="error", error_kind="timeout", must_not_contain=["s3cret"]),
            Hearing([], CUT_OFF),
        ),
        (
            row(outcome="error", error_kind="timeout", partial_text="Hel"),
            Hearing([], CUT_OFF),
        ),
        (row(tool_calls=[]), Hearing([CALL, Finished()])),
        (row(tool_calls=[{"name": "exec"}]), Hearing(HEARD)),
        (
            row(tool_calls=[{"name": "exec", "arguments": {}}]),
            Hearing([CALL, Finished()]),
        ),
        (row(stop_reason="stop"), Hearing([Finished(stop_reason="length")])),
    ],
)
def test_what_is_wrong_is_noticed(case: dict[str, Any], heard: Hearing) -> None:
    with pytest.raises(AssertionError):
        grade(case, heard)
