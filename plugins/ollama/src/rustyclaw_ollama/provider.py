"""Ollama as a provider of models."""

from __future__ import annotations

import logging
import shlex
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any

import anyio
from rustyclaw import ModelInfo, ModelRequest, ProviderError
from rustyclaw_http.exchange import Stream
from rustyclaw_http.levels import known, nearest
from rustyclaw_http.schemas import functions
from rustyclaw_http.vendor import Call, VendorProvider

from rustyclaw_ollama.config import OllamaConfig
from rustyclaw_ollama.messages import conversation
from rustyclaw_ollama.shelf import (
    MAX_WINDOW,
    OWN_WINDOW,
    Shown,
    aliases,
    info,
    names,
    shown,
)
from rustyclaw_ollama.stream import ChatReader

logger = logging.getLogger(__name__)

#: Stands for the model that the config names first, or that was installed last.
DEFAULT = "default"
_DISCOVERY_SECONDS = 10.0
#: So many models are looked at, so many at once.
_MOST_MODELS, _AT_ONCE = 200, 4


class OllamaProvider(VendorProvider):
    """Models of an Ollama server, by its own API."""

    Config = OllamaConfig
    config: OllamaConfig

    name = "ollama"
    default_model = DEFAULT
    default_base_url = "http://127.0.0.1:11434"
    key_variables = ("OLLAMA_API_KEY",)
    needs_key = False

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._shown: dict[str, Shown] = {}

    @property
    def probe_url(self) -> str:
        """What is installed; a server on this machine tells it everybody."""
        return f"{self.base_url}/api/tags"

    def judged(self, answer: Any) -> str:
        """Return how many models are installed.

        :raises ProviderError: None is.
        """
        if answer == {"models": []} and not self.config.models:
            text = f"has no model at {self.base_url}; `ollama pull qwen3` installs one"
            raise self.error(text, kind="format")
        return super().judged(answer)

    async def probe(self) -> str:
        """As all do; says what to type if nobody listens there."""
        with self._advice():
            return await super().probe()

    async def models(self) -> Sequence[ModelInfo]:
        """Return the models that are installed, and those of the config."""
        found: list[ModelInfo] = []
        try:
            with anyio.fail_after(_DISCOVERY_SECONDS):
                installed = await self._installed()
                await self._look_at(installed[:_MOST_MODELS])
        except (ProviderError, TimeoutError) as exc:
            logger.info("provider %r does not list its models: %s", self.name, exc)
            installed = []
        for name in installed:
            about = self._shown.get(name, Shown())
            if about.can("completion"):
                window = self._window(name, about)
                found += [info(alias, about, window) for alias in aliases(name)]
        first = next(iter([*(m.id for m in self.config.models), *installed]), None)
        about = self._shown.get(first or "", Shown())
        found.append(info(DEFAULT, about, self._window(first or DEFAULT, about)))
        return self.merged(found)

    async def call(self, request: ModelRequest) -> Call[Any]:
        """Return a call of a model.

        :raises ProviderError: There is no model.
        """
        model = await self._model(request.model)
        about = await self._about(model)
        body = self._body(request, model, about)
        url, headers = f"{self.base_url}/api/chat", self.auth_headers()
        return Call(
            opened=self._advised(model, self.client.post_lines(url, body, headers)),
            reader=ChatReader(self.client.vendor_error),
        )

    # --- Requests -----------------------------------------------------------------

    def _body(
        self, request: ModelRequest, model: str, about: Shown
    ) -> Mapping[str, Any]:
        options: dict[str, Any] = {"num_predict": request.max_tokens}
        sized = about.length or self.config.num_ctx or self._configured(model)
        if sized and not about.remote:
            options["num_ctx"] = self._window(model, about)
        if request.temperature is not None:
            options["temperature"] = request.temperature
        body: dict[str, Any] = {
            "model": model,
            "messages": conversation(request, sees=about.can("vision")),
            "stream": True,
            "truncate": False,  # what does not fit is an error, and not forgotten
            "options": {**options, **self.config.options},
            **_think(request.thinking, model, about),
        }
        if self.config.keep_alive is not None:
            body["keep_alive"] = _duration(self.config.keep_alive)
        if request.tools and about.can("tools"):
            body["tools"] = functions(request.tools)
        elif request.tools:
            logger.warning("model %r of %r cannot call tools", model, self.name)
        return {**body, **self.config.extra_body, **request.extra}

    def _window(self, model: str, about: Shown) -> int:
        """Return the window that a model gets, or has by itself."""
        if (configured := self._configured(model)) is not None:
            return configured
        if about.remote and about.length:
            return about.length
        if self.config.num_ctx is not None:
            return min(self.config.num_ctx, about.length or self.config.num_ctx)
        return min(about.length, MAX_WINDOW) or OWN_WINDOW

    def _configured(self, model: str) -> int | None:
        """Return the window that the config gives to a model by its name."""
        for entry in self.config.models:
            given = "context_window" in entry.model_fields_set
            if given and (entry.id == model or entry.id in aliases(model)):
                return entry.context_window
        return None

    # --- Models -------------------------------------------------------------------

    async def _installed(self) -> list[str]:
        with self._advice():
            headers = self.auth_headers()
            return names(await self.client.get_json(self.probe_url, headers))

    async def _look_at(self, installed: Sequence[str]) -> None:
        """Learn what models can, some at a time."""
        limiter = anyio.CapacityLimiter(_AT_ONCE)

        async def look(name: str) -> None:
            async with limiter:
                try:
                    await self._about(name)
                except ProviderError as exc:
                    logger.info("model %r cannot be looked at: %s", name, exc)

        async with anyio.create_task_group() as tasks:
            for name in installed:
                tasks.start_soon(look, name)

    async def _about(self, model: str) -> Shown:
        """Return what a model can; it is asked once.

        :raises ProviderError: There is no such model, or no server.
        """
        if (found := self._shown.get(model)) is not None:
            return found
        url, answer = f"{self.base_url}/api/show", None
        try:
            with self._advice(model):
                headers = self.auth_headers()
                async with self.client.post_lines(
                    url, {"model": model}, headers
                ) as lines:
                    async for line in lines:
                        answer = line
        except ProviderError as exc:
            if exc.status in (None, 401, 403, 404):
                raise
            logger.info("model %r cannot be looked at: %s", model, exc)
            return Shown()  # a server that does not know the question
        self._shown[model] = shown(answer)
        return self._shown[model]

    async def _model(self, wanted: str) -> str:
        """Return the model that is meant by ``default``.

        :raises ProviderError: There is none.
        """
        if wanted != DEFAULT:
            return wanted
        if self.config.models:
            return self.config.models[0].id
        installed = await self._installed()
        await self._look_at(installed[:_MOST_MODELS])
        for name in installed:
            if self._shown.get(name, Shown()).can("completion"):
                return name
        raise self.error(
            "has no models; `ollama pull NAME` installs one", kind="model_not_found"
        )

    @asynccontextmanager
    async def _advised(
        self, model: str, opened: AbstractAsyncContextManager[Stream[Any]]
    ) -> AsyncIterator[Stream[Any]]:
        with self._advice(model):
            async with opened as lines:
                yield lines

    @contextmanager
    def _advice(self, model: str = "NAME") -> Iterator[None]:
        """Say what to type when the server or a model is not there."""
        try:
            yield
        except ProviderError as exc:
            advice = ""
            if exc.kind == "model_not_found":
                advice = f"`ollama pull {shlex.quote(model)}` installs it"
            elif exc.status is None and "be reached" in str(exc):
                advice = "is ollama running? `ollama serve`"
            if not advice:
                raise
            raise ProviderError(
                f"{exc}; {advice}",
                kind=exc.kind,
                provider=exc.provider,
                status=exc.status,
            ) from exc


def _think(level: str, model: str, about: Shown) -> Mapping[str, Any]:
    """Return the field that makes a model think; who cannot think is not told.

    :raises ProviderError: There is no such level.
    """
    wanted = known(level)
    if about.able is None:
        return {} if wanted == "none" else {"think": True}
    if "thinking" not in about.able:
        return {}
    if "gptoss" in about.family or "gpt-oss" in model:  # it cannot be told not to
        return {"think": nearest(wanted, ("low", "medium", "high"))}
    return {"think": wanted != "none"}


def _duration(text: str) -> str | int:
    """Return a duration as Ollama reads it: without a unit only as a number."""
    return text if text[-1].isalpha() else int(float(text))
