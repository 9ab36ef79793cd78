"""What every provider must keep."""

from __future__ import annotations

import pytest
from rustyclaw import Provider
from rustyclaw.testing import ProviderContract
from rustyclaw_http.testing.backends import on_both as anyio_backend
from rustyclaw_http.testing.hearing import request

from .conftest import Make

__all__ = ["anyio_backend"]


class TestOllama(ProviderContract):
    failing_request = request(model="none")

    @pytest.fixture
    def provider(self, make: Make) -> Provider:
        return make()
