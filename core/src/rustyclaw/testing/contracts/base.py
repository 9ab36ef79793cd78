"""What all contracts share: how they are collected, and that none is dodged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, ClassVar

import anyio
from pydantic import BaseModel

from rustyclaw.errors import RustyclawError
from rustyclaw.interfaces import Connected

_HEAD_START = 0.25  # seconds


class Contract:
    """Base of the contracts; pytest collects the subclasses, not the bases.

    :cvar patience_seconds: A call that takes longer is taken for hanging.
    :cvar prompt_seconds: How quickly a cancelled call must be gone.
    """

    __test__ = False
    patience_seconds: ClassVar[float] = 10.0
    prompt_seconds: ClassVar[float] = 1.0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__test__" not in vars(cls):
            cls.__test__ = True
        if cls.__test__ and "test_no_standard_test_is_replaced" in vars(cls):
            raise TypeError(f"{cls.__name__!r} may not replace the test of the tests")

    async def test_no_standard_test_is_replaced(self) -> None:
        """If this fails, give the test back, or say why it cannot pass.

        ``@pytest.mark.xfail(reason="...")`` on an override that calls
        ``super()`` is the way; a reason is required.
        """
        standard = next(
            cls
            for cls in type(self).__mro__
            if cls.__module__.startswith("rustyclaw.testing.")
        )
        replaced = [
            name
            for name in dir(standard)
            if name.startswith("test_")
            and (mine := getattr(type(self), name)) is not getattr(standard, name)
            and not any(
                mark.name == "xfail" and mark.kwargs.get("reason")
                for mark in getattr(mine, "pytestmark", ())
            )
        ]
        assert not replaced, f"replaced without xfail(reason=...): {replaced}"


def check_config(plugin: Any) -> None:
    """Assert that a plugin's settings are frozen, strict and publishable."""
    model = type(plugin).Config
    assert issubclass(model, BaseModel), "`Config` must be a pydantic model"
    hint = "derive `Config` from rustyclaw.PluginConfig"
    assert model.model_config.get("frozen"), f"`Config` is not frozen; {hint}"
    assert model.model_config.get("extra") == "forbid", (
        f"`Config` lets unknown keys pass; {hint}"
    )
    model.model_json_schema()  # raises if a field has no JSON form
    assert isinstance(plugin.config, model), "`config` is not an instance of `Config`"


async def check_probe(plugin: Connected, patience: float, prompt: float) -> None:
    """Assert that a plugin can be tried out twice, and cancelled while it is."""
    lack = plugin.problem()
    assert lack == "", f"its settings are said to lack something: {lack!r}"
    for _ in range(2):
        with anyio.fail_after(patience):
            said = await plugin.probe()
        assert isinstance(said, str), f"`probe` returned {said!r}, which is no text"
        assert said.strip(), "say in a few words what answered"
        assert said.isprintable(), f"not one line of text: {said!r}"
    seconds = await seconds_to_leave(plugin.probe, RustyclawError)
    assert seconds < prompt, f"`probe` stayed {seconds:.1f} s"


async def seconds_to_leave(
    work: Callable[[], Awaitable[object]], *expected: type[Exception]
) -> float:
    """Start ``work``, cancel it where it first waits, return how long it stayed.

    What it held the event loop before counts as well.

    :param expected: Exceptions that may end it, too.
    """

    async def run() -> None:
        with suppress(*expected):
            await work()

    async with anyio.create_task_group() as group:
        started = anyio.current_time()
        group.start_soon(run)
        with anyio.move_on_after(_HEAD_START):  # work that never waits goes on
            await anyio.wait_all_tasks_blocked()
        held = max(0.0, anyio.current_time() - started - _HEAD_START)
        cancelled = anyio.current_time()
        group.cancel_scope.cancel()
    return held + anyio.current_time() - cancelled
