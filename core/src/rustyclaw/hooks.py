"""Calls hook implementations: three kinds, a time budget, and an honest log.

pluggy keeps the specs and checks implementations against them. It has no async
(1.7), so the calls are made here, from its public ``get_hookimpls()``.
"""

from __future__ import annotations

import dis
import inspect
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple, ParamSpec, TypeVar, cast

import anyio
import pluggy

from rustyclaw import hookspecs
from rustyclaw.errors import Ask, HookImplError, Veto
from rustyclaw.markers import PROJECT, HookKind, kind_of
from rustyclaw.messages import HookContext

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)

#: A step of a hook that holds the event loop longer than this is a fault.
BLOCKING_SECONDS = 0.1
#: An observer or transform is put aside after so many faults in a row.
FAULT_LIMIT = 3


class HookCall(NamedTuple):
    """One call; ``outcome``: ok, changed, veto, ask, error, timeout, cancelled.

    ``context`` says where; hooks of the gateway itself have none.
    """

    hook: str
    plugin: str
    seconds: float
    outcome: str
    context: HookContext | None


class HookFault(NamedTuple):
    """Something a plugin did wrong in a hook; doctor shows the stored ones."""

    hook: str
    plugin: str
    reason: str


@dataclass(slots=True)
class _Impl:
    """An implementation, prepared for calling."""

    hook: str
    kind: HookKind
    plugin: str
    function: Callable[..., Coroutine[Any, Any, Any]]
    arguments: tuple[str, ...]
    suspends: bool
    faults: int = 0


class _Stepped:
    """Awaits a coroutine and remembers its longest step on the event loop."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine
        self.longest = 0.0

    def __await__(self) -> Generator[Any, Any, Any]:
        step: Callable[[], Any] = partial(self._coroutine.send, None)
        while True:
            started = perf_counter()
            try:
                waiting_for = step()
            except StopIteration as done:
                return done.value
            finally:
                self.longest = max(self.longest, perf_counter() - started)
            try:
                step = partial(self._coroutine.send, (yield waiting_for))
            except BaseException as exc:  # cancellation, thrown by the event loop
                step = partial(self._coroutine.throw, exc)


class Hooks:
    """The registered hook plugins, and the only way to call them.

    :param order: Plugin names in the order in which they are called.
    :param budget_seconds: Deadline of one implementation; 0 means none.
    :param fail_open: Plugins whose failing guards do not stop the action.
    :param on_fault: Told about every fault.
    """

    def __init__(
        self,
        *,
        order: tuple[str, ...] = (),
        budget_seconds: float = 5.0,
        fail_open: frozenset[str] = frozenset(),
        on_fault: Callable[[HookFault], None] = lambda fault: None,
    ) -> None:
        self._pm = pluggy.PluginManager(PROJECT)
        self._pm.add_hookspecs(hookspecs)
        self._rank = {name: place for place, name in enumerate(order)}
        self._budget = budget_seconds or float("inf")
        self._fail_open = fail_open
        self._on_fault = on_fault
        self._impls: dict[str, list[_Impl]] = {}
        self._monitors: list[Callable[[HookCall], None]] = []
        self.fault_counts: Counter[str] = Counter()

    # --- Registration ---------------------------------------------------------

    def register(self, plugins: dict[str, object]) -> dict[str, HookImplError]:
        """Register plugins by name; return what is wrong with the refused ones."""
        refused = {}
        for name in sorted(plugins):
            try:
                self._check(plugins[name], name)
                self._pm.register(plugins[name], name)
            except (pluggy.PluginValidationError, ValueError) as exc:
                refused[name] = HookImplError(f"plugin {name!r}: {exc}", plugin=name)
            except HookImplError as exc:
                refused[name] = exc
        for hook, caller in vars(self._pm.hook).items():
            if isinstance(caller, pluggy.HookCaller):
                impls = sorted(caller.get_hookimpls(), key=self._place)
                self._impls[hook] = [_prepare(hook, impl) for impl in impls]
        return refused

    def facts(self) -> list[tuple[str, str, str]]:
        """Return name, kind and first line of documentation of all hooks, in order."""
        specs = [
            s for s in vars(hookspecs).values() if hasattr(s, "__rustyclaw_kind__")
        ]
        return [(s.__name__, kind_of(s).kind, s.__doc__.split("\n")[0]) for s in specs]

    def plugins_on(self, hook: str) -> tuple[str, ...]:
        """Return the names of the plugins on a hook, in call order."""
        return tuple(impl.plugin for impl in self._impls.get(hook, ()))

    def monitor(self, callback: Callable[[HookCall], None]) -> None:
        """Have ``callback`` told of every call from now on; it must be quick."""
        self._monitors.append(callback)

    def _place(self, impl: pluggy.HookImpl) -> tuple[int, int, str]:
        rank = self._rank.get(impl.plugin_name, len(self._rank))
        return impl.trylast - impl.tryfirst, rank, impl.plugin_name

    def _check(self, plugin: object, name: str) -> None:
        marked = [(a, self._pm.parse_hookimpl_opts(plugin, a)) for a in dir(plugin)]
        found = [(attribute, options) for attribute, options in marked if options]
        if inspect.isclass(plugin) or not found:
            problem = "implements no hook; mark functions with `@hookimpl`"
            raise HookImplError(f"plugin {name!r} {problem}", plugin=name)
        for attribute, options in found:
            function = getattr(plugin, attribute)
            hook = options["specname"] or attribute
            kinds = {p.kind for p in inspect.signature(function).parameters.values()}
            if not hasattr(self._pm.hook, hook):
                from difflib import get_close_matches  # seldom needed

                near = get_close_matches(hook, dir(hookspecs), 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                problem = f"there is no hook {hook!r}{hint}"
            elif options["wrapper"] or options["hookwrapper"]:
                problem = "wrappers are not supported; use two hooks instead"
            elif not inspect.iscoroutinefunction(function):
                problem = "it must be an `async def`"
            elif kinds - {inspect.Parameter.POSITIONAL_OR_KEYWORD}:
                problem = "its arguments must be plain ones, without `*`"
            else:
                continue
            code = getattr(inspect.unwrap(function), "__code__", None)
            where = f"{code.co_filename}:{code.co_firstlineno}" if code else "?"
            raise HookImplError(
                f"plugin {name!r}, hook {attribute}{inspect.signature(function)} "
                f"({where}): {problem}",
                plugin=name,
            )

    # --- Calls ----------------------------------------------------------------

    async def notify(
        self, spec: Callable[P, Awaitable[None]], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Call an observing hook; returns when all implementations have ended."""
        if not (impls := self._impls.get(spec.__name__)):
            return
        arguments = _named(spec, args, kwargs)
        waiting = []
        for impl in impls:
            if impl.suspends:
                waiting.append(impl)
            else:  # without an await in its body it cannot suspend: no task needed
                await self._harmless(impl, arguments)
        if len(waiting) == 1:
            await self._harmless(waiting[0], arguments)
        elif waiting:
            async with anyio.create_task_group() as group:
                for impl in waiting:
                    group.start_soon(self._harmless, impl, arguments)

    async def apply(
        self, spec: Callable[P, Awaitable[T | None]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a transforming hook or a guard; return the subject as they left it.

        :raises Veto: A guard forbade the action, or failed.
        :raises Ask: A guard wants an operator's word; ``value`` is the subject.
        """
        arguments = _named(spec, args, kwargs)
        subject = kind_of(spec).subject
        asked: list[Ask] = []
        for impl in self._impls.get(spec.__name__, ()):
            call = self._guard if impl.kind.kind == "guard" else self._harmless
            try:
                answer = await call(impl, arguments)
            except Ask as exc:
                asked.append(exc)  # a later guard may still forbid it
                continue
            if answer is not None:
                arguments[subject] = answer
        if asked:  # "always" to the key of one guard says nothing about another's
            reason = "; ".join(dict.fromkeys(exc.reason for exc in asked))
            key = asked[0].key if len(asked) == 1 else ""
            raise Ask(reason, arguments[subject], key=key)
        return cast("T", arguments[subject])

    async def _harmless(self, impl: _Impl, arguments: dict[str, Any]) -> Any:
        """Call an implementation whose failure must not matter."""
        if impl.faults < FAULT_LIMIT:
            try:
                return await self._call(impl, arguments)
            except Exception:  # it is recorded
                return None

    async def _guard(self, impl: _Impl, arguments: dict[str, Any]) -> Any:
        """Call an implementation whose failure is a veto."""
        try:
            return await self._call(impl, arguments)
        except (Veto, Ask):
            raise
        except Exception as exc:
            if impl.plugin in self._fail_open:
                return None
            problem = str(exc) or type(exc).__name__
            raise Veto(
                f"guard {impl.plugin!r} failed ({problem}); it fails closed"
            ) from exc

    async def _call(self, impl: _Impl, arguments: dict[str, Any]) -> Any:
        values = [arguments[name] for name in impl.arguments]
        stepped = _Stepped(impl.function(*values))
        started = perf_counter()
        outcome = "cancelled"
        try:
            if impl.suspends:
                with anyio.move_on_after(self._budget) as deadline:
                    answer = await stepped
                if deadline.cancelled_caught:
                    outcome = "timeout"
                    raise TimeoutError(f"took longer than {self._budget:g} s")
            else:
                answer = await stepped
            subject = arguments.get(impl.kind.subject)
            if subject is not None and not isinstance(answer, type(subject) | None):
                raise TypeError(f"it returned {answer!r:.80}")
            outcome = "ok" if answer is None else "changed"
        except Exception as exc:
            if isinstance(exc, Veto | Ask) and impl.kind.kind == "guard":
                outcome = type(exc).__name__.lower()
            elif outcome == "timeout":
                self._fault(impl, str(exc))
            else:
                outcome = "error"
                self._fault(impl, f"raised {type(exc).__name__}: {exc}", exc)
            raise
        finally:
            seconds = perf_counter() - started
            for monitor in self._monitors:
                context = arguments.get("context")
                monitor(HookCall(impl.hook, impl.plugin, seconds, outcome, context))
        if stepped.longest > BLOCKING_SECONDS:
            self._fault(impl, f"held the event loop for {stepped.longest:.2f} s")
        else:
            impl.faults = 0
        return answer

    def _fault(self, impl: _Impl, reason: str, error: Exception | None = None) -> None:
        impl.faults += 1
        self.fault_counts[impl.plugin] += 1
        last = impl.faults == FAULT_LIMIT and impl.kind.kind != "guard"
        tail = "; it is not called again until the gateway restarts" if last else ""
        text = "plugin %r, hook %r: %s%s"
        logger.warning(text, impl.plugin, impl.hook, reason, tail, exc_info=error)
        self._on_fault(HookFault(impl.hook, impl.plugin, reason))


def trace_call(call: HookCall) -> None:
    """Log a hook call; the monitor behind ``RUSTYCLAW_TRACE_HOOKS=1``."""
    text = "hook %s plugin %s %s %.1f us"
    logger.info(text, call.hook, call.plugin, call.outcome, call.seconds * 1e6)


def _named(spec: Callable[..., Any], args: Any, kwargs: Any) -> dict[str, Any]:
    names = spec.__code__.co_varnames if args else ()
    return {**dict(zip(names, args, strict=False)), **kwargs}


def _prepare(hook: str, impl: pluggy.HookImpl) -> _Impl:
    function = cast("Callable[..., Coroutine[Any, Any, Any]]", impl.function)
    spec = getattr(hookspecs, hook)
    known = spec.__code__.co_varnames  # a default may be of the plugin's own
    arguments = (*impl.argnames, *(n for n in impl.kwargnames if n in known))
    kind = kind_of(spec)
    suspends = _can_suspend(function)
    return _Impl(hook, kind, impl.plugin_name, function, arguments, suspends)


def _can_suspend(function: Callable[..., Any]) -> bool:
    """Return whether a coroutine function's own body may hold an await."""
    code = getattr(function, "__code__", None)
    awaits = {"GET_AWAITABLE", "GET_AITER", "GET_ANEXT", "BEFORE_ASYNC_WITH", "SEND"}
    return code is None or any(i.opname in awaits for i in dis.get_instructions(code))
