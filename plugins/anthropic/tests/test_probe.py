"""Whether Anthropic knows the key."""

from __future__ import annotations

import pytest
from rustyclaw import ProviderError
from rustyclaw_http.testing.server import Answer, FakeVendor

from .conftest import KEY, Make, refusal


async def test_probe(make: Make, vendor: FakeVendor) -> None:
    vendor.default = Answer.json({"data": [{"type": "model", "id": "claude-opus-5"}]})

    assert await make().probe() == "lists 1 model"

    (asked,) = vendor.requests
    assert (asked.method, asked.target) == ("GET", "/v1/models?limit=1000")
    assert asked.headers["x-api-key"] == KEY
    assert asked.headers["anthropic-version"] == "2023-06-01"


@pytest.mark.parametrize(
    ("status", "type", "message", "kind"),
    [
        (401, "authentication_error", "invalid x-api-key", "auth"),
        (403, "permission_error", "Your key may not do that", "auth_permanent"),
        (529, "overloaded_error", "Overloaded", "overloaded"),
    ],
)
async def test_refusals(
    status: int, type: str, message: str, kind: str, make: Make, vendor: FakeVendor
) -> None:
    vendor.default = refusal(status, type, message)

    with pytest.raises(ProviderError, match=f"answered {status}") as failed:
        await make().probe()

    assert failed.value.kind == kind
    assert KEY not in str(failed.value)
