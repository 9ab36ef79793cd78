"""Whether Google knows the key."""

from __future__ import annotations

import pytest
from rustyclaw import ProviderError
from rustyclaw_http.testing.server import Answer, FakeVendor

from .conftest import KEY, Make, refusal


async def test_probe(make: Make, vendor: FakeVendor) -> None:
    vendor.default = Answer.json({"models": [{"name": "models/gemini-3.8-flash"}]})

    assert await make().probe() == "lists 1 model"

    (asked,) = vendor.requests
    assert (asked.method, asked.target) == ("GET", "/v1beta/models?pageSize=1000")
    assert asked.headers["x-goog-api-key"] == KEY


@pytest.mark.parametrize(
    ("status", "code", "message", "kind"),
    [
        (400, "INVALID_ARGUMENT", "API key not valid. Please pass another.", "auth"),
        (403, "PERMISSION_DENIED", "Generative Language API is disabled", "auth"),
        (429, "RESOURCE_EXHAUSTED", "You exceeded your current quota", "rate_limit"),
    ],
)
async def test_refusals(
    status: int, code: str, message: str, kind: str, make: Make, vendor: FakeVendor
) -> None:
    vendor.default = refusal(status, code, message)

    with pytest.raises(ProviderError, match=f"answered {status}") as failed:
        await make().probe()

    assert failed.value.kind == kind
    assert KEY not in str(failed.value)
