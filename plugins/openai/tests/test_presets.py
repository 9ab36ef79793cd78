"""The vendors: addresses, keys, habits, models, and that only the enabled one costs."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from rustyclaw import Image, Message, ModelRequest, ToolSchema
from rustyclaw_http.testing.hearing import hear, request
from rustyclaw_http.testing.server import Answer, FakeVendor
from rustyclaw_openai.catalogue import infos, openai_efforts
from rustyclaw_openai.presets import (
    AzureOpenAIProvider,
    CompatibleProvider,
    DeepSeekProvider,
    GroqProvider,
    LMStudioProvider,
    MistralProvider,
    OpenAIProvider,
    OpenRouterProvider,
    VLLMProvider,
    XAIProvider,
)
from rustyclaw_openai.provider import OpenAIStyleProvider

from .conftest import KEY, KEY_VARIABLES, Make, chat

PRESETS = {
    point.name: point.load()
    for point in entry_points(group="rustyclaw.providers")
    if point.value.startswith("rustyclaw_openai.")
}
TOOL = ToolSchema(name="f", description="", parameters={"type": "object"})


def test_each_preset_has_its_own_name_and_key() -> None:
    assert len(PRESETS) == 10
    for name, preset in PRESETS.items():
        assert preset.name == name
    assert {key for p in PRESETS.values() for key in p.key_variables} == {
        *KEY_VARIABLES
    }


def test_the_readme_lists_them() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    for name, preset in PRESETS.items():
        address = f"`{preset.default_base_url}`" if preset.default_base_url else "yours"
        assert f"| `{name}` | {address}" in readme
        assert f"| `{preset.key_variables[0]}` |" in readme
        if preset.default_model != "default":
            assert f"| `{preset.default_model}` |" in readme


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
async def test_the_key_of_the_environment(
    preset: type[OpenAIStyleProvider], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in KEY_VARIABLES:
        monkeypatch.setenv(name, f"value-of-{name}")
    headers = preset().auth_headers()
    key = f"value-of-{preset.key_variables[0]}"
    assert key in headers.values() or f"Bearer {key}" in headers.values()


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://x.example", "https://x.example/v1"),
        ("https://x.example/v1/", "https://x.example/v1"),
        ("https://x.example/api", "https://x.example/api/v1"),
        ("https://x.example/v1beta/openai", "https://x.example/v1beta/openai"),
        ("https://x.example/api/paas/v4", "https://x.example/api/paas/v4"),
        ("https://v2.example", "https://v2.example/v1"),
    ],
)
def test_a_version_is_added(given: str, url: str) -> None:
    config = CompatibleProvider.Config(base_url=given)
    assert CompatibleProvider(config).api_url == url


@pytest.mark.parametrize(
    ("preset", "url"),
    [
        (OpenAIProvider, "https://api.openai.com/v1"),
        (OpenRouterProvider, "https://openrouter.ai/api/v1"),
        (GroqProvider, "https://api.groq.com/openai/v1"),
        (MistralProvider, "https://api.mistral.ai/v1"),
        (DeepSeekProvider, "https://api.deepseek.com/v1"),
        (XAIProvider, "https://api.x.ai/v1"),
        (VLLMProvider, "http://localhost:8000/v1"),
        (LMStudioProvider, "http://localhost:1234/v1"),
    ],
)
def test_addresses(preset: type[OpenAIStyleProvider], url: str) -> None:
    assert preset().api_url == url


def test_azure() -> None:
    given = "https://r.openai.azure.com"
    config = AzureOpenAIProvider.Config(base_url=given, api_key=KEY)
    provider = AzureOpenAIProvider(config)
    assert provider.api_url == f"{given}/openai/v1"
    assert provider.auth_headers() == {"api-key": KEY}
    assert provider.max_tokens_name("my-deployment") == "max_completion_tokens"


@pytest.mark.parametrize(
    ("preset", "fields", "responses"),
    [
        (OpenAIProvider, {}, True),
        (OpenAIProvider, {"base_url": "https://api.openai.com/v1"}, True),
        (OpenAIProvider, {"base_url": "https://proxy.example"}, False),
        (OpenAIProvider, {"api": "chat"}, False),
        (OpenRouterProvider, {}, False),
        (XAIProvider, {"api": "responses"}, True),
    ],
)
def test_which_api(
    preset: type[OpenAIStyleProvider], fields: Any, responses: bool
) -> None:
    config = preset.Config.model_validate(fields)
    assert preset(config).speaks_responses == responses


@pytest.mark.parametrize(
    ("preset", "model", "thinking", "fields"),
    [
        (OpenAIProvider, "gpt-4o", "high", {}),
        (OpenAIProvider, "gpt-5", "off", {"reasoning_effort": "minimal"}),
        (OpenRouterProvider, "x/y", "off", {}),
        (OpenRouterProvider, "x/y", "low", {"reasoning": {"effort": "low"}}),
        (GroqProvider, "openai/gpt-oss-120b", "off", {"reasoning_effort": "low"}),
        (
            GroqProvider,
            "qwen/qwen3-32b",
            "high",
            {"reasoning_effort": "default", "reasoning_format": "parsed"},
        ),
        (GroqProvider, "llama-3.3-70b-versatile", "high", {}),
        (MistralProvider, "mistral-medium-latest", "low", {"reasoning_effort": "high"}),
        (MistralProvider, "mistral-medium-latest", "off", {"reasoning_effort": "none"}),
        (MistralProvider, "codestral-latest", "high", {}),
        (DeepSeekProvider, "deepseek-flash", "off", {"thinking": {"type": "disabled"}}),
        (
            DeepSeekProvider,
            "deepseek-flash",
            "medium",
            {"thinking": {"type": "enabled"}, "reasoning_effort": "high"},
        ),
        (
            DeepSeekProvider,
            "deepseek-flash",
            "minimal",
            {"thinking": {"type": "enabled"}, "reasoning_effort": "low"},
        ),
        (XAIProvider, "grok-4.3", "high", {}),
        (XAIProvider, "grok-3-mini", "medium", {"reasoning_effort": "low"}),
        (CompatibleProvider, "any", "off", {}),
        (CompatibleProvider, "any", "xhigh", {"reasoning_effort": "high"}),
    ],
)
def test_thinking(
    preset: type[OpenAIStyleProvider], model: str, thinking: str, fields: Any
) -> None:
    asked = ModelRequest(model=model, system="", messages=(), thinking=thinking)
    assert preset().chat_thinking(asked) == fields


async def test_what_mistral_gets(make: Make, vendor: FakeVendor) -> None:
    vendor.script(chat({"content": "ok"}))
    async with make(MistralProvider) as provider:
        await hear(provider, request(model="mistral-large-latest", tools=(TOOL,)))
    assert set(vendor.requests[0].json) == {
        "model", "messages", "stream", "max_tokens", "tools"
    }  # fmt: skip
    assert provider.transcript_policy.tool_call_ids == "strict9"


@pytest.mark.parametrize(
    ("model", "fields", "sent"),
    [
        ("deepseek-flash", {}, True),
        ("deepseek-v4-pro", {}, False),
        ("heard-of-by-nobody", {}, True),
        ("mine", {"models": [{"id": "mine"}]}, False),
        ("mine", {"models": [{"id": "mine", "vision": True}]}, True),
        ("deepseek-flash", {"models": [{"id": "deepseek-flash"}]}, True),
    ],
)
async def test_who_is_shown_pictures(
    make: Make, vendor: FakeVendor, model: str, fields: Any, sent: bool
) -> None:
    vendor.script(chat({"content": "ok"}))
    picture = Image(data=b"\x89PNG\r\n\x1a\n", media_type="image/png")
    asked = request(model=model, messages=(Message.user("look", picture),))
    async with make(DeepSeekProvider, **fields) as provider:
        await hear(provider, asked)
    (message,) = vendor.requests[0].json["messages"]
    assert isinstance(message["content"], list) == sent


async def test_openrouter_learns_who_asks(make: Make, vendor: FakeVendor) -> None:
    vendor.script(chat({"content": "ok"}))
    async with make(OpenRouterProvider) as provider:
        await hear(provider, request())
    assert vendor.requests[0].headers["x-title"] == "rustyclaw"


# --- Models ---------------------------------------------------------------------

LISTS = {
    "openrouter": (
        {
            "id": "a/b",
            "context_length": 99_000,
            "architecture": {"input_modalities": ["text", "image"]},
            "top_provider": {"max_completion_tokens": 8000, "context_length": 1},
            "supported_parameters": ["tools", "reasoning"],
        },
        (99_000, 8000, True, True),
    ),
    "groq": (
        {"id": "a/b", "context_window": 131_072, "max_completion_tokens": 65_536},
        (131_072, 65_536, False, False),
    ),
    "mistral": (
        {
            "id": "a/b",
            "max_context_length": 32_768,
            "capabilities": {"completion_chat": True, "vision": True},
        },
        (32_768, 4096, True, False),
    ),
    "vllm": ({"id": "a/b", "max_model_len": 8192}, (8192, 4096, False, False)),
    "lmstudio": (
        {
            "id": "a/b",
            "type": "vlm",
            "max_context_length": 131_072,
            "loaded_context_length": 20_000,
        },
        (20_000, 4096, True, False),
    ),
    "llama.cpp": ({"id": "a/b", "meta": {"n_ctx": 4096}}, (4096, 4096, False, False)),
    "broken": (
        {"id": "a/b", "context_length": -1, "meta": 7, "architecture": []},
        (200_000, 4096, False, False),
    ),
}


@pytest.mark.parametrize(("entry", "sizes"), LISTS.values(), ids=LISTS)
def test_lists_of_models(entry: dict[str, Any], sizes: tuple[Any, ...]) -> None:
    (info,) = infos({"data": [entry]})
    found = (info.context_window, info.max_output_tokens, info.vision, info.reasoning)
    assert found == sizes


@pytest.mark.parametrize(
    "answer",
    [
        None,
        7,
        {},
        {"data": "x"},
        {"data": [None, {}, {"id": 7}, {"id": "e", "type": "embeddings"}]},
        {"data": [{"id": "e", "capabilities": {"completion_chat": False}}]},
    ],
)
def test_lists_without_models(answer: Any) -> None:
    assert infos(answer) == []


async def test_discovered_configured_and_known(make: Make, vendor: FakeVendor) -> None:
    vendor.script(
        Answer.json({"data": [{"id": "new", "context_window": 1000}, {"id": "mine"}]})
    )
    fields = {"discover_models": True, "models": [{"id": "mine", "context_window": 5}]}
    async with make(GroqProvider, **fields) as provider:
        found = {info.id: info for info in await provider.models()}
    assert vendor.requests[0].target == "/v1/models"
    assert vendor.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert found["new"].context_window == 1000
    assert found["mine"].context_window == 5
    assert found["llama-3.3-70b-versatile"].context_window == 131_072


async def test_lm_studio_lists_elsewhere(make: Make, vendor: FakeVendor) -> None:
    vendor.script(Answer.json({"data": []}))
    async with make(LMStudioProvider, discover_models=True) as provider:
        await provider.models()
    assert vendor.requests[0].target == "/api/v0/models"


@pytest.mark.parametrize(
    "answer",
    [
        Answer.json({}, status=500),
        Answer.json([]),
        Answer(chunks=[b"x"], headers={"content-type": "application/json"}),
        Answer(end="reset"),
    ],
)
async def test_a_server_that_tells_no_models(
    make: Make, vendor: FakeVendor, answer: Answer
) -> None:
    vendor.default = answer
    async with make(VLLMProvider, discover_models=True) as provider:
        assert [info.id for info in await provider.models()] == ["default"]
        heard = await hear(provider, request(model="default"))
    assert heard.error is not None
    assert heard.error.kind == "model_not_found"
    assert "`providers.vllm.models`" in str(heard.error)


async def test_the_default_is_what_the_server_has(
    make: Make, vendor: FakeVendor
) -> None:
    listed = Answer.json({"data": [{"id": "qwen3", "max_model_len": 32_768}]})
    vendor.script(listed, chat({"content": "ok"}))
    async with make(VLLMProvider, discover_models=True) as provider:
        found = {info.id: info for info in await provider.models()}
        heard = await hear(provider, request(model="default"))
    assert heard.text == "ok"
    assert found["default"].context_window == 32_768
    assert vendor.requests[1].json["model"] == "qwen3"


def test_sizes_of_the_catalogue_are_plausible() -> None:
    for preset in PRESETS.values():
        for info in preset.known_models:
            assert 16_000 <= info.max_output_tokens <= info.context_window


@pytest.mark.parametrize(
    ("model", "levels"),
    [
        ("gpt-5.6-sol", "none low medium high xhigh max"),
        ("openai/gpt-5.4-mini", "none low medium high xhigh"),
        ("gpt-5.1", "none low medium high"),
        ("gpt-5.1-codex-max", "low medium high"),
        ("gpt-5-mini-2025-08-07", "minimal low medium high"),
        ("gpt-5-chat-latest", ""),
        ("gpt-5-pro", "high"),
        ("gpt-5.5-pro", "medium high xhigh"),
        ("o3", "low medium high"),
        ("o4-mini", "low medium high"),
        ("gpt-4o", ""),
        ("omni-1", ""),
    ],
)
def test_efforts(model: str, levels: str) -> None:
    assert " ".join(openai_efforts(model)) == levels


# --- What it costs --------------------------------------------------------------

WEIGHT = """
import rustyclaw.testing
from rustyclaw import Gateway, Provider, ProviderError, Secret, Message, load_config
import anyio, asyncio, pydantic

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

before = resident()
import rustyclaw_openai.presets
print(resident() - before)
"""


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_memory_of_the_import() -> None:
    assert int(run(WEIGHT)) < 12_000_000
