"""What every provider must keep."""

from __future__ import annotations

import pytest
from rustyclaw import Provider
from rustyclaw.testing import ProviderContract
from rustyclaw_http.testing.hearing import request

from .conftest import Make


class TestOllama(ProviderContract):
    failing_request = request(model="none")

    @pytest.fixture
    def provider(self, make: Make) -> Provider:
        return make()
