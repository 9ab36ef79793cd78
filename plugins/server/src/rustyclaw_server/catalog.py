"""The models of all providers, and the one that answers by default."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
from rustyclaw import RustyclawError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rustyclaw import Gateway, ModelInfo

_KEPT_SECONDS = 60.0
_DEFAULT_SECONDS = 5.0
_OPEN_SECONDS = 10.0


class Default(NamedTuple):
    """What answers when nothing else is said; empty if nobody can tell."""

    provider: str
    model: str
    window: int


class _Offer(NamedTuple):
    """What a provider offers, or why it cannot be used."""

    models: Sequence[ModelInfo] = ()
    problem: str = ""


class ModelCatalog:
    """What the enabled providers offer."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._lock = anyio.Lock()
        self._rows: list[dict[str, Any]] = []
        self._problems: dict[str, str] = {}
        self._default = Default("", "", 0)
        self._made_at = self._default_at = float("-inf")

    async def rows(self) -> list[dict[str, Any]]:
        """Return all models, those of a provider in its own order."""
        await self._refresh()
        return self._rows

    async def problems(self) -> dict[str, str]:
        """Return the enabled providers, and why one cannot be used, else nothing."""
        await self._refresh()
        return self._problems

    async def default(self) -> Default:
        """Return the default model; of the default agent if it has one of its own."""
        if time.monotonic() - self._default_at > _KEPT_SECONDS:
            config = self._gateway.config
            named = config.agent(config.default_agent_id).model
            spec = named or config.agents.defaults.model
            provider, _, model = (spec or "").partition("/")
            found = Default(provider, model, 0)
            with anyio.move_on_after(_DEFAULT_SECONDS):
                try:
                    known = await self._gateway.models.resolve(spec)
                    found = Default(known.provider_name, known.info.id, known.window)
                    self._default_at = time.monotonic()
                except RustyclawError:
                    pass  # it is among the problems
            self._default = found
        return self._default

    async def _refresh(self) -> None:
        async with self._lock:
            if time.monotonic() - self._made_at <= _KEPT_SECONDS:
                return
            found = dict.fromkeys(self._gateway.loader.enabled("providers"), _Offer())
            async with anyio.create_task_group() as group:
                for provider in found:
                    group.start_soon(self._ask, provider, found)
            rows = [
                {
                    "id": info.id,
                    "name": info.id,
                    "provider": provider,
                    "contextWindow": info.context_window,
                    "maxTokens": info.max_output_tokens,
                    "reasoning": info.reasoning,
                    "input": ["text", "image"] if info.vision else ["text"],
                }
                for provider in sorted(found)
                for info in found[provider].models
            ]
            problems = {name: found[name].problem for name in sorted(found)}
            self._rows, self._problems = rows, problems
            # One that was broken may be mended in a moment.
            age = 0.0 if not any(problems.values()) else _KEPT_SECONDS - 5
            self._made_at = time.monotonic() - age

    async def _ask(self, provider: str, found: dict[str, _Offer]) -> None:
        text = f"it did not open in {_OPEN_SECONDS:g} s"
        found[provider] = _Offer(problem=text)
        with anyio.move_on_after(_OPEN_SECONDS):
            try:
                models = await self._gateway.models.of(provider)
                found[provider] = _Offer(models=models)
            except Exception as exc:  # it is code of a plugin
                text = str(exc) or type(exc).__name__
                found[provider] = _Offer(problem=text)
