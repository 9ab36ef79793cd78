"""Rows of ``sse_streams.jsonl``: played against a provider, and graded.

A row says what a vendor sends (`answer_of`) and what must come of it (`grade`). Its
names for failures are mapped to kinds of `rustyclaw.ProviderError` in `KINDS`.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rustyclaw_http.testing.hearing import Hearing
from rustyclaw_http.testing.server import Answer

#: Error of the corpus -> kinds that say the same.
KINDS: dict[str, set[str]] = {
    "auth": {"auth", "auth_permanent"},
    "bad_content_type": {"timeout"},
    "billing": {"billing"},
    "invalid_request": {"format"},
    "malformed_tool_call": {"timeout"},
    "not_found": {"format", "model_not_found", "unknown"},
    "overloaded": {"overloaded"},
    "permission": {"auth", "auth_permanent"},
    "rate_limit": {"rate_limit"},
    "redirect_refused": {"format"},
    "response_too_large": {"format"},
    "server_error": {"overloaded", "timeout"},
    "stream_truncated": {"timeout"},
    "timeout": {"timeout"},
    "too_large": {"context_overflow", "format"},
}
#: Stop reason of a vendor -> those of `rustyclaw.Finished`.
STOPS = {
    "end_turn": {"stop"},
    "max_tokens": {"length"},
    "tool_use": {"tool_calls"},
    "SAFETY": {"refusal", "error"},
}
_PIECE = 64 * 1024


def rows(path: Path, *providers: str) -> list[dict[str, Any]]:
    """Return the rows of a file that are about these vendors; without names all."""
    lines = path.read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    return [row for row in found if not providers or row["provider"] in providers]


def answer_of(row: Mapping[str, Any]) -> Answer:
    """Return what the vendor of a row sends."""
    return Answer(
        status=row["http_status"],
        headers=row["http_headers"],
        chunks=_chunks(row["chunks"]),
        end=row["end"],
    )


def patience(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the settings of a provider that need not wait long for a row.

    Only the end of patience ends an answer that goes on for ever.
    """
    endless = any("repeat_b64" in c and "count" not in c for c in row["chunks"])
    return {"total_timeout_seconds": 0.5} if endless else {}


def _chunks(chunks: list[dict[str, Any]]) -> Iterator[bytes | float]:
    for chunk in chunks:
        if "b64" in chunk:
            yield b64decode(chunk["b64"])
        elif "repeat_b64" in chunk:
            piece, count = b64decode(chunk["repeat_b64"]), chunk.get("count", 10**9)
            for _ in range(count):
                yield piece
                if pause := chunk.get("every_ms"):
                    yield pause / 1000
        elif chunk.get("generate") == "no_newline":
            for _ in range(chunk["bytes"] // _PIECE):
                yield b"x" * _PIECE
        else:
            raise ValueError(f"unknown chunk of a corpus row: {chunk!r}")


def grade(row: Mapping[str, Any], heard: Hearing) -> None:
    """Check what came of a row; what happens to tool calls later is not seen here."""
    expect, error = row["expect"], heard.error
    outcome = expect["outcome"]
    if outcome == "ok":
        assert error is None, f"{row['why']}: {error!r}"
    elif outcome == "error":
        assert error is not None, row["why"]
    if error is None:
        _grade_answer(expect, heard)
    if error is not None and outcome == "error":
        kinds = KINDS.get(expect["error_kind"])
        assert kinds is None or error.kind in kinds, (error.kind, str(error))
        if "retryable" in expect:
            assert error.retryable == expect["retryable"], error.kind
        assert error.retry_after is None or 0 <= error.retry_after <= 86_400
    if "partial_text" in expect:
        assert heard.text == expect["partial_text"]
    for secret in expect.get("must_not_contain", ()):
        assert secret not in str(error)
        assert secret not in heard.text


def _grade_answer(expect: Mapping[str, Any], heard: Hearing) -> None:
    for key in ("text", "text_if_ok"):
        if key in expect:
            assert heard.text == expect[key]
    if "tool_calls" in expect:
        found = [
            {"id": c.id, "name": c.name, "arguments": c.arguments} for c in heard.calls
        ]
        wanted = expect["tool_calls"]
        assert len(found) == len(wanted)
        for call, fields in zip(found, wanted, strict=True):
            assert {key: call[key] for key in fields} == fields
    if "tool_names_if_ok" in expect:
        assert [call.name for call in heard.calls] == expect["tool_names_if_ok"]
    if reason := expect.get("stop_reason"):
        assert heard.finished.stop_reason in STOPS.get(reason, {reason})
