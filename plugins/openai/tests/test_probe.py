"""Where each vendor tells whether a key is valid."""

from __future__ import annotations

from typing import Any

import pytest
from rustyclaw import ProviderError
from rustyclaw_http.testing.server import Answer, FakeVendor
from rustyclaw_openai.presets import OpenAIProvider, OpenRouterProvider

from .conftest import KEY, Make
from .test_presets import PRESETS

LISTED = Answer.json({"object": "list", "data": [{"id": "m"}, {"id": "n"}]})
#: The list of OpenRouter is for everybody, and that of LM Studio with sizes elsewhere.
PATHS = {"openrouter": "/v1/key", "lmstudio": "/api/v0/models"}
PATHS["azure_openai"] = "/openai/v1/models"


@pytest.mark.parametrize("name", PRESETS)
async def test_address(name: str, make: Make, vendor: FakeVendor) -> None:
    vendor.default = LISTED

    assert await make(PRESETS[name]).probe() == "lists 2 models"

    (asked,) = vendor.requests
    assert asked.method == "GET"
    assert asked.target == PATHS.get(name, "/v1/models")
    header = "api-key" if name == "azure_openai" else "authorization"
    assert asked.headers[header].endswith(KEY)


@pytest.mark.parametrize("name", PRESETS)
async def test_wrong_key(name: str, make: Make, vendor: FakeVendor) -> None:
    said = {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}
    vendor.default = Answer.json({"error": said}, status=401)

    with pytest.raises(ProviderError, match=f"check `providers.{name}.api_key`") as got:
        await make(PRESETS[name]).probe()

    assert got.value.kind == "auth"
    assert KEY not in str(got.value)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"label": "sk-or-v1-abc", "limit": None, "usage": 3}, "knows the key"),
        (
            {"limit": 10, "limit_remaining": 2.345},
            "knows the key, which may cost 2.35 USD more",
        ),
    ],
)
async def test_openrouter_key(
    facts: dict[str, Any], said: str, make: Make, vendor: FakeVendor
) -> None:
    vendor.default = Answer.json({"data": facts})

    assert await make(OpenRouterProvider).probe() == said


async def test_openrouter_key_is_spent(make: Make, vendor: FakeVendor) -> None:
    vendor.default = Answer.json({"data": {"limit": 10, "limit_remaining": 0}})

    with pytest.raises(ProviderError, match="limit is spent") as failed:
        await make(OpenRouterProvider).probe()

    assert failed.value.kind == "billing"


@pytest.mark.parametrize(
    ("message", "works"),
    [
        (
            "You have insufficient permissions for this operation. Missing scopes: "
            "api.model.read.",
            True,
        ),
        ("You have insufficient permissions for this operation.", False),
    ],
)
async def test_restricted_key_of_openai(
    message: str, works: bool, make: Make, vendor: FakeVendor
) -> None:
    status = 401 if works else 403
    vendor.default = Answer.json({"error": {"message": message}}, status=status)
    provider = make(OpenAIProvider)

    if works:
        assert await provider.probe() == "knows the key, which may not list models"
    else:
        with pytest.raises(ProviderError, match="answered 403"):
            await provider.probe()


async def test_server_without_models(make: Make, vendor: FakeVendor) -> None:
    vendor.default = Answer.json({"object": "list", "data": []})

    with pytest.raises(ProviderError, match="has no model for you") as failed:
        await make(PRESETS["vllm"]).probe()

    assert failed.value.kind == "model_not_found"


async def test_known_models_that_the_key_may_not_use_are_left_out(
    make: Make, vendor: FakeVendor
) -> None:
    listed = [{"id": "gpt-5-mini"}, {"id": "whisper-1"}]
    vendor.default = Answer.json({"data": listed})
    provider = make(OpenAIProvider, models=[{"id": "mine"}])
    before = {info.id for info in await provider.models()}

    await provider.probe()

    assert {"gpt-5.6", "gpt-5-mini", "gpt-4o", "mine"} <= before
    after = [info.id for info in await provider.models()]
    assert sorted(after) == ["gpt-5-mini", "gpt-5.6", "mine"]
