"""Google as a provider of models."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import anyio
from rustyclaw import (
    ModelInfo,
    ModelRequest,
    ProviderError,
    StreamEvent,
    TranscriptPolicy,
)
from rustyclaw_http.provider import HttpProvider

from rustyclaw_google import catalogue
from rustyclaw_google.catalogue import thinking
from rustyclaw_google.config import GoogleConfig
from rustyclaw_google.contents import ContentWriter
from rustyclaw_google.parameters import declaration
from rustyclaw_google.stream import GeminiReader

logger = logging.getLogger(__name__)

_DISCOVERY_SECONDS = 5.0
_VERSION = re.compile(r"/v\d+\w*(/|$)")


class GoogleProvider(HttpProvider):
    """Gemini, by its own API."""

    Config = GoogleConfig
    config: GoogleConfig

    name = "google"
    default_model = "gemini-3.8-flash"
    default_base_url = "https://generativelanguage.googleapis.com"
    key_variables = ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_AI_API_KEY")
    known_models = catalogue.KNOWN
    #: Ids are made to fit when a request is written: Gemini wants its own unchanged.
    transcript_policy = TranscriptPolicy(
        tool_call_ids="keep", synthesize_results=True, merge_roles=True
    )

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._found: tuple[ModelInfo, ...] = ()

    def auth_headers(self) -> Mapping[str, str]:
        """Return the key as a header: an address would stand in logs.

        :raises ProviderError: The key is missing.
        """
        key = self.required_key()
        return {} if key is None else {"x-goog-api-key": key}

    @property
    def api_url(self) -> str:
        """The address up to the version, which may be left out."""
        url = self.base_url
        return url if _VERSION.search(urlsplit(url).path) else f"{url}/v1beta"

    @property
    def probe_url(self) -> str:
        """The list of models, which takes a valid key."""
        return f"{self.api_url}/models?pageSize=1000"

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
        headers, body = self.auth_headers(), self._body(request)
        name = request.model if "/" in request.model else f"models/{request.model}"
        url = f"{self.api_url}/{quote(name)}:streamGenerateContent?alt=sse"
        reader = GeminiReader(self.client.vendor_error, model=request.model)
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

    def _body(self, request: ModelRequest) -> Mapping[str, Any]:
        infos = {info.id: info for info in self.merged(self._found)}
        info = infos.get(request.model)
        writer = ContentWriter(request, sees=info is None or info.vision)
        thought = thinking(request.model, request.thinking)
        limit = request.max_tokens + thought.room
        if info is not None:
            limit = min(limit, max(info.max_output_tokens, request.max_tokens))
        generation: dict[str, Any] = {"maxOutputTokens": limit}
        if request.temperature is not None:
            generation["temperature"] = request.temperature
        if thought.config:
            generation["thinkingConfig"] = thought.config
        body: dict[str, Any] = {
            "contents": writer.contents(),
            "generationConfig": generation,
        }
        if request.system.strip():
            body["systemInstruction"] = {"parts": [{"text": request.system}]}
        if request.tools:
            declared = [declaration(tool) for tool in request.tools]
            body["tools"] = [{"functionDeclarations": declared}]
        if self.config.safety:
            body["safetySettings"] = [
                {"category": category, "threshold": threshold}
                for category, threshold in self.config.safety.items()
            ]
        return {**body, **self.config.extra_body, **request.extra}
