"""A small provider of its own kind, so that the library is tested as it is used."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from rustyclaw import Finished, ModelInfo, ModelRequest, StreamEvent, TextDelta
from rustyclaw_http.config import ProviderConfig
from rustyclaw_http.provider import HttpProvider
from rustyclaw_http.testing.server import FakeVendor, vendor

__all__ = ["vendor"]

KEY = "acme-secret-0123456789"


class AcmeProvider(HttpProvider):
    """Streams ``{"text": ...}`` and ends with ``[DONE]``."""

    name = "acme"
    default_model = "acme-1"
    default_base_url = "https://api.acme.example"
    key_variables = ("ACME_API_KEY", "ACME_KEY")
    known_models = (
        ModelInfo(id="acme-1", context_window=64_000, vision=True),
        ModelInfo(id="acme-2", context_window=32_000),
    )

    async def stream(self, request: ModelRequest) -> AsyncIterator[StreamEvent]:
        headers, url = self.auth_headers(), f"{self.base_url}/v1/talk"
        body = {"model": request.model, "text": request.messages[-1].text}
        whole = False
        async with self.client.post_stream(url, body, headers) as events:
            async for event in events:
                if event.data == "[DONE]":
                    whole = True
                    events.wind_down(0.2)
                elif not whole:
                    said = json.loads(event.data)
                    if "error" in said:
                        raise self.client.vendor_error(said)
                    yield TextDelta(text=said["text"])
        if whole:
            yield Finished()


Acme = Callable[..., AcmeProvider]


@pytest.fixture
def acme(vendor: FakeVendor) -> Acme:
    """Return a maker of providers that talk to the fake vendor."""

    def make(**fields: Any) -> AcmeProvider:
        quick = {"idle_timeout_seconds": 1.0, "total_timeout_seconds": 5.0}
        address = {"api_key": KEY, "base_url": vendor.url}
        return AcmeProvider(
            ProviderConfig.model_validate({**quick, **address, **fields})
        )

    return make
