"""Google as a provider of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from rustyclaw import ModelInfo, ModelRequest, TranscriptPolicy
from rustyclaw_http.decoding import ServerSentEvent
from rustyclaw_http.vendor import Call, VendorProvider

from rustyclaw_google import catalogue
from rustyclaw_google.catalogue import thinking
from rustyclaw_google.config import GoogleConfig
from rustyclaw_google.contents import ContentWriter
from rustyclaw_google.parameters import declaration
from rustyclaw_google.stream import GeminiReader


class GoogleProvider(VendorProvider):
    """Gemini, by its own API."""

    Config = GoogleConfig
    config: GoogleConfig

    name = "google"
    default_model = "gemini-3.8-flash"
    default_base_url = "https://generativelanguage.googleapis.com"
    key_variables = ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_AI_API_KEY")
    version = "v1beta"
    known_models = catalogue.KNOWN
    #: Ids are made to fit when a request is written: Gemini wants its own unchanged.
    transcript_policy = TranscriptPolicy(
        tool_call_ids="keep", synthesize_results=True, merge_roles=True
    )

    def auth_headers(self) -> Mapping[str, str]:
        """Return the key as a header: an address would stand in logs.

        :raises ProviderError: The key is missing.
        """
        key = self.required_key()
        return {} if key is None else {"x-goog-api-key": key}

    @property
    def probe_url(self) -> str:
        """The list of models, which takes a valid key."""
        return f"{self.api_url}/models?pageSize=1000"

    async def models(self) -> Sequence[ModelInfo]:
        """Return the models that are known, told by the vendor, or configured."""
        if self.config.discover_models and self.key():
            await self.discover(self.probe_url, self.auth_headers(), catalogue.infos)
        return self.merged(self.found)

    async def call(self, request: ModelRequest) -> Call[ServerSentEvent]:
        """Return a call of a model.

        :raises ProviderError: The key is missing.
        """
        headers, body = self.auth_headers(), self._body(request)
        name = request.model if "/" in request.model else f"models/{request.model}"
        url = f"{self.api_url}/{quote(name)}:streamGenerateContent?alt=sse"
        return Call(
            opened=self.client.post_stream(url, body, headers),
            reader=GeminiReader(self.client.vendor_error, model=request.model),
        )

    def _body(self, request: ModelRequest) -> Mapping[str, Any]:
        infos = {info.id: info for info in self.merged(self.found)}
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
