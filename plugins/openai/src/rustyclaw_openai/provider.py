"""What all providers of this distribution share: two APIs, and hooks for quirks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from rustyclaw import ModelInfo, ModelRequest
from rustyclaw_http.decoding import ServerSentEvent
from rustyclaw_http.levels import nearest
from rustyclaw_http.schemas import functions
from rustyclaw_http.vendor import Call, VendorProvider

from rustyclaw_openai.catalogue import infos
from rustyclaw_openai.chat_request import ChatWriter, Replay
from rustyclaw_openai.chat_stream import ChatReader
from rustyclaw_openai.config import OpenAIConfig
from rustyclaw_openai.responses_request import items, tools
from rustyclaw_openai.responses_stream import ResponsesReader

#: Stands for the model that the config names first, or that the server has loaded.
DEFAULT = "default"
#: The Responses API refuses less.
_LEAST_OUTPUT = 16


class OpenAIStyleProvider(VendorProvider):
    """A vendor that speaks OpenAI's language, more or less.

    :cvar prefers_responses: ``api: auto`` means Responses at the vendor's own address.
    :cvar models_path: Where the vendor lists models with their sizes; ``None``: it
        does not tell them.
    :cvar asks_for_usage: Send ``stream_options``; who does not know it refuses it.
    :cvar replay: How reasoning is shown to the model again.
    :cvar bridges: As `ChatWriter` has it.
    :cvar reads_pdf: PDF files may be sent.
    """

    Config = OpenAIConfig
    config: OpenAIConfig

    prefers_responses: ClassVar[bool] = False
    models_path: ClassVar[str | None] = None
    asks_for_usage: ClassVar[bool] = True
    replay: ClassVar[Replay] = "no"
    bridges: ClassVar[bool] = False
    reads_pdf: ClassVar[bool] = False

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._listed: frozenset[str] = frozenset()

    # --- Quirks that a preset may have --------------------------------------------

    def chat_thinking(self, request: ModelRequest) -> Mapping[str, Any]:
        """Return the fields that make a model think, in Chat Completions."""
        if request.thinking == "off":
            return {}
        levels = ("low", "medium", "high")
        return {"reasoning_effort": nearest(request.thinking, levels)}

    def efforts(self, model: str) -> Sequence[str]:
        """Return the levels of thinking that a model takes in the Responses API."""
        return ("low", "medium", "high")

    def max_tokens_name(self, model: str) -> str:
        """Return what Chat Completions calls the longest answer."""
        return "max_tokens"

    def takes_temperature(self, model: str) -> bool:
        """Return whether a model may be told its temperature."""
        return True

    # --- The interface ------------------------------------------------------------

    async def models(self) -> Sequence[ModelInfo]:
        """Return the models that are known, told by the vendor, or configured.

        After `probe` those that the key may not use are left out.
        """
        await self._discover()
        kept = {self.default_model, *(model.id for model in self.config.models)}
        kept |= self._listed
        merged = tuple(
            info
            for info in self.merged(self.found)
            if info.id in kept or not self._listed
        )
        if self.default_model != DEFAULT:
            return merged
        named = {info.id: info for info in merged}
        if (first := self._first()) is None:
            return merged
        like = named[first]
        return tuple({**named, DEFAULT: replace(like, id=DEFAULT)}.values())

    async def call(self, request: ModelRequest) -> Call[ServerSentEvent]:
        """Return a call of a model, by one of the two APIs.

        :raises ProviderError: The key is missing, or there is no such model.
        """
        headers = self.auth_headers()
        model = await self._model(request.model)
        if model != request.model:
            request = replace(request, model=model)
        fail = self.client.vendor_error
        reader: ChatReader | ResponsesReader
        if self.speaks_responses:
            url, body = f"{self.api_url}/responses", self._responses_body(request)
            reader = ResponsesReader(fail, model=model)
        else:
            url, body = f"{self.api_url}/chat/completions", self._chat_body(request)
            keeps = self.replay == "reasoning_details"
            reader = ChatReader(fail, keeps_details=keeps)
        opened = self.client.post_stream(url, body, headers)
        return Call(opened=opened, reader=reader)

    # --- Addresses ----------------------------------------------------------------

    @property
    def speaks_responses(self) -> bool:
        """Whether this provider uses the Responses API."""
        if self.config.api == "auto":
            return self.prefers_responses and self.is_at_home
        return self.config.api == "responses"

    # --- Requests -----------------------------------------------------------------

    def _chat_body(self, request: ModelRequest) -> Mapping[str, Any]:
        writer = ChatWriter(
            sees=self._sees(request.model),
            reads_pdf=self.reads_pdf,
            replay=self.replay,
            bridges=self.bridges,
        )
        body: dict[str, Any] = {
            "model": request.model,
            "messages": writer.messages(request),
            "stream": True,
            self.max_tokens_name(request.model): request.max_tokens,
        }
        if self.asks_for_usage:
            body["stream_options"] = {"include_usage": True}
        if request.tools:
            body["tools"] = functions(request.tools)
        return {
            **body,
            **self._chosen(request),
            **self.chat_thinking(request),
            **self._extra(request),
        }

    def _responses_body(self, request: ModelRequest) -> Mapping[str, Any]:
        body: dict[str, Any] = {
            "model": request.model,
            "input": items(request, sees=self._sees(request.model)),
            "stream": True,
            "store": False,
            "max_output_tokens": max(request.max_tokens, _LEAST_OUTPUT),
        }
        if request.system:
            body["instructions"] = request.system
        if request.tools:
            body["tools"] = tools(request)
        if levels := self.efforts(request.model):
            level = nearest(request.thinking, levels)
            reasoning = {"effort": level}
            if self.config.reasoning_summary != "none" and level != "none":
                reasoning["summary"] = self.config.reasoning_summary
            body["reasoning"] = reasoning
            body["include"] = ["reasoning.encrypted_content"]
        return {**body, **self._chosen(request), **self._extra(request)}

    def _chosen(self, request: ModelRequest) -> Mapping[str, Any]:
        if request.temperature is None or not self.takes_temperature(request.model):
            return {}
        return {"temperature": request.temperature}

    def _extra(self, request: ModelRequest) -> Mapping[str, Any]:
        return {**self.config.extra_body, **request.extra}

    def _sees(self, model: str) -> bool:
        """Return whether a model may be shown pictures; who is unknown may."""
        known = {info.id: info for info in self.merged(self.found)}
        configured = {entry.id for entry in self.config.models}
        catalogued = {info.id for info in (*self.known_models, *self.found)}
        return model not in configured | catalogued or known[model].vision

    # --- Models -------------------------------------------------------------------

    async def _discover(self) -> None:
        """Ask the vendor for its models; without an answer we know what we know."""
        if self.models_path is None or not self.config.discover_models:
            return
        headers = self.auth_headers() if self.key() else {}
        await self.discover(self.models_url, headers, infos)

    def judged(self, answer: Any) -> str:
        """As all do; remembers which models there are for this key."""
        said = super().judged(answer)
        self._listed = frozenset(info.id for info in infos(answer))
        return said

    @property
    def probe_url(self) -> str:
        """The list of models, which takes a valid key."""
        return self.models_url if self.models_path else f"{self.api_url}/models"

    @property
    def models_url(self) -> str:
        """Where the vendor lists its models."""
        return f"{self.api_url}{self.models_path}"

    async def _model(self, wanted: str) -> str:
        """Return the model that is meant by ``default``.

        :raises ProviderError: There is none.
        """
        if wanted != DEFAULT:
            return wanted
        if self._first() is None:
            await self._discover()
        if (first := self._first()) is not None:
            return first
        raise self.error(
            f"was not told which model to use; set `agents.defaults.model` to "
            f"{self.name}/MODEL, or name one in `providers.{self.name}.models`",
            kind="model_not_found",
        )

    def _first(self) -> str | None:
        ids = [model.id for model in self.config.models]
        return next(iter([*ids, *(info.id for info in self.found)]), None)
