"""Finds the provider and the model of a run, and keeps opened providers."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from rustyclaw.errors import PluginError, PluginNotFound, ProviderError
from rustyclaw.interfaces.provider import Provider, ProviderHost
from rustyclaw.loading import FALLBACK_PROVIDER
from rustyclaw.messages import ModelInfo

if TYPE_CHECKING:
    from pathlib import Path

    from rustyclaw.config import Config
    from rustyclaw.feed import Feed
    from rustyclaw.interfaces.channel import Channel
    from rustyclaw.loading import Loader

_MIN_WINDOW = 16_000
_OPENING_SECONDS = 30.0
_LEAVING_SECONDS = 5.0
_NONE: Mapping[str, Any] = {}


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

    settings: Mapping[str, Any]
    provider: Provider = field(init=False)
    models: Sequence[ModelInfo] = ()
    problem: Exception | None = None
    ready: anyio.Event = field(default_factory=anyio.Event)


class Models:
    """Opens each provider once, in a task of its own, when it is first needed.

    :param spawn: Starts a background task that ends with the gateway.
    """

    def __init__(
        self,
        config: Config,
        loader: Loader,
        spawn: Callable[..., None],
        home: Path,
        feed: Feed,
    ) -> None:
        self._config = config
        self._loader = loader
        self._spawn = spawn
        self._home, self._feed = home, feed
        self._opened: dict[tuple[str, str], _Opened] = {}

    async def resolve(
        self, spec: str | None, profile: str = "", settings: Mapping[str, Any] = _NONE
    ) -> Model:
        """Return the model that ``provider/model`` or ``provider`` names.

        Without a name, the first enabled provider that can be loaded serves.

        :param profile: Names an instance of the provider with settings of its own.
        :raises PluginError: The provider is not installed or broken.
        :raises ProviderError: The provider could not be opened.
        """
        name, _, model_id = (spec or "").partition("/")
        if name:
            opened = await self._open(name, profile, settings)
        else:
            name, opened = await self._first()
        model_id = model_id or opened.provider.default_model
        known = (info for info in opened.models if info.id == model_id)
        info = await opened.provider.about(model_id)
        info = info or next(known, ModelInfo(id=model_id))
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

    async def _open(
        self, name: str, profile: str = "", settings: Mapping[str, Any] = _NONE
    ) -> _Opened:
        key = (name, profile)
        opened = self._opened.get(key)
        if opened is None:
            opened = self._opened[key] = _Opened(settings)
            self._spawn(self._keep, key, opened)
        if not opened.ready.is_set():
            await opened.ready.wait()
        if opened.problem is not None:
            raise opened.problem
        return opened

    async def _keep(self, key: tuple[str, str], opened: _Opened) -> None:
        """Enter and leave a provider in one task, as cancel scopes demand."""
        name, _ = key
        create = partial(self._loader.create, settings=opened.settings)
        try:
            with anyio.move_on_after(_OPENING_SECONDS) as opening:
                opened.provider = await anyio.to_thread.run_sync(
                    create, "providers", name, Provider
                )
                opened.provider.host = ProviderHost(
                    folder=self._home / "providers" / name,
                    open_model=partial(self._lend, name),
                    announce=partial(self._feed.announce, scope="operator.read"),
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
            del self._opened[key]  # the next run tries again
            opened.ready.set()

    async def _lend(
        self, borrower: str, spec: str, profile: str, settings: Mapping[str, Any]
    ) -> Model:
        """Return a model to a provider that is made of others; raises as `resolve`."""
        name = spec.partition("/")[0]
        enabled = self._config.providers.get(name, {}).get("enabled", True)
        if name == borrower or not enabled:
            problem = "cannot use itself" if enabled else "is disabled in the config"
            raise PluginError(f"provider {name!r} {problem}", plugin=name)
        return await self.resolve(spec, profile, settings)


@asynccontextmanager
async def entered(plugin: Provider | Channel) -> AsyncIterator[None]:
    """Enter a provider or channel; it may leave in peace even if it was cancelled."""
    await plugin.__aenter__()
    try:
        yield
    finally:
        with anyio.move_on_after(_LEAVING_SECONDS, shield=True):
            await plugin.__aexit__(*sys.exc_info())
