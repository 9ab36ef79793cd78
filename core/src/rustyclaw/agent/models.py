"""Finds the provider and the model of a run, and keeps opened providers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from rustyclaw.errors import PluginError, PluginNotFound, ProviderError
from rustyclaw.interfaces.provider import Provider
from rustyclaw.messages import ModelInfo

if TYPE_CHECKING:
    from rustyclaw.config import Config
    from rustyclaw.loading import Loader

#: Suggested when nothing at all is installed; it needs no key and no network.
_FALLBACK_PROVIDER = "offline"
_MIN_WINDOW = 16_000


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
        self._open: dict[str, tuple[Provider, Sequence[ModelInfo]]] = {}
        self._opening = anyio.Lock()
        self.closing = anyio.Event()

    async def resolve(self, spec: str | None) -> Model:
        """Return the model that ``provider/model`` or ``provider`` names.

        Without a name, the first enabled provider that can be loaded serves.

        :raises PluginError: The provider is not installed or broken.
        :raises ProviderError: The provider could not be opened.
        """
        if spec:
            name, _, model_id = spec.partition("/")
            provider, known = await self._provider(name)
        else:
            name, (provider, known) = await self._first()
            model_id = ""
        model_id = model_id or provider.default_model
        info = next((m for m in known if m.id == model_id), ModelInfo(id=model_id))
        bounds = (
            info.context_window,
            self._config.agents.defaults.context_tokens,
            self._config.session.max_context_tokens,
        )
        window = min(bound for bound in bounds if bound)
        if window < _MIN_WINDOW:
            raise ProviderError(
                f"the context window of {name}/{model_id} is {window} tokens; at least "
                f"{_MIN_WINDOW} are needed: choose another model or raise the limit",
                provider=name,
            )
        return Model(provider_name=name, provider=provider, info=info, window=window)

    async def _first(self) -> tuple[str, tuple[Provider, Sequence[ModelInfo]]]:
        problem: PluginError | None = None
        for name in self._loader.enabled("providers"):
            try:
                return name, await self._provider(name)
            except PluginError as exc:
                problem = problem or exc
        raise problem or PluginNotFound("provider", _FALLBACK_PROVIDER)

    async def _provider(self, name: str) -> tuple[Provider, Sequence[ModelInfo]]:
        if name in self._open:
            return self._open[name]
        async with self._opening:
            if name not in self._open:
                provider = self._loader.create("providers", name, Provider)
                outcome: list[Any] = []
                ready = anyio.Event()
                self._spawn(self._keep, provider, outcome, ready)
                await ready.wait()
                if isinstance(outcome[0], Exception):
                    raise outcome[0]
                self._open[name] = (provider, outcome[0])
        return self._open[name]

    async def _keep(
        self, provider: Provider, outcome: list[Any], ready: anyio.Event
    ) -> None:
        """Enter and leave a provider in one task, as cancel scopes demand."""
        try:
            async with provider:
                with anyio.fail_after(30):
                    outcome.append(await provider.models())
                ready.set()
                await self.closing.wait()
        except Exception as exc:
            if ready.is_set():
                raise
            outcome.append(exc)
            ready.set()
