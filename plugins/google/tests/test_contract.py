"""What every provider must keep."""

from __future__ import annotations

import pytest
from rustyclaw import Provider
from rustyclaw.testing import ProviderContract
from rustyclaw_http.testing.backends import on_both as anyio_backend
from rustyclaw_http.testing.hearing import request
from rustyclaw_http.testing.server import Answer, FakeVendor, Received

from .conftest import Make, answer, refusal

__all__ = ["anyio_backend"]


class TestGoogle(ProviderContract):
    failing_request = request(model="none")

    @pytest.fixture
    def provider(self, make: Make, vendor: FakeVendor) -> Provider:
        unknown = refusal(404, "NOT_FOUND", "models/none is not found for v1beta")
        hello = answer({"text": "Hel"}, {"text": "lo"})
        listed = Answer.json({"models": [{"name": "models/gemini-3.8-flash"}]})

        def answers(received: Received) -> Answer:
            if received.method == "GET":
                return listed
            return unknown if "/none:" in received.target else hello

        vendor.default = answers
        return make()
