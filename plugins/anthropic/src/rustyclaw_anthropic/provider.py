"""Anthropic as a provider of models."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import anyio
from rustyclaw import (
    ModelInfo,
    ModelRequest,
    ProviderError,
    StreamEvent,
    TranscriptPolicy,
)
from rustyclaw_http.provider import HttpProvider

from rustyclaw_anthropic import caching, catalogue
from rustyclaw_anthropic.catalogue import Thought, nature, thinking
from rustyclaw_anthropic.config import AnthropicConfig
from rustyclaw_anthropic.messages import conversation, in_a_loop_without_thoughts, tools
from rustyclaw_anthropic.stream import MessageReader

logger = logging.getLogger(__name__)

VERSION = "2023-06-01"
_DISCOVERY_SECONDS = 5.0
_VERSIONED = re.compile(r"/v\d+(/|$)")


class AnthropicProvider(HttpProvider):
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

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._found: tuple[ModelInfo, ...] = ()

    def auth_headers(self) -> Mapping[str, str]:
        """Return what proves who asks, and the version of the API that is spoken.

        :raises ProviderError: The key is missing.
        """
        return {"x-api-key": self.required_key() or "", "anthropic-version": VERSION}

    @property
    def api_url(self) -> str:
        """The address up to the version, which may be left out."""
        url = self.base_url
        return url if _VERSIONED.search(urlsplit(url).path) else f"{url}/v1"

    @property
    def probe_url(self) -> str:
        """The list of models, which takes a valid key."""
        return f"{self.api_url}/models?limit=1000"

    async def models(self) -> Sequence[ModelInfo]:
        """Return the models that are known, told by the vendor, or configured."""
        if self.config.discover_models and self.key():
            try:
                url, headers = self.probe_url, self.auth_headers()
                with anyio.fail_after(_DISCOVERY_SECONDS):
                    answer = await self.client.get_json(url, headers)
                self._found = tuple(catalogue.infos(answer))
            except (ProviderError, TimeoutError) as exc:
                logger.info("provider %r does not list its models: %s", self.name, exc)
        return self.merged(self._found)

    async def stream(self, request: ModelRequest) -> AsyncIterator[StreamEvent]:
        """Call a model.

        :raises ProviderError: The vendor refuses, or the answer is not whole.
        """
        headers = dict(self.auth_headers())
        body, betas = self._body(request)
        if betas := (*self.config.betas, *betas):
            headers["anthropic-beta"] = ",".join(dict.fromkeys(betas))
        reader = MessageReader(self.client.vendor_error, model=request.model)
        url = f"{self.api_url}/messages"
        async with self.client.post_stream(url, body, headers) as events:
            async for event in events:
                for item in reader.take(event):
                    yield item
                if reader.patience is not None:
                    events.wind_down(reader.patience)
        last = list(reader.finish())
        if not last:
            raise self.error("broke off in the middle of its answer", kind="timeout")
        for item in last:
            yield item

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
        if info.id in {model.id for model in self.merged(self._found)}:
            wanted = min(wanted, max(info.max_output_tokens, request.max_tokens))
        return wanted

    def known(self, model: str) -> ModelInfo:
        """Return what is known of a model; dated names are those of their alias."""
        infos = {info.id: info for info in self.merged(self._found)}
        undated = re.sub(r"-20\d{6}$", "", model)
        found = infos.get(model) or infos.get(undated) or infos.get(f"{undated}-0")
        if found is not None:
            return found
        return ModelInfo(id=model, max_output_tokens=1_000_000, vision=True)
