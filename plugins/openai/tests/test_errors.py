"""What OpenAI refuses, and how: each shape of its error guide, on both APIs."""

from __future__ import annotations

from typing import Any

import pytest
from rustyclaw_http.testing.refusing import ON_THE_WAY, check_refusal
from rustyclaw_http.testing.server import Answer, FakeVendor

from .conftest import KEY, Make


def refusal(
    status: int, message: str, code: str | None = None, **headers: str
) -> Answer:
    error = {"message": message, "type": "invalid_request_error", "code": code}
    head = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer.json(
        {"error": {**error, "param": None}},
        status=status,
        headers={"x-request-id": "req_7", **head},
    )


TOO_LONG = (
    "This model's maximum context length is 128000 tokens. However, your messages "
    "resulted in 130112 tokens."
)


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize(
    ("answer", "kind", "retryable", "fields"),
    [
        (
            refusal(400, TOO_LONG, "context_length_exceeded"),
            "context_overflow",
            False,
            {"observed_tokens": 130_112},
        ),
        (refusal(400, "Unknown parameter: 'x'."), "format", False, {}),
        (refusal(401, f"Incorrect API key provided: {KEY}"), "auth", False, {}),
        (refusal(402, "Payment required"), "billing", False, {}),
        (refusal(403, "Country not supported"), "auth", False, {}),
        (
            refusal(404, "The model `m` does not exist", "model_not_found"),
            "model_not_found",
            False,
            {},
        ),
        (refusal(408, "Request timed out"), "timeout", True, {}),
        (refusal(413, "Request too large"), "context_overflow", False, {}),
        (
            refusal(429, "You exceeded your current quota", "insufficient_quota"),
            "billing",
            False,
            {},
        ),
        (
            refusal(429, "Rate limit reached", "rate_limit_exceeded", retry_after="7"),
            "rate_limit",
            True,
            {"retry_after": 7.0},
        ),
        (
            refusal(429, "Rate limit reached. Please try again in 1.5s."),
            "rate_limit",
            True,
            {"retry_after": 1.5},
        ),
        (refusal(500, "The server had an error"), "timeout", True, {}),
        (refusal(503, "The engine is currently overloaded"), "overloaded", True, {}),
        *ON_THE_WAY,
    ],
)  # fmt: skip
async def test_refusals(
    make: Make,
    vendor: FakeVendor,
    api: Any,
    caplog: pytest.LogCaptureFixture,
    answer: Answer,
    kind: str,
    retryable: bool,
    fields: dict[str, Any],
) -> None:
    provider = make(api=api)
    await check_refusal(provider, vendor, caplog, answer, kind, retryable, fields)
