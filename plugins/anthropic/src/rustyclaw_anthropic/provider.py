"""Anthropic as a provider of models."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rustyclaw import ModelInfo, ModelRequest, TranscriptPolicy
from rustyclaw_http.decoding import ServerSentEvent
from rustyclaw_http.vendor import Call, VendorProvider

from rustyclaw_anthropic import caching, catalogue
from rustyclaw_anthropic.catalogue import Thought, nature, thinking
from rustyclaw_anthropic.config import AnthropicConfig
from rustyclaw_anthropic.messages import conversation, in_a_loop_without_thoughts, tools
from rustyclaw_anthropic.stream import MessageReader

VERSION = "2023-06-01"


class AnthropicProvider(VendorProvider):
    """Claude, by the Messages API."""

    Config = AnthropicConfig
    config: AnthropicConfig

    name = "anthropic"
    default_model = "claude-sonnet-5-5"
    default_base_url = "https://api.anthropic.com"
    key_variables = ("ANTHROPIC_API_KEY",)
    known_models = catalogue.KNOWN
    #: Ids are made to fit when a request is written, so that ours stay as they were.
    transcript_policy = TranscriptPolicy(
        tool_call_ids="keep", synthesize_results=True, merge_roles=True
    )

    def auth_headers(self) -> Mapping[str, str]:
        """Return what proves who asks, and the version of the API that is spoken.

        :raises ProviderError: The key is missing.
        """
        return {"x-api-key": self.required_key() or "", "anthropic-version": VERSION}

    @property
    def probe_url(self) -> str:
        """The list of models, which takes a valid key."""
        return f"{self.api_url}/models?limit=1000"

    async def models(self) -> Sequence[ModelInfo]:
        """Return the models that are known, told by the vendor, or configured."""
        if self.config.discover_models and self.key():
            await self.discover(self.probe_url, self.auth_headers(), catalogue.infos)
        return self.merged(self.found)

    async def call(self, request: ModelRequest) -> Call[ServerSentEvent]:
        """Return a call of a model.

        :raises ProviderError: The key is missing.
        """
        headers = dict(self.auth_headers())
        body, betas = self._body(request)
        if betas := (*self.config.betas, *betas):
            headers["anthropic-beta"] = ",".join(dict.fromkeys(betas))
        url = f"{self.api_url}/messages"
        return Call(
            opened=self.client.post_stream(url, body, headers),
            reader=MessageReader(self.client.vendor_error, model=request.model),
        )

    def _body(self, request: ModelRequest) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return the body of a request, and the betas that it needs."""
        info, about = self.known(request.model), nature(request.model)
        turns = conversation(request, sees=info.vision, prefills=about.prefills)
        thought = thinking(request.model, request.thinking, info, request.max_tokens)
        if about.mode == "budget" and in_a_loop_without_thoughts(turns):
            thought = Thought(fields={})
        body: dict[str, Any] = {
            "model": request.model,
            "max_tokens": self._limit(request, thought, info),
            "messages": turns,
            "stream": True,
            **thought.fields,
        }
        if request.system.strip():
            body["system"] = [{"type": "text", "text": request.system}]
        if request.tools:
            body["tools"] = tools(request)
        if request.temperature is not None and about.warms and not thought.on:
            body["temperature"] = min(request.temperature, 1.0)
        if self.config.cache != "off":
            caching.mark(body, self.config.cache)
        return {**body, **self.config.extra_body, **request.extra}, thought.betas

    def _limit(self, request: ModelRequest, thought: Thought, info: ModelInfo) -> int:
        """Return the limit of the answer, to which thoughts count, too."""
        wanted = request.max_tokens + thought.budget
        if info.id in {model.id for model in self.merged(self.found)}:
            wanted = min(wanted, max(info.max_output_tokens, request.max_tokens))
        return wanted

    def known(self, model: str) -> ModelInfo:
        """Return what is known of a model; dated names are those of their alias."""
        infos = {info.id: info for info in self.merged(self.found)}
        undated = re.sub(r"-20\d{6}$", "", model)
        found = infos.get(model) or infos.get(undated) or infos.get(f"{undated}-0")
        if found is not None:
            return found
        return ModelInfo(id=model, max_output_tokens=1_000_000, vision=True)
