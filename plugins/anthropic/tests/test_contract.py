"""What every provider must keep."""

from __future__ import annotations

import pytest
from rustyclaw import Provider
from rustyclaw.testing import ProviderContract
from rustyclaw_http.testing.backends import on_both as anyio_backend
from rustyclaw_http.testing.hearing import request
from rustyclaw_http.testing.server import FakeVendor

from .conftest import Make, answer, refusal, text

__all__ = ["anyio_backend"]


class TestAnthropic(ProviderContract):
    failing_request = request(model="none")

    @pytest.fixture
    def provider(self, make: Make, vendor: FakeVendor) -> Provider:
        unknown = refusal(404, "not_found_error", "model: none")
        hello = answer(text("Hel", "lo"))
        vendor.default = lambda r: unknown if r.json["model"] == "none" else hello
        return make()
