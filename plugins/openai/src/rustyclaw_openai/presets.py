"""The vendors: where they are, what they are called, and how they differ.

Each class is an entry point of ``rustyclaw.providers``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from rustyclaw import ModelRequest, ProviderError, TranscriptPolicy
from rustyclaw_http.levels import nearest

from rustyclaw_openai import catalogue
from rustyclaw_openai.catalogue import openai_efforts
from rustyclaw_openai.provider import DEFAULT, OpenAIStyleProvider


class _OpenAIModels(OpenAIStyleProvider):
    """What OpenAI's models want, wherever they are served."""

    reads_pdf = True

    def efforts(self, model: str) -> Sequence[str]:
        """Return the levels that are documented for a model."""
        return openai_efforts(model)

    def takes_temperature(self, model: str) -> bool:
        """Return whether a model is none of those that think: they refuse it."""
        return not openai_efforts(model)

    def chat_thinking(self, request: ModelRequest) -> Mapping[str, Any]:
        """Return the effort, and the name of the limit that goes with it.

        Chat Completions refuses tools together with thinking from GPT-5.2 on, even
        if no effort is given; only ``none`` is accepted there.
        """
        levels = openai_efforts(request.model)
        if not levels:
            return {}
        if request.tools and "none" in levels:
            return {"reasoning_effort": "none"}
        return {"reasoning_effort": nearest(request.thinking, levels)}

    def max_tokens_name(self, model: str) -> str:
        """Return the new name for models that think; other servers know the old one."""
        thinks = openai_efforts(model) or self.info(model).reasoning
        return "max_completion_tokens" if thinks else "max_tokens"


class OpenAIProvider(_OpenAIModels):
    """OpenAI itself; with another `base_url` Chat Completions is spoken."""

    name = "openai"
    default_model = "gpt-5.6"
    default_base_url = "https://api.openai.com"
    key_variables = ("OPENAI_API_KEY",)
    known_models = catalogue.OPENAI
    prefers_responses = True

    async def probe(self) -> str:
        """As all do; a key that may only talk is well, too.

        :raises ProviderError: As `HttpProvider.probe`.
        """
        try:
            return await super().probe()
        except ProviderError as exc:
            if "api.model.read" not in str(exc):
                raise
            return "knows the key, which may not list models"


class AzureOpenAIProvider(_OpenAIModels):
    """OpenAI's models at Azure, by its ``v1`` API; models are deployments.

    `base_url` is ``https://RESOURCE.openai.azure.com``.
    """

    name = "azure_openai"
    default_model = DEFAULT
    key_variables = ("AZURE_OPENAI_API_KEY",)

    @property
    def api_url(self) -> str:
        """The address with ``/openai/v1``, unless it has a path already."""
        url = self.base_url
        return url if urlsplit(url).path.strip("/") else f"{url}/openai/v1"

    def max_tokens_name(self, model: str) -> str:
        """Return the new name: what a deployment is called says nothing about it."""
        return "max_completion_tokens"

    def auth_headers(self) -> Mapping[str, str]:
        """Return the key in the header that Azure reads."""
        key = self.required_key()
        return {} if key is None else {"api-key": key}


class OpenRouterProvider(OpenAIStyleProvider):
    """A router to the models of many vendors."""

    name = "openrouter"
    default_model = "openrouter/auto"
    default_base_url = "https://openrouter.ai/api"
    key_variables = ("OPENROUTER_API_KEY",)
    known_models = catalogue.OPENROUTER
    models_path = "/models"
    replay = "reasoning_details"
    reads_pdf = True

    def auth_headers(self) -> Mapping[str, str]:
        """Return the key, and who we are for the router's statistics."""
        return {**super().auth_headers(), "x-title": "rustyclaw"}

    @property
    def probe_url(self) -> str:
        """What is known about the key: the list of models is for everybody."""
        return f"{self.api_url}/key"

    def judged(self, answer: Any) -> str:
        """Return what the key may still cost.

        :raises ProviderError: There is nothing about a key.
        """
        facts = answer.get("data") if isinstance(answer, Mapping) else None
        if not isinstance(facts, Mapping):
            return super().judged(answer)
        left = facts.get("limit_remaining")
        if not isinstance(left, int | float):
            return "knows the key"
        if left <= 0:
            text = "knows the key, whose limit is spent; raise it, or take another key"
            raise self.error(text, kind="billing")
        return f"knows the key, which may cost {left:.2f} USD more"

    def chat_thinking(self, request: ModelRequest) -> Mapping[str, Any]:
        """Return the router's own field; ``off`` leaves it to the model."""
        if request.thinking == "off":
            return {}  # models that always think refuse to be told not to
        levels = ("minimal", "low", "medium", "high", "xhigh")
        return {"reasoning": {"effort": nearest(request.thinking, levels)}}


class GroqProvider(OpenAIStyleProvider):
    """Open models on fast machines."""

    name = "groq"
    default_model = "openai/gpt-oss-120b"
    default_base_url = "https://api.groq.com/openai"
    key_variables = ("GROQ_API_KEY",)
    known_models = catalogue.GROQ
    models_path = "/models"

    def chat_thinking(self, request: ModelRequest) -> Mapping[str, Any]:
        """Return what each family takes; others refuse to be asked."""
        if "gpt-oss" in request.model:
            levels = ("low", "medium", "high")
            return {"reasoning_effort": nearest(request.thinking, levels)}
        if "qwen" in request.model:
            level = "none" if request.thinking == "off" else "default"
            return {"reasoning_effort": level, "reasoning_format": "parsed"}
        return {}


class MistralProvider(OpenAIStyleProvider):
    """Mistral: ids of nine characters, no user directly after a tool."""

    name = "mistral"
    default_model = "mistral-medium-latest"
    default_base_url = "https://api.mistral.ai"
    key_variables = ("MISTRAL_API_KEY",)
    known_models = catalogue.MISTRAL
    models_path = "/models"
    asks_for_usage = False
    bridges = True
    transcript_policy = TranscriptPolicy(tool_call_ids="strict9")

    def chat_thinking(self, request: ModelRequest) -> Mapping[str, Any]:
        """Return the effort for the families that know one: all or nothing."""
        if not re.match(r"mistral-(small|medium)-(latest|3[-.]5|26)", request.model):
            return {}
        return {"reasoning_effort": "none" if request.thinking == "off" else "high"}


class DeepSeekProvider(OpenAIStyleProvider):
    """DeepSeek: reasoning that led to tool calls must be sent again."""

    name = "deepseek"
    default_model = "deepseek-flash"
    default_base_url = "https://api.deepseek.com"
    key_variables = ("DEEPSEEK_API_KEY",)
    known_models = catalogue.DEEPSEEK
    replay = "reasoning_content"

    def chat_thinking(self, request: ModelRequest) -> Mapping[str, Any]:
        """Return the switch and the effort; without them it thinks hard."""
        if request.thinking == "off":
            return {"thinking": {"type": "disabled"}}
        medium = request.thinking == "medium"  # is "high" for DeepSeek
        level = "high" if medium else nearest(request.thinking, ("low", "high", "max"))
        return {"thinking": {"type": "enabled"}, "reasoning_effort": level}


class XAIProvider(OpenAIStyleProvider):
    """xAI: most of its models think as they like, and refuse to be told."""

    name = "xai"
    default_model = "grok-4.3"
    default_base_url = "https://api.x.ai"
    key_variables = ("XAI_API_KEY",)
    known_models = catalogue.XAI

    def chat_thinking(self, request: ModelRequest) -> Mapping[str, Any]:
        """Return the effort for the one family that takes it."""
        if "grok-3-mini" not in request.model:
            return {}
        return {"reasoning_effort": nearest(request.thinking, ("low", "high"))}

    def efforts(self, model: str) -> Sequence[str]:
        """Return the levels for the one family that takes them."""
        return ("low", "high") if "grok-3-mini" in model else ()


class CompatibleProvider(OpenAIStyleProvider):
    """Any server that speaks Chat Completions; `base_url` says where."""

    name = "openai_compatible"
    default_model = DEFAULT
    needs_key = False
    key_variables = ("OPENAI_COMPATIBLE_API_KEY",)
    models_path = "/models"


class VLLMProvider(CompatibleProvider):
    """A vLLM server."""

    name = "vllm"
    default_base_url = "http://localhost:8000"
    key_variables = ("VLLM_API_KEY",)


class LMStudioProvider(CompatibleProvider):
    """LM Studio on this machine."""

    name = "lmstudio"
    default_base_url = "http://localhost:1234"
    key_variables = ("LM_STUDIO_API_KEY",)

    @property
    def models_url(self) -> str:
        """The list that tells sizes, which is not below ``/v1``."""
        return f"{self.api_url.removesuffix('/v1')}/api/v0/models"
