"""What Google refuses, and how: each status of its troubleshooting guide."""

from __future__ import annotations

from typing import Any

import pytest
from rustyclaw_http.testing.refusing import check_leaving, check_refusal
from rustyclaw_http.testing.server import Answer, FakeVendor

from .conftest import KEY, Make, chunk, refusal, stream

INVALID, DENIED = "INVALID_ARGUMENT", "PERMISSION_DENIED"
EXHAUSTED = "RESOURCE_EXHAUSTED"
WAIT = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}
BAD_KEY = {
    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
    "reason": "API_KEY_INVALID",
}
TOO_LONG = (
    "The input token count (1200000) exceeds the maximum number of tokens allowed "
    "(1048576)."
)


@pytest.mark.parametrize(
    ("answer", "kind", "retryable", "fields"),
    [
        (
            refusal(400, INVALID, TOO_LONG),
            "context_overflow",
            False,
            {"observed_tokens": 1_200_000},
        ),
        (refusal(400, INVALID, "Request contains an error"), "format", False, {}),
        (
            refusal(400, INVALID, f"API key not valid: {KEY}", BAD_KEY),
            "auth",
            False,
            {},
        ),
        (refusal(401, "UNAUTHENTICATED", "Invalid credentials"), "auth", False, {}),
        (
            refusal(402, "FAILED_PRECONDITION", "Credits are depleted"),
            "billing",
            False,
            {},
        ),
        (refusal(403, DENIED, "Your API key doesn't have access"), "auth", False, {}),
        (
            refusal(404, "NOT_FOUND", "models/m is not found for API version v1beta"),
            "model_not_found",
            False,
            {},
        ),
        (refusal(408, "CANCELLED", "Timed out"), "timeout", True, {}),
        (
            refusal(413, INVALID, "Request payload too large"),
            "context_overflow",
            False,
            {},
        ),
        (
            refusal(429, EXHAUSTED, "You exceeded your current quota", WAIT),
            "rate_limit",
            True,
            {"retry_after": 34.0},
        ),
        (
            Answer.json({}, status=429, headers={"retry-after": "7"}),
            "rate_limit",
            True,
            {"retry_after": 7.0},
        ),
        (refusal(500, "INTERNAL", "An internal error"), "timeout", True, {}),
        (
            refusal(503, "UNAVAILABLE", "The model is overloaded."),
            "overloaded",
            True,
            {},
        ),
        (refusal(504, "DEADLINE_EXCEEDED", "Too slow"), "timeout", True, {}),
        (Answer(status=529), "overloaded", True, {}),
        (Answer(status=502, chunks=[b"<h1>Bad Gateway</h1>"]), "timeout", True, {}),
        (Answer(status=500, end="reset"), "timeout", True, {}),
        (
            Answer(status=302, headers={"location": f"https://x.example/?key={KEY}"}),
            "format",
            False,
            {},
        ),
    ],
)
async def test_refusals(
    make: Make,
    vendor: FakeVendor,
    caplog: pytest.LogCaptureFixture,
    answer: Answer,
    kind: str,
    retryable: bool,
    fields: dict[str, Any],
) -> None:
    provider = make()
    await check_refusal(provider, vendor, caplog, answer, kind, retryable, fields)


async def test_who_leaves_closes_the_connection(make: Make, vendor: FakeVendor) -> None:
    hanging = stream(chunk({"text": "Hello"}), end="hang")
    await check_leaving(make(idle_timeout_seconds=60), vendor, hanging)
