"""What every provider must keep."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rustyclaw import (
    Model,
    ModelInfo,
    ModelRequest,
    Provider,
    ProviderError,
    ProviderHost,
)
from rustyclaw.testing import FakeProvider, ProviderContract
from rustyclaw_failover.config import FailoverConfig
from rustyclaw_failover.provider import FailoverProvider


class TestFailover(ProviderContract):
    failing_request = ModelRequest(model="none", system="", messages=())

    @pytest.fixture
    def provider(self, tmp_path: Path) -> Provider:
        class Hosted(FailoverProvider):
            """Lent what a gateway would lend it."""

            host = ProviderHost(
                folder=tmp_path / "failover", open_model=lend, announce=ignore
            )

        fields = {"models": ["down/fake", "up/fake"]}
        return Hosted(FailoverConfig.model_validate(fields))


async def lend(spec: str, profile: str, settings: Mapping[str, Any]) -> Model:
    down = ProviderError("overloaded", kind="overloaded")
    inner = FakeProvider(default=down) if spec == "down/fake" else FakeProvider()
    name, _, model = spec.partition("/")
    info = ModelInfo(id=model)
    return Model(provider_name=name, provider=inner, info=info, window=200_000)


def ignore(name: str, payload: Mapping[str, Any]) -> None:
    """Take an announcement."""
