"""Finds the provider and the model of a run, and keeps opened providers."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from rustyclaw.errors import PluginError, PluginNotFound, ProviderError
from rustyclaw.interfaces.provider import Provider
from rustyclaw.loading import FALLBACK_PROVIDER
from rustyclaw.messages import ModelInfo

if TYPE_CHECKING:
    from rustyclaw.config import Config
    from rustyclaw.interfaces.channel import Channel
    from rustyclaw.loading import Loader

_MIN_WINDOW = 16_000
_OPENING_SECONDS = 30.0
_LEAVING_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that is ready to be called.

    :param window: Tokens that a request may have, after the config's upper bounds.
    """

    provider_name: str
    provider: Provider
    info: ModelInfo
    window: int

    @property
    def label(self) -> str:
        """``provider/model``, as users write it."""
        return f"{self.provider_name}/{self.info.id}"


@dataclass(slots=True)
class _Opened:
    """A provider from the first call for it on; ``ready`` says that it is decided."""

    provider: Provider = field(init=False)
    models: Sequence[ModelInfo] = ()
    problem: Exception | None = None
    ready: anyio.Event = field(default_factory=anyio.Event)


class Models:
    """Opens each provider once, in a task of its own, when it is first needed.

    :param spawn: Starts a background task that ends with the gateway.
    """

    def __init__(
        self, config: Config, loader: Loader, spawn: Callable[..., None]
    ) -> None:
        self._config = config
        self._loader = loader
        self._spawn = spawn
        self._opened: dict[str, _Opened] = {}

    async def resolve(self, spec: str | None) -> Model:
        """Return the model that ``provider/model`` or ``provider`` names.

        Without a name, the first enabled provider that can be loaded serves.

        :raises PluginError: The provider is not installed or broken.
        :raises ProviderError: The provider could not be opened.
        """
        name, _, model_id = (spec or "").partition("/")
        if name:
            opened = await self._open(name)
        else:
            name, opened = await self._first()
        model_id = model_id or opened.provider.default_model
        known = (info for info in opened.models if info.id == model_id)
        info = next(known, ModelInfo(id=model_id))
        bounds = (
            info.context_window,
            self._config.agents.defaults.context_tokens,
            self._config.session.max_context_tokens,
        )
        window = min(bound for bound in bounds if bound is not None)
        if window < _MIN_WINDOW:
            raise ProviderError(
                f"the context window of {name}/{model_id} is {window} tokens; at least "
                f"{_MIN_WINDOW} are needed: choose another model or raise the limit",
                provider=name,
            )
        return Model(
            provider_name=name, provider=opened.provider, info=info, window=window
        )

    async def of(self, provider: str) -> Sequence[ModelInfo]:
        """Return what a provider offers; raises as `resolve`."""
        return (await self._open(provider)).models

    async def _first(self) -> tuple[str, _Opened]:
        problem: PluginError | None = None
        for name in self._loader.enabled("providers"):
            try:
                return name, await self._open(name)
            except PluginError as exc:
                problem = problem or exc
        raise problem or PluginNotFound("provider", FALLBACK_PROVIDER)

    async def _open(self, name: str) -> _Opened:
        opened = self._opened.get(name)
        if opened is None:
            opened = self._opened[name] = _Opened()
            self._spawn(self._keep, name, opened)
        if not opened.ready.is_set():
            await opened.ready.wait()
        if opened.problem is not None:
            raise opened.problem
        return opened

    async def _keep(self, name: str, opened: _Opened) -> None:
        """Enter and leave a provider in one task, as cancel scopes demand."""
        try:
            with anyio.move_on_after(_OPENING_SECONDS) as opening:
                opened.provider = await anyio.to_thread.run_sync(
                    self._loader.create, "providers", name, Provider
                )
                async with entered(opened.provider):
                    opened.models = await opened.provider.models()
                    opening.deadline = inf
                    opened.ready.set()
                    await anyio.sleep_forever()
            if opening.cancelled_caught:
                problem = f"provider {name!r} did not open in {_OPENING_SECONDS:g} s"
                raise ProviderError(problem, kind="timeout", provider=name)
        except Exception as exc:
            if opened.ready.is_set():
                raise
            opened.problem = exc
            del self._opened[name]  # the next run tries again
            opened.ready.set()


@asynccontextmanager
async def entered(plugin: Provider | Channel) -> AsyncIterator[None]:
    """Enter a provider or channel; it may leave in peace even if it was cancelled."""
    await plugin.__aenter__()
    try:
        yield
    finally:
        with anyio.move_on_after(_LEAVING_SECONDS, shield=True):
            await plugin.__aexit__(*sys.exc_info())
