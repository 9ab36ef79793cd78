"""What a refusal of a vendor must become, and who leaves in the middle."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from rustyclaw_http.provider import HttpProvider
from rustyclaw_http.testing.hearing import hear, request
from rustyclaw_http.testing.server import Answer, FakeVendor

Make = Callable[..., HttpProvider]
#: Answers of what stands before a vendor; every provider must take them like this.
ON_THE_WAY: list[tuple[Answer, str, bool, dict[str, Any]]] = [
    (Answer(status=502, chunks=[b"<h1>Bad Gateway</h1>"]), "timeout", True, {}),
    (Answer(status=500, end="reset"), "timeout", True, {}),
    (
        Answer(status=307, headers={"location": "https://elsewhere.example"}),
        "format",
        False,
        {},
    ),
]


async def check_refusal(
    provider: HttpProvider,
    vendor: FakeVendor,
    caplog: pytest.LogCaptureFixture,
    answer: Answer,
    kind: str,
    retryable: bool,
    fields: dict[str, Any],
) -> None:
    """Check what becomes of an answer that refuses a request.

    :param fields: Of the error, and their values.
    """
    vendor.script(answer)
    with caplog.at_level(logging.INFO):
        async with provider:
            secret = provider.required_key()
            heard = await hear(provider, request())

    error = heard.error
    assert error is not None
    assert (error.kind, error.retryable) == (kind, retryable), error
    assert error.status == answer.status
    assert {name: getattr(error, name) for name in fields} == fields
    assert secret
    assert secret not in str(error) + repr(provider.config) + caplog.text
    if {"request-id", "x-request-id"} & set(answer.headers):
        assert "(request id req_7)" in str(error)


async def check_leaving(
    provider: HttpProvider, vendor: FakeVendor, answer: Answer
) -> None:
    """Check that who leaves an answer that hangs closes the connection."""
    vendor.script(answer)
    async with provider:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hear, provider, request())
            received = await vendor.arrived()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(5):
            await received.left.wait()


async def check_no_list(
    provider: HttpProvider, vendor: FakeVendor, answer: Answer
) -> None:
    """Check that an answer that lists no models leaves those that are known."""
    vendor.script(answer)
    async with provider:
        found = {model.id for model in await provider.models()}
    assert len(vendor.requests) == 1
    assert found == {model.id for model in provider.known_models}
