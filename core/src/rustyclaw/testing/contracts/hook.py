"""What every hook plugin must keep."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import anyio
import pytest

from rustyclaw import hookspecs
from rustyclaw.errors import Ask, Veto
from rustyclaw.hooks import HookFault, Hooks
from rustyclaw.markers import kind_of
from rustyclaw.testing.contracts.base import Contract
from rustyclaw.testing.samples import HOOKS, sample_arguments

_NAME = "plugin"


class _Answer(NamedTuple):
    """What a hook was given, and what came back for its subject."""

    hook: str
    given: dict[str, Any]
    value: object


class HookContract(Contract):
    """What every hook plugin must keep. Define the fixture ``plugin``.

    A plugin with ``gateway_start`` or ``gateway_stop`` is tried in a real gateway
    with a fake provider and no channel.

    :cvar budget_seconds: How long one implementation may take.
    :cvar config: Config of that gateway, beside the model.
    """

    __test__ = False
    budget_seconds: ClassVar[float] = 5.0
    config: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture
    def plugin(self) -> object:
        """Return the plugin object. REQUIRED."""
        raise NotImplementedError("define the fixture `plugin` in your contract class")

    async def test_registration(self, plugin: object) -> None:
        """If this fails, read the refusal: it names the function and the remedy."""
        refused = Hooks().register({_NAME: plugin})
        assert not refused, str(refused[_NAME])

    async def test_hooks(self, plugin: object, tmp_path: Path) -> None:
        """If this fails, a hook raised, was too slow, or held the event loop.

        `Veto` and `Ask` are answers of a guard; everything else is a fault.
        """
        faults: list[HookFault] = []
        await self._call_all(plugin, tmp_path, faults)
        assert not faults, "; ".join(f"{f.hook}: {f.reason}" for f in faults)

    async def test_answers(self, plugin: object, tmp_path: Path) -> None:
        """If this fails, return ``None`` or a changed copy of what you were given.

        `dataclasses.replace` makes one; nothing may be changed in place.
        """
        for hook, given, value in await self._call_all(plugin, tmp_path, []):
            untouched = sample_arguments(hook)
            assert given == untouched, f"{hook!r} changed a value in place"
            subject = kind_of(getattr(hookspecs, hook)).subject
            if subject:
                assert type(value) is type(untouched[subject]), (
                    f"{hook!r} returned {value!r}"
                )

    async def _call_all(
        self, plugin: object, home: Path, faults: list[HookFault]
    ) -> list[_Answer]:
        """Call each hook once, in the order of a message's life."""
        hooks = Hooks(budget_seconds=self.budget_seconds, on_fault=faults.append)
        for refusal in hooks.register({_NAME: plugin}).values():
            raise refusal
        in_gateway = any(map(hooks.plugins_on, ("gateway_start", "gateway_stop")))
        with anyio.fail_after(self.patience_seconds):
            async with AsyncExitStack() as stack:
                if in_gateway:
                    await stack.enter_async_context(self._gateway(plugin, home, faults))
                return [
                    await self._call(hooks, hook)
                    for hook in HOOKS
                    if hooks.plugins_on(hook)
                ]

    @asynccontextmanager
    async def _gateway(
        self, plugin: object, home: Path, faults: list[HookFault]
    ) -> AsyncIterator[None]:
        from rustyclaw.testing.bot import make_gateway

        plugins = {f"hooks.{_NAME}": plugin}
        gateway = make_gateway(home / "home", plugins=plugins, config=self.config)
        async with gateway:
            yield
        if count := gateway.hooks.fault_counts[_NAME]:
            reason = f"{count} faults in a gateway; the log tells more"
            hook = "gateway_start or gateway_stop"
            faults.append(HookFault(hook=hook, plugin=_NAME, reason=reason))

    async def _call(self, hooks: Hooks, hook: str) -> _Answer:
        spec: Any = getattr(hookspecs, hook)
        given = sample_arguments(hook)
        value: object = None
        if kind_of(spec).kind == "observe":
            await hooks.notify(spec, **given)
        else:
            value = given[kind_of(spec).subject]
            with suppress(Veto, Ask):  # an answer, or a fault that was recorded
                value = await hooks.apply(spec, **given)
        return _Answer(hook, given, value)
