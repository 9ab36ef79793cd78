"""The dispatcher of the hooks: order, three kinds, budgets, faults, refusals."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from rustyclaw import hooks as dispatcher, hookspecs
from rustyclaw.errors import Ask, HookImplError, Veto
from rustyclaw.hooks import (
    BLOCKING_SECONDS,
    FAULT_LIMIT,
    HookCall,
    HookFault,
    Hooks,
    trace_call,
)
from rustyclaw.hookspecs import (
    agent_end,
    before_agent_start,
    before_reset,
    before_tool_call,
    llm_input,
)
from rustyclaw.markers import hookimpl, kind_of
from rustyclaw.messages import ModelRequest, ToolCall
from rustyclaw.testing import sample_arguments

Hook = Callable[..., Awaitable[Any]]


def plugin(*functions: Hook, **options: Any) -> object:
    """Make a plugin of functions that are named like hooks."""
    return SimpleNamespace(**{f.__name__: hookimpl(**options)(f) for f in functions})


def registered(plugins: dict[str, object], **options: Any) -> Hooks:
    """Return hooks that took all of the plugins."""
    hooks = Hooks(**options)
    assert hooks.register(plugins) == {}
    return hooks


def appends(word: str) -> Hook:
    """Return a transform that adds a word to the system prompt."""

    async def llm_input(request: ModelRequest) -> ModelRequest:
        return dataclasses.replace(request, system=f"{request.system} {word}".strip())

    return llm_input


def adds(key: str) -> Hook:
    """Return a guard that adds an argument to the call."""

    async def before_tool_call(call: ToolCall) -> ToolCall:
        return dataclasses.replace(call, arguments={**call.arguments, key: True})

    return before_tool_call


def raises(name: str, error: Exception) -> Hook:
    """Return an implementation of any hook that fails."""

    async def implementation(context: object) -> None:
        raise error

    implementation.__name__ = name
    return implementation


def sleeps(name: str) -> Hook:
    """Return an implementation of any hook that never ends by itself."""

    async def implementation(context: object) -> None:
        await anyio.sleep_forever()

    implementation.__name__ = name
    return implementation


def notes(name: str, log: list[str], word: str) -> Hook:
    """Return an implementation of any hook that writes a word down."""

    async def implementation(context: object) -> None:
        log.append(word)

    implementation.__name__ = name
    return implementation


async def system_after(hooks: Hooks) -> str:
    arguments = sample_arguments("llm_input")
    arguments["request"] = dataclasses.replace(arguments["request"], system="")
    return (await hooks.apply(llm_input, **arguments)).system


async def guarded(hooks: Hooks) -> ToolCall:
    call: ToolCall = await hooks.apply(
        before_tool_call, **sample_arguments("before_tool_call")
    )
    return call


async def reset(hooks: Hooks) -> None:
    await hooks.notify(before_reset, **sample_arguments("before_reset"))


# --- Order ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "options", "expected"),
    [
        ((), {}, "a b c"),
        (("c", "a"), {}, "c a b"),
        (("b", "unknown"), {}, "b a c"),
        ((), {"c": {"tryfirst": True}}, "c a b"),
        ((), {"a": {"trylast": True}}, "b c a"),
        (("b",), {"c": {"tryfirst": True}}, "c b a"),
        (("a", "c"), {"a": {"trylast": True}}, "c b a"),
        ((), {"a": {"tryfirst": True}, "c": {"tryfirst": True}}, "a c b"),
        (("c",), {"a": {"trylast": True}, "c": {"trylast": True}}, "b c a"),
    ],
)
async def test_order_is_config_then_name_around_it_first_and_last(
    order: tuple[str, ...], options: dict[str, dict[str, bool]], expected: str
) -> None:
    plugins = {n: plugin(appends(n), **options.get(n, {})) for n in ("b", "c", "a")}
    hooks = registered(plugins, order=order)
    assert " ".join(hooks.plugins_on("llm_input")) == expected
    assert await system_after(hooks) == expected
    assert hooks.plugins_on("llm_output") == ()


async def test_an_implementation_may_have_another_name() -> None:
    async def redact(request: ModelRequest) -> ModelRequest:
        return dataclasses.replace(request, system="redacted")

    hooks = registered({"a": plugin(redact, specname="llm_input")})
    assert await system_after(hooks) == "redacted"


# --- Observers ------------------------------------------------------------------


async def test_observers_run_at_once() -> None:
    met = [anyio.Event(), anyio.Event()]

    def meets(mine: int) -> Hook:
        async def before_reset() -> None:
            met[mine].set()
            await met[1 - mine].wait()

        return before_reset

    hooks = registered({"a": plugin(meets(0)), "b": plugin(meets(1))})
    with anyio.fail_after(5):
        await reset(hooks)
    assert not hooks.fault_counts


@pytest.mark.parametrize(
    "bad", [raises("before_reset", ValueError("broken")), sleeps("before_reset")]
)
async def test_a_failing_observer_harms_nobody(
    bad: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    faults: list[HookFault] = []
    log: list[str] = []

    async def before_reset(reason: str) -> None:
        await checkpoint()
        log.append(reason)

    hooks = registered(
        {
            "a": plugin(notes("before_reset", log, "a")),
            "b": plugin(bad),
            "c": plugin(before_reset),
        },
        budget_seconds=0.05,
        on_fault=faults.append,
    )
    await reset(hooks)
    assert sorted(log) == ["a", "reset"]
    assert [(fault.plugin, fault.hook) for fault in faults] == [("b", "before_reset")]
    assert hooks.fault_counts == {"b": 1}
    assert "plugin 'b', hook 'before_reset'" in caplog.text


async def test_a_hook_without_implementations_costs_nothing() -> None:
    hooks = Hooks()
    await reset(hooks)
    given = sample_arguments("llm_input")
    assert await hooks.apply(llm_input, **given) is given["request"]


async def test_an_implementation_names_only_what_it_wants() -> None:
    seen: list[object] = []

    class Watcher:
        @hookimpl
        async def message_sent(self, sent: object, context: object) -> None:
            seen.extend([context, sent])

        @hookimpl
        async def gateway_stop(self) -> None:
            seen.append("stopped")

    hooks = registered({"a": Watcher()})
    given = sample_arguments("message_sent")
    await hooks.notify(hookspecs.message_sent, **given)
    gateway: Any = object()
    await hooks.notify(hookspecs.gateway_stop, gateway=gateway, reason="closed")
    assert seen == [given["context"], given["sent"], "stopped"]


async def test_arguments_may_also_be_given_by_position() -> None:
    log: list[str] = []
    hooks = registered({"a": plugin(notes("before_reset", log, "called"))})
    await hooks.notify(before_reset, sample_arguments("before_reset")["context"], "x")
    assert log == ["called"]


@pytest.mark.parametrize("error", [Veto("no"), Ask("may I?")])
@pytest.mark.parametrize("hook", ["before_reset", "llm_input"])
async def test_only_a_guard_may_veto_or_ask(error: Exception, hook: str) -> None:
    """Elsewhere it stops nothing, and the author must be told."""
    hooks = registered({"a": plugin(raises(hook, error))})
    await reset(hooks)
    assert await system_after(hooks) == ""
    assert hooks.fault_counts == {"a": 1}


# --- Transforms -----------------------------------------------------------------


async def test_each_transform_sees_the_last_value() -> None:
    async def llm_input(request: ModelRequest) -> None:
        assert request.system == "one"

    hooks = registered(
        {"a": plugin(appends("one")), "b": plugin(llm_input), "c": plugin(appends("2"))}
    )
    assert await system_after(hooks) == "one 2"
    assert not hooks.fault_counts


@pytest.mark.parametrize(
    "bad", [raises("llm_input", ValueError("broken")), sleeps("llm_input")]
)
async def test_a_failing_transform_keeps_the_value(bad: Hook) -> None:
    hooks = registered(
        {"a": plugin(appends("one")), "b": plugin(bad), "c": plugin(appends("two"))},
        budget_seconds=0.05,
    )
    assert await system_after(hooks) == "one two"
    assert hooks.fault_counts == {"b": 1}


async def test_values_are_frozen() -> None:
    async def llm_input(request: Any) -> None:
        request.system = "mine"

    hooks = registered({"a": plugin(llm_input)})
    assert await system_after(hooks) == ""
    assert hooks.fault_counts == {"a": 1}


# --- Guards ---------------------------------------------------------------------


async def test_a_guard_rewrites_the_action() -> None:
    hooks = registered({"a": plugin(adds("a")), "b": plugin(adds("b"))})
    assert (await guarded(hooks)).arguments == {"city": "Oslo", "a": True, "b": True}


async def test_a_veto_stops_the_action_and_the_guards_after_it() -> None:
    log: list[str] = []
    hooks = registered(
        {
            "a": plugin(raises("before_tool_call", Veto("not on my watch"))),
            "b": plugin(notes("before_tool_call", log, "called")),
        }
    )
    with pytest.raises(Veto) as vetoed:
        await guarded(hooks)
    assert vetoed.value.reason == "not on my watch"
    assert (log, hooks.fault_counts) == ([], {})


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (raises("before_tool_call", ValueError("broken")), "broken"),
        (raises("before_tool_call", ValueError()), "ValueError"),
        (sleeps("before_tool_call"), "took longer than 0.05 s"),
    ],
)
async def test_a_failing_guard_fails_closed_unless_it_may_fail_open(
    bad: Hook, reason: str
) -> None:
    plugins = {"bad": plugin(bad), "good": plugin(adds("good"))}
    with pytest.raises(Veto) as vetoed:
        await guarded(registered(plugins, budget_seconds=0.05))
    assert vetoed.value.reason == f"guard 'bad' failed ({reason}); it fails closed"

    opened = registered(plugins, budget_seconds=0.05, fail_open=frozenset({"bad"}))
    assert (await guarded(opened)).arguments["good"]
    assert opened.fault_counts == {"bad": 1}


async def test_asking_waits_for_the_guards_after_it() -> None:
    hooks = registered(
        {
            "a": plugin(adds("a")),
            "b": plugin(raises("before_tool_call", Ask("first?"))),
            "c": plugin(adds("c")),
            "d": plugin(raises("before_tool_call", Ask("second?"))),
        }
    )
    with pytest.raises(Ask) as asked:
        await guarded(hooks)
    assert asked.value.reason == "first?; second?"
    assert isinstance(asked.value.value, ToolCall)
    assert asked.value.value.arguments == {"city": "Oslo", "a": True, "c": True}
    assert not hooks.fault_counts


async def test_a_veto_outdoes_a_question() -> None:
    hooks = registered(
        {
            "a": plugin(raises("before_tool_call", Ask("may I?"))),
            "b": plugin(raises("before_tool_call", Veto("no"))),
        }
    )
    with pytest.raises(Veto, match="no"):
        await guarded(hooks)


# --- Budgets and cancellation ---------------------------------------------------


async def test_the_budget_cancels() -> None:
    ended = anyio.Event()

    async def before_reset() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    hooks = registered({"a": plugin(before_reset)}, budget_seconds=0.02)
    await reset(hooks)
    assert ended.is_set()
    assert hooks.fault_counts == {"a": 1}


async def test_the_budget_holds_for_a_decorated_hook() -> None:
    """What waits may be the decorator, and not the function in it."""

    def patient(function: Hook) -> Hook:
        @functools.wraps(function)
        async def wrapper(context: object) -> Any:
            await anyio.sleep_forever()

        return wrapper

    @patient
    async def before_reset(context: object) -> None:
        pass

    hooks = registered({"a": plugin(before_reset)}, budget_seconds=0.02)
    with anyio.move_on_after(0.5) as scope:
        await reset(hooks)
    assert not scope.cancelled_caught
    assert hooks.fault_counts == {"a": 1}


async def test_budget_zero_is_no_deadline() -> None:
    hooks = registered({"a": plugin(sleeps("before_reset"))}, budget_seconds=0)
    with anyio.move_on_after(0.05) as scope:
        await reset(hooks)
    assert scope.cancelled_caught
    assert not hooks.fault_counts


@pytest.mark.parametrize("hook", ["before_reset", "llm_input", "before_tool_call"])
async def test_cancellation_passes_through_and_is_nobodys_fault(hook: str) -> None:
    hooks = registered({"a": plugin(sleeps(hook)), "b": plugin(sleeps(hook))})
    with anyio.move_on_after(0.02) as scope:
        await reset(hooks)
        await system_after(hooks)
        await guarded(hooks)
    assert scope.cancelled_caught
    assert not hooks.fault_counts


async def test_a_timeout_of_the_plugins_own_is_told_as_such() -> None:
    faults: list[HookFault] = []
    error = TimeoutError("the weather service is slow")
    hooks = registered(
        {"a": plugin(raises("before_reset", error))}, on_fault=faults.append
    )
    await reset(hooks)
    assert [fault.reason for fault in faults] == [
        "raised TimeoutError: the weather service is slow"
    ]


# --- Blocking -------------------------------------------------------------------


class Clock:
    """A clock that only a test can move."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(dispatcher, "perf_counter", clock)
    return clock


@pytest.mark.parametrize("waits", [True, False])
async def test_a_long_step_holds_the_event_loop(clock: Clock, waits: bool) -> None:
    faults: list[HookFault] = []

    async def busy() -> None:
        clock.now += BLOCKING_SECONDS * 2

    async def before_reset() -> None:
        await checkpoint()
        await busy()

    chosen = before_reset if waits else busy
    hooks = registered(
        {"a": plugin(chosen, specname="before_reset")}, on_fault=faults.append
    )
    await reset(hooks)
    assert [fault.reason for fault in faults] == ["held the event loop for 0.20 s"]


async def test_many_short_steps_are_welcome(clock: Clock) -> None:
    async def before_reset() -> None:
        for _ in range(10):
            clock.now += BLOCKING_SECONDS / 2
            await checkpoint()

    hooks = registered({"a": plugin(before_reset)})
    await reset(hooks)
    assert not hooks.fault_counts


async def test_a_value_that_came_late_still_counts(clock: Clock) -> None:
    async def llm_input(request: ModelRequest) -> ModelRequest:
        clock.now += 1
        return dataclasses.replace(request, system="late")

    hooks = registered({"a": plugin(llm_input)})
    assert await system_after(hooks) == "late"
    assert hooks.fault_counts == {"a": 1}


# --- Three faults ---------------------------------------------------------------


@pytest.mark.parametrize("hook", ["before_reset", "llm_input"])
async def test_three_faults_in_a_row_put_a_plugin_aside(
    hook: str, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[str] = []

    async def implementation() -> None:
        calls.append(hook)
        raise ValueError("broken")

    hooks = registered({"a": plugin(implementation, specname=hook)})
    for _ in range(FAULT_LIMIT + 2):
        await reset(hooks)
        await system_after(hooks)
    assert len(calls) == FAULT_LIMIT
    assert caplog.text.count("not called again until the gateway restarts") == 1
    assert hooks.plugins_on(hook) == ("a",)


async def test_a_success_forgives_the_faults_before() -> None:
    calls: list[int] = []

    async def before_reset() -> None:
        calls.append(1)
        if len(calls) % FAULT_LIMIT:
            raise ValueError("broken")

    hooks = registered({"a": plugin(before_reset)})
    for _ in range(3 * FAULT_LIMIT):
        await reset(hooks)
    assert len(calls) == 3 * FAULT_LIMIT


async def test_faults_on_one_hook_leave_the_plugins_other_hooks() -> None:
    log: list[str] = []
    hooks = registered(
        {
            "a": plugin(
                raises("before_reset", ValueError("broken")),
                notes("agent_end", log, "called"),
            )
        }
    )
    for _ in range(FAULT_LIMIT):
        await reset(hooks)
    await hooks.notify(agent_end, **sample_arguments("agent_end"))
    assert log == ["called"]


async def test_a_guard_is_never_put_aside() -> None:
    hooks = registered({"a": plugin(raises("before_tool_call", ValueError("broken")))})
    for _ in range(FAULT_LIMIT + 2):
        with pytest.raises(Veto):
            await guarded(hooks)


# --- Refusals -------------------------------------------------------------------


class Sync:
    @hookimpl
    def llm_input(self, request: object) -> None: ...


class Misspelt:
    @hookimpl
    async def before_tool_cal(self, call: object) -> None: ...


class Unheard:
    @hookimpl
    async def zzz(self) -> None: ...


class Wrapper:
    @hookimpl(wrapper=True)
    async def llm_input(self, request: object) -> Any:
        yield


class OldWrapper:
    @hookimpl(hookwrapper=True)
    async def llm_input(self, request: object) -> Any:
        yield


class WrongArgument:
    @hookimpl
    async def llm_input(self, prompt: object) -> None: ...


class KeywordOnly:
    @hookimpl
    async def llm_input(self, *, request: object) -> None: ...


class Nothing:
    async def llm_input(self, request: object) -> None: ...


REFUSALS = {
    "sync": (Sync(), "must be an `async def`"),
    "misspelt": (Misspelt(), "'before_tool_cal'; did you mean 'before_tool_call'?"),
    "unheard": (Unheard(), "there is no hook 'zzz'"),
    "wrapper": (Wrapper(), "wrappers are not supported"),
    "old_wrapper": (OldWrapper(), "wrappers are not supported"),
    "wrong_argument": (WrongArgument(), "prompt"),
    "keyword_only": (KeywordOnly(), "request"),
    "nothing": (Nothing(), "implements no hook"),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_what_cannot_work_is_refused_and_the_rest_is_not(name: str) -> None:
    bad, problem = REFUSALS[name]
    hooks = Hooks()
    refused = hooks.register({"a": plugin(appends("one")), name: bad})
    assert list(refused) == [name]
    assert isinstance(refused[name], HookImplError)
    assert refused[name].plugin == name
    assert problem in str(refused[name])
    assert repr(name) in str(refused[name])
    assert await system_after(hooks) == "one"


def test_a_refusal_shows_where_to_look() -> None:
    message = str(Hooks().register({"sync": Sync()})["sync"])
    assert "llm_input(request: " in message
    assert f"{__file__}:{Sync.llm_input.__code__.co_firstlineno}" in message


def test_a_refused_plugin_is_not_half_registered() -> None:
    class Half(Sync):
        @hookimpl
        async def agent_end(self) -> None: ...

    hooks = Hooks()
    assert hooks.register({"half": Half()})
    assert hooks.plugins_on("agent_end") == ()


def test_one_object_under_two_names_is_refused_once() -> None:
    twice = plugin(appends("one"))
    hooks = Hooks()
    assert len(hooks.register({"a": twice, "b": twice})) == 1
    assert len(hooks.plugins_on("llm_input")) == 1


async def test_an_argument_with_a_default_receives_the_value() -> None:
    seen: list[object] = []

    async def llm_input(request: object, context: object = None) -> None:
        seen.append(context)

    hooks = Hooks()
    refused = hooks.register({"a": plugin(llm_input)})
    await system_after(hooks)
    assert refused or seen == [sample_arguments("llm_input")["context"]]


async def test_an_argument_of_its_own_keeps_its_default() -> None:
    async def llm_input(request: ModelRequest, word: str = "mine") -> ModelRequest:
        return dataclasses.replace(request, system=word)

    hooks = Hooks()
    refused = hooks.register({"a": plugin(llm_input)})
    assert refused or await system_after(hooks) == "mine"


@pytest.mark.parametrize("thing", [42, None, "text", Sync])
def test_any_object_may_be_offered(thing: object) -> None:
    assert list(Hooks().register({"a": thing})) == ["a"]


# --- Watching -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("implementation", "outcome"),
    [
        (notes("before_tool_call", [], ""), "ok"),
        (adds("a"), "changed"),
        (raises("before_tool_call", Veto("no")), "veto"),
        (raises("before_tool_call", Ask("may I?")), "ask"),
        (raises("before_tool_call", ValueError("broken")), "error"),
        (sleeps("before_tool_call"), "timeout"),
    ],
)
async def test_monitors_are_told_of_each_call(
    implementation: Hook, outcome: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "rustyclaw.hooks")
    calls: list[HookCall] = []
    hooks = registered({"a": plugin(implementation)}, budget_seconds=0.02)
    hooks.monitor(calls.append)
    hooks.monitor(trace_call)
    with suppress(Veto, Ask):
        await guarded(hooks)
    assert [(c.hook, c.plugin, c.outcome) for c in calls] == [
        ("before_tool_call", "a", outcome)
    ]
    assert calls[0].seconds >= 0
    assert f"hook before_tool_call plugin a {outcome}" in caplog.text


def test_every_spec_says_its_kind_and_its_subject() -> None:
    kinds = {
        name: kind_of(spec)
        for name, spec in vars(hookspecs).items()
        if hasattr(spec, "__rustyclaw_kind__")
    }
    assert len(kinds) == 17
    guards = {name for name, kind in kinds.items() if kind.kind == "guard"}
    assert guards == {"before_tool_call", "message_sending"}
    for name, kind in kinds.items():
        assert (kind.subject == "") == (kind.kind == "observe"), name
    assert kind_of(before_agent_start).subject == "prompt"


def test_the_hooks_are_told_in_the_order_of_a_life() -> None:
    facts = Hooks().facts()

    assert len(facts) == 17
    assert (facts[0][0], facts[-1][0]) == ("gateway_start", "gateway_stop")
    kinds = {name: kind for name, kind, _ in facts}
    assert (kinds["before_tool_call"], kinds["llm_input"]) == ("guard", "transform")
    assert all(doc for _, _, doc in facts)
