"""What every provider must keep."""

from __future__ import annotations

import pytest
from rustyclaw import Provider
from rustyclaw.testing import ProviderContract
from rustyclaw_http.testing.backends import on_both as anyio_backend
from rustyclaw_http.testing.hearing import request
from rustyclaw_http.testing.server import Answer, FakeVendor, Received

from .conftest import Make, answer, refusal, text

__all__ = ["anyio_backend"]


class TestAnthropic(ProviderContract):
    failing_request = request(model="none")

    @pytest.fixture
    def provider(self, make: Make, vendor: FakeVendor) -> Provider:
        unknown = refusal(404, "not_found_error", "model: none")
        hello = answer(text("Hel", "lo"))
        listed = Answer.json({"data": [{"type": "model", "id": "claude-sonnet-5-5"}]})

        def answers(received: Received) -> Answer:
            if received.method == "GET":
                return listed
            return unknown if received.json["model"] == "none" else hello

        vendor.default = answers
        return make()
