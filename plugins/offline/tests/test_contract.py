"""The provider keeps what every provider must keep."""

from __future__ import annotations

from pathlib import Path

import pytest
from rustyclaw import Message, ModelRequest, Provider
from rustyclaw.testing import ProviderContract
from rustyclaw_offline.config import OfflineConfig
from rustyclaw_offline.provider import OfflineProvider

UNKNOWN_MODEL = ModelRequest(model="gpt-5", system="", messages=(Message.user("hi"),))


class TestAssistant(ProviderContract):
    failing_request = UNKNOWN_MODEL

    @pytest.fixture
    def provider(self) -> Provider:
        return OfflineProvider()


class TestSlowAssistant(ProviderContract):
    """With pauses there are awaits in the stream to be cancelled."""

    failing_request = UNKNOWN_MODEL

    @pytest.fixture
    def provider(self) -> Provider:
        return OfflineProvider(OfflineConfig(delay_ms=5))


class TestScript(ProviderContract):
    failing_request = UNKNOWN_MODEL

    @pytest.fixture
    def provider(self, tmp_path: Path) -> Provider:
        path = tmp_path / "demo.yaml"
        path.write_text("- when: .\n  steps:\n  - say: Hello there.\n")

        class ScriptedProvider(OfflineProvider):
            default_model = "script"

        return ScriptedProvider(OfflineConfig(script=path))
