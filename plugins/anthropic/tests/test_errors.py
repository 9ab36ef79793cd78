"""What Anthropic refuses, and how: each shape of "Errors" in the API reference."""

from __future__ import annotations

from typing import Any

import pytest
from rustyclaw_http.testing.hearing import hear, request
from rustyclaw_http.testing.refusing import ON_THE_WAY, check_leaving, check_refusal
from rustyclaw_http.testing.server import Answer, FakeVendor

from .conftest import KEY, Make, refusal, start, stream, text

INVALID, AUTH = "invalid_request_error", "authentication_error"


@pytest.mark.parametrize(
    ("answer", "kind", "retryable", "fields"),
    [
        (
            refusal(400, INVALID, "prompt is too long: 210,348 tokens > 200000"),
            "context_overflow",
            False,
            {"observed_tokens": 210_348},
        ),
        (
            refusal(400, INVALID, "input length and `max_tokens` exceed context limit"),
            "context_overflow",
            False,
            {},
        ),
        (refusal(400, INVALID, "max_tokens: Field required"), "format", False, {}),
        (
            refusal(400, INVALID, "Your credit balance is too low to access the API."),
            "billing",
            False,
            {},
        ),
        (
            refusal(400, INVALID, "messages.1.content.0: Invalid `signature` in `thin"),
            "format",
            False,
            {},
        ),
        (refusal(401, AUTH, f"invalid x-api-key {KEY}"), "auth", False, {}),
        (refusal(402, "billing_error", "There is an issue"), "billing", False, {}),
        (refusal(403, "permission_error", "No."), "auth_permanent", False, {}),
        (refusal(404, "not_found_error", "model: x"), "model_not_found", False, {}),
        (refusal(408, "timeout_error", "Request timed out"), "timeout", True, {}),
        (
            refusal(413, "request_too_large", "Request exceeds the maximum size"),
            "context_overflow",
            False,
            {},
        ),
        (
            refusal(429, "rate_limit_error", "Too many", retry_after="7"),
            "rate_limit",
            True,
            {"retry_after": 7.0},
        ),
        (
            refusal(
                429,
                "rate_limit_error",
                "Number of request tokens has exceeded your per-minute rate limit",
                anthropic_ratelimit_tokens_remaining="0",
                anthropic_ratelimit_tokens_reset="2020-01-01T00:00:00Z",
            ),
            "rate_limit",
            True,
            {"retry_after": 0.0},
        ),
        (refusal(500, "api_error", "Internal server error"), "timeout", True, {}),
        (refusal(504, "timeout_error", "Timed out"), "timeout", True, {}),
        (refusal(529, "overloaded_error", "Overloaded"), "overloaded", True, {}),
        (Answer(status=529), "overloaded", True, {}),
        *ON_THE_WAY,
    ],
)  # fmt: skip
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


async def test_nobody_is_there(make: Make) -> None:
    async with make(base_url="http://127.0.0.1:1") as provider:
        heard = await hear(provider, request())
    assert heard.error is not None
    assert (heard.error.kind, heard.error.retryable) == ("timeout", True)


async def test_who_leaves_closes_the_connection(make: Make, vendor: FakeVendor) -> None:
    hanging = stream(start(), *text("Hello")[:2], end="hang")
    await check_leaving(make(idle_timeout_seconds=60), vendor, hanging)
