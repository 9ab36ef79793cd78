"""Hook dispatch: what it costs to call nobody, one observer, ten of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from anyio.lowlevel import checkpoint
from clock import Subject, alternate, timed
from rustyclaw import HookContext, Message, ModelResponse, Usage, hookimpl, hookspecs
from rustyclaw.hooks import Hooks
from table import Row, Target

CALLS = 100
CONTEXT = HookContext(agent_id="main", session_key="agent:main:main")
RESPONSE = ModelResponse(
    model="fake/fake",
    message=Message.assistant("hi"),
    stop_reason="stop",
    usage=Usage(),
    seconds=0.0,
)


class Quick:
    """Watches, and has nothing to wait for."""

    @hookimpl
    async def llm_output(self, context: HookContext, response: ModelResponse) -> None:
        """Do nothing."""


class Waiting:
    """Gives the event loop a turn, as one that writes somewhere would."""

    @hookimpl
    async def llm_output(self, context: HookContext, response: ModelResponse) -> None:
        """Let others go first."""
        await checkpoint()


async def measure(quick: bool) -> list[Row]:
    """Return the rows of dispatch, in microseconds of CPU a call."""
    runs = 5 if quick else 60
    none, one, ten, floor = await alternate(
        _repeated(_dispatch(Quick, 0)),
        _repeated(_dispatch(Quick, 1)),
        _repeated(_dispatch(Quick, 10)),
        _repeated(_by_hand(Quick)),
        runs=runs,
    )
    waiting, waiting_floor = await alternate(
        _repeated(_dispatch(Waiting, 10)), _repeated(_by_hand(Waiting)), runs=runs
    )
    rows = [
        ("no plugin", none, floor, None),
        ("1 observer", one, floor, None),
        ("10 observers", ten, floor, Target(limit=60)),
        ("10 observers that wait", waiting, waiting_floor, None),
    ]
    return [
        Row(
            name=f"hook, {name}, cpu",
            unit="us",
            median=cost.cpu / CALLS * 1e6,
            floor=base.cpu / CALLS * 1e6,
            target=target,
            note="10 direct awaits",
        )
        for name, cost, base, target in rows
    ]


def _dispatch(kind: type, count: int) -> Callable[[], Awaitable[object]]:
    hooks = Hooks()
    refused = hooks.register({f"observer{number}": kind() for number in range(count)})
    assert not refused
    return lambda: hooks.notify(
        hookspecs.llm_output, context=CONTEXT, response=RESPONSE
    )


def _by_hand(kind: type) -> Callable[[], Awaitable[object]]:
    observers = [kind() for _ in range(10)]

    async def call_each() -> None:
        for observer in observers:
            await observer.llm_output(CONTEXT, RESPONSE)

    return call_each


def _repeated(call: Callable[[], Awaitable[object]]) -> Subject:
    async def calls() -> None:
        for _ in range(CALLS):
            await call()

    return partial(timed, calls)
