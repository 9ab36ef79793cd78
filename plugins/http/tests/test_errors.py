"""What people read of a failure, how long is to be waited, and what is masked."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, strategies as st
from rustyclaw_http.errors import error_from_answer, masked, retry_after

NOW = 1_790_000_000.0


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"retry-after": "2"}, "", 2.0),
        ({"retry-after": " 1.5 "}, "", 1.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, "", 0.25),
        ({"retry-after": "Mon, 21 Sep 2026 14:14:20 GMT"}, "", 60.0),
        ({"retry-after": "Mon, 21 Sep 2020 14:14:20 GMT"}, "", 0.0),
        ({"retry-after": "999999999"}, "", 86_400.0),
        ({"retry-after": "-1"}, "", None),
        ({"retry-after": "nan"}, "", None),
        ({"retry-after": "inf"}, "", None),
        ({"retry-after": "soon"}, "", None),
        ({"retry-after": "Wed, 99 Foo 2026"}, "", None),
        ({"retry-after": ""}, "", None),
        (
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "1m26.4s",
            },
            "",
            86.4,
        ),
        (
            {"x-ratelimit-remaining-tokens": "7", "x-ratelimit-reset-tokens": "9s"},
            "",
            None,
        ),
        (
            {
                "anthropic-ratelimit-tokens-remaining": "0",
                "anthropic-ratelimit-tokens-reset": "2026-09-21T14:14:20Z",
            },
            "",
            60.0,
        ),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1790000005000"}, "", 5.0),
        ({}, "Please try again in 1m26.4s. Visit", 86.4),
        ({}, "Please try again in 800ms.", 0.8),
        ({}, "Please retry after 20 seconds.", 20.0),
        ({}, '{"details": [{"retryDelay": "34.5s"}]}', 34.5),
        ({}, "Please retry in 12.3s.", 12.3),
        ({}, "nothing of that kind", None),
    ],
)
def test_retry_after(headers: dict[str, str], body: str, seconds: float | None) -> None:
    found = retry_after(headers, body, now=NOW)
    assert found == (seconds if seconds is None else pytest.approx(seconds))


@given(st.text(), st.text())
def test_retry_after_is_never_nonsense(header: str, body: str) -> None:
    seconds = retry_after({"retry-after": header}, body, now=time.time())
    assert seconds is None or 0 <= seconds <= 86_400


def test_what_people_read() -> None:
    error = error_from_answer(
        "openai",
        status=429,
        body=b'{"error": {"message": "Rate limit reached.", "type": "requests"}}',
        headers={"x-request-id": "req_1", "retry-after": "7"},
    )
    assert str(error) == (
        "provider 'openai' answered 429: Rate limit reached (request id req_1)"
    )
    assert (error.provider, error.status, error.retry_after) == ("openai", 429, 7.0)
    assert error.retryable


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (401, "check `providers.acme.api_key`"),
        (402, "top up the account, or use another provider"),
    ],
)
def test_a_remedy(status: int, remedy: str) -> None:
    text = str(error_from_answer("acme", status=status, body=b""))
    assert text == f"provider 'acme' answered {status}; {remedy}"


def test_an_overflow_is_not_waited_for() -> None:
    text = "prompt is too long: 5 tokens > 4 maximum; try again in 5s"
    error = error_from_answer("acme", status=400, body=text)
    assert (error.kind, error.observed_tokens) == ("context_overflow", 5)
    assert error.retry_after is None


@pytest.mark.parametrize(
    "text",
    [
        "key sk-proj-abcdefghijklmnop is wrong",
        "https://x/?key=AIzaSyABCDEFGHIJKLMNOPQRSTUVWXYZ0123456",
        "https://x/?a=b&key=plainvalue",
        "Authorization: Bearer abc.def-ghi",
        "gsk_abcdefghijkl",
        "xai-abcdefghijkl",
        "sk-ant-api03-abcdefghijkl",
        "token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0",
        "my-own-secret",
    ],
)
def test_keys_are_masked(text: str) -> None:
    found = masked(text, ["my-own-secret"])
    assert "***" in found
    words = ("abcdef", "AIza", "plainvalue", "abc.def", "eyJ", "my-own")
    assert not any(word in found for word in words)


def test_harmless_text_stays() -> None:
    text = "ask the task-force whether risk-averse monkeys disk-jockey"
    assert masked(text) == text


def test_control_characters_do_not_reach_a_log() -> None:
    error = error_from_answer("acme", status=400, body="a\x1b[31m\nb\x00c\u202ed")
    assert str(error).isprintable()


def test_a_long_body_is_cut() -> None:
    assert len(str(error_from_answer("acme", status=400, body="x" * 10**6))) < 800


def test_html_becomes_text() -> None:
    body = "<html><style>a{}</style><h1>502 Bad Gateway</h1><p>nginx</html>"
    text = str(error_from_answer("acme", status=502, body=body))
    assert text == "provider 'acme' answered 502: 502 Bad Gateway nginx"


FIELDS = ("error", "message", "code", "status", "details", "metadata", "raw", "detail")


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=20),
        lambda x: st.lists(x, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), x),
        max_leaves=10,
    )
)
def test_every_body_is_an_error(body: Any) -> None:
    error = error_from_answer("acme", status=400, body=json.dumps(body))
    assert str(error).startswith("provider 'acme' answered")
