"""Both APIs keep what every provider must keep."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rustyclaw import Provider
from rustyclaw.testing import ProviderContract
from rustyclaw_http.testing.backends import on_both as anyio_backend
from rustyclaw_http.testing.hearing import request
from rustyclaw_http.testing.server import Answer, FakeVendor, Received
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
LISTED = Answer.json({"object": "list", "data": [{"id": "gpt-5.6"}]})
HELLO = chat(
    {"role": "assistant", "content": ""}, {"content": "Hel"}, {"content": "lo"}
)


def answering(hello: Answer) -> Callable[[Received], Answer]:
    """Return a vendor that knows all models but one."""

    def answer(received: Received) -> Answer:
        if received.method == "GET":
            return LISTED
        return REFUSAL if received.json["model"] == "none" else hello

    return answer


class TestChat(ProviderContract):
    failing_request = request(model="none")

    @pytest.fixture
    def provider(self, make: Make, vendor: FakeVendor) -> Provider:
        vendor.default = answering(HELLO)
        return make()


class TestResponses(ProviderContract):
    failing_request = request(model="none")

    @pytest.fixture
    def provider(self, make: Make, vendor: FakeVendor) -> Provider:
        vendor.default = answering(responses(*text_item("Hel", "lo")))
        return make(api="responses")


class TestMistral(ProviderContract):
    @pytest.fixture
    def provider(self, make: Make, vendor: FakeVendor) -> Provider:
        vendor.default = answering(HELLO)
        return make(MistralProvider)


class TestAnyServer(ProviderContract):
    """The model ``default`` is the one that the server has."""

    @pytest.fixture
    def provider(self, make: Make, vendor: FakeVendor) -> Provider:
        listed = Answer.json({"data": [{"id": "qwen3", "max_model_len": 32_768}]})
        vendor.default = lambda r: listed if r.method == "GET" else HELLO
        return make(CompatibleProvider, discover_models=True)
