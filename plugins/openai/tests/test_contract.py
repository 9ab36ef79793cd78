"""Both APIs keep what every provider must keep."""

from __future__ import annotations

import pytest
from rustyclaw import Provider
from rustyclaw.testing import ProviderContract
from rustyclaw_http.testing.backends import on_both as anyio_backend
from rustyclaw_http.testing.hearing import request
from rustyclaw_http.testing.server import Answer, FakeVendor
from rustyclaw_openai.presets import CompatibleProvider, MistralProvider

from .conftest import Make, chat, responses, text_item

__all__ = ["anyio_backend"]

REFUSAL = Answer.json(
    {
        "error": {
            "message": "The model `none` does not exist",
            "code": "model_not_found",
        }
    },
    status=404,
)
HELLO = chat(
    {"role": "assistant", "content": ""}, {"content": "Hel"}, {"content": "lo"}
)


class TestChat(ProviderContract):
    failing_request = request(model="none")

    @pytest.fixture
    def provider(self, make: Make, vendor: FakeVendor) -> Provider:
        vendor.default = lambda r: REFUSAL if r.json["model"] == "none" else HELLO
        return make()


class TestResponses(ProviderContract):
    failing_request = request(model="none")

    @pytest.fixture
    def provider(self, make: Make, vendor: FakeVendor) -> Provider:
        hello = responses(*text_item("Hel", "lo"))
        vendor.default = lambda r: REFUSAL if r.json["model"] == "none" else hello
        return make(api="responses")


class TestMistral(ProviderContract):
    @pytest.fixture
    def provider(self, make: Make, vendor: FakeVendor) -> Provider:
        vendor.default = HELLO
        return make(MistralProvider)


class TestAnyServer(ProviderContract):
    """The model ``default`` is the one that the server has."""

    @pytest.fixture
    def provider(self, make: Make, vendor: FakeVendor) -> Provider:
        listed = Answer.json({"data": [{"id": "qwen3", "max_model_len": 32_768}]})
        vendor.default = lambda r: listed if r.method == "GET" else HELLO
        return make(CompatibleProvider, discover_models=True)
