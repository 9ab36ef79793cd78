"""Calls hook implementations: three kinds, a time budget, and an honest log.

pluggy keeps the specs, checks signatures and orders implementations. It has no
async (1.7), so the calls are made here, from its public ``get_hookimpls()``,
whose reverse is pluggy's own call order (pinned by a test).
"""

from __future__ import annotations

import difflib
import dis
import inspect
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from types import CodeType
from typing import Any, ParamSpec, TypeVar, cast

import anyio
import pluggy

from rustyclaw import hookspecs
from rustyclaw.errors import Ask, HookImplError, Veto
from rustyclaw.markers import PROJECT, kind_of

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)

#: A step of a hook that holds the event loop longer than this is a fault.
BLOCKING_SECONDS = 0.1
#: An observer or transform is put aside after so many faults in a row.
FAULT_LIMIT = 3

_SUSPENDING = {"GET_AWAITABLE", "GET_AITER", "BEFORE_ASYNC_WITH", "YIELD_VALUE"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HookCall:
    """One call of one implementation, for tracing.

    :param outcome: ``ok``, ``changed``, ``veto``, ``ask``, ``error`` or ``timeout``.
    """

    hook: str
    plugin: str
    seconds: float
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HookFault:
    """Something a plugin did wrong in a hook; doctor shows the stored ones."""

    hook: str
    plugin: str
    reason: str


@dataclass(slots=True)
class _Impl:
    """An implementation, prepared for calling."""

    hook: str
    plugin: str
    function: Callable[..., Coroutine[Any, Any, Any]]
    argnames: tuple[str, ...]
    suspends: bool
    faults: int = 0

    def start(self, arguments: dict[str, Any]) -> Coroutine[Any, Any, Any]:
        return self.function(*[arguments[name] for name in self.argnames])


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
        self._order = order
        self._budget = budget_seconds or float("inf")
        self._fail_open = fail_open
        self._on_fault = on_fault
        self._impls: dict[str, tuple[_Impl, ...]] = {}
        self._monitors: list[Callable[[HookCall], None]] = []
        self.fault_counts: Counter[str] = Counter()

    # --- Registration ---------------------------------------------------------

    def register(self, plugins: dict[str, object]) -> dict[str, HookImplError]:
        """Register plugins by name; return what is wrong with the refused ones."""
        refused = {}
        rank = {name: place for place, name in enumerate(self._order)}
        by_call_order = sorted(plugins, key=lambda n: (rank.get(n, len(rank)), n))
        for name in reversed(by_call_order):  # pluggy calls the last one first
            try:
                self._check(plugins[name], name)
                self._pm.register(plugins[name], name)
            except pluggy.PluginValidationError as exc:
                refused[name] = HookImplError(str(exc), plugin=name)
            except HookImplError as exc:
                refused[name] = exc
        self._impls = {
            name: tuple(map(self._prepare, reversed(caller.get_hookimpls())))
            for name, caller in vars(self._pm.hook).items()
            if isinstance(caller, pluggy.HookCaller)
        }
        return refused

    def plugins_on(self, hook: str) -> tuple[str, ...]:
        """Return the names of the plugins on a hook, in call order."""
        return tuple(impl.plugin for impl in self._impls.get(hook, ()))

    def monitor(self, callback: Callable[[HookCall], None]) -> None:
        """Have ``callback`` told of every call from now on; it must be quick."""
        self._monitors.append(callback)

    def _check(self, plugin: object, name: str) -> None:
        found = False
        for attribute in dir(plugin):
            options = self._pm.parse_hookimpl_opts(plugin, attribute)
            if options is None:
                continue
            found = True
            function = getattr(plugin, attribute)
            hook = options["specname"] or attribute
            if not hasattr(self._pm.hook, hook):
                near = difflib.get_close_matches(hook, dir(hookspecs), 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                problem = f"there is no hook {hook!r}{hint}"
            elif options["wrapper"] or options["hookwrapper"]:
                problem = "wrappers are not supported; use two hooks instead"
            elif not inspect.iscoroutinefunction(function):
                problem = "it must be an `async def`"
            else:
                continue
            where = inspect.unwrap(function).__code__
            raise HookImplError(
                f"plugin {name!r}, hook {attribute}{inspect.signature(function)} "
                f"({where.co_filename}:{where.co_firstlineno}): {problem}",
                plugin=name,
            )
        if not found:
            raise HookImplError(
                f"plugin {name!r} implements no hook; mark its functions "
                "with `@hookimpl`",
                plugin=name,
            )

    def _prepare(self, impl: pluggy.HookImpl) -> _Impl:
        function = cast("Callable[..., Coroutine[Any, Any, Any]]", impl.function)
        return _Impl(
            hook=impl.opts.get("specname") or function.__name__,
            plugin=impl.plugin_name,
            function=function,
            argnames=tuple(impl.argnames),
            suspends=_can_suspend(inspect.unwrap(function).__code__),
        )

    # --- Calls ----------------------------------------------------------------

    async def notify(
        self, spec: Callable[P, Awaitable[None]], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Call an observing hook; returns when all implementations have ended."""
        impls = self._impls.get(spec.__name__, ())
        waiting = []
        for impl in impls:
            if impl.faults >= FAULT_LIMIT:
                continue
            if impl.suspends:
                waiting.append(impl)
            else:  # without an await in its body it cannot suspend: no task needed
                await self._guarded(impl, kwargs)
        if len(waiting) == 1:
            await self._guarded(waiting[0], kwargs)
        elif waiting:
            async with anyio.create_task_group() as group:
                for impl in waiting:
                    group.start_soon(self._guarded, impl, kwargs)

    async def apply(
        self, spec: Callable[P, Awaitable[T | None]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a transforming hook or a guard; return the subject as they left it.

        :raises Veto: A guard forbade the action, or failed.
        :raises Ask: A guard wants an operator's word; ``value`` is the subject.
        """
        kind, subject = kind_of(spec)
        asked: Ask | None = None
        for impl in self._impls.get(spec.__name__, ()):
            if kind == "guard":
                try:
                    answer = await self._call(impl, kwargs)
                except Ask as exc:
                    asked = asked or exc  # a later guard may still forbid it
                    continue
                except Veto:
                    raise
                except Exception as exc:
                    if impl.plugin in self._fail_open:
                        continue
                    raise Veto(
                        f"guard {impl.plugin!r} failed ({exc or type(exc).__name__}); "
                        "it fails closed"
                    ) from exc
            elif impl.faults >= FAULT_LIMIT:
                continue
            else:
                answer = await self._guarded(impl, kwargs)
            if answer is not None:
                kwargs[subject] = answer
        value = cast("T", kwargs[subject])
        if asked is not None:
            raise Ask(asked.reason, value)
        return value

    async def _guarded(self, impl: _Impl, arguments: dict[str, Any]) -> Any:
        """Call an implementation whose failure must not matter."""
        try:
            return await self._call(impl, arguments)
        except Exception:  # recorded by _call
            return None

    async def _call(self, impl: _Impl, arguments: dict[str, Any]) -> Any:
        stepped = _Stepped(impl.start(arguments))
        started = perf_counter()
        outcome = "ok"
        try:
            if impl.suspends:
                with anyio.fail_after(self._budget):
                    answer = await stepped
            else:
                answer = await stepped
            outcome = "ok" if answer is None else "changed"
        except (Veto, Ask) as exc:
            outcome = type(exc).__name__.lower()
            raise
        except TimeoutError:
            outcome = "timeout"
            self._fault(impl, f"took longer than {self._budget:g} s")
            raise TimeoutError(f"took longer than {self._budget:g} s") from None
        except Exception as exc:
            outcome = "error"
            self._fault(impl, f"raised {type(exc).__name__}: {exc}", exc)
            raise
        finally:
            seconds = perf_counter() - started
            for monitor in self._monitors:
                monitor(
                    HookCall(
                        hook=impl.hook,
                        plugin=impl.plugin,
                        seconds=seconds,
                        outcome=outcome,
                    )
                )
        if stepped.longest > BLOCKING_SECONDS:
            self._fault(impl, f"held the event loop for {stepped.longest:.2f} s")
        else:
            impl.faults = 0
        return answer

    def _fault(self, impl: _Impl, reason: str, error: Exception | None = None) -> None:
        impl.faults += 1
        self.fault_counts[impl.plugin] += 1
        tail = ""
        if (
            impl.faults == FAULT_LIMIT
            and kind_of(getattr(hookspecs, impl.hook)).kind != "guard"
        ):
            tail = "; it is not called again until the gateway restarts"
        logger.warning(
            "plugin %r, hook %r: %s%s",
            impl.plugin,
            impl.hook,
            reason,
            tail,
            exc_info=error,
        )
        self._on_fault(HookFault(hook=impl.hook, plugin=impl.plugin, reason=reason))


def trace_call(call: HookCall) -> None:
    """Log a hook call; the monitor behind ``RUSTYCLAW_TRACE_HOOKS=1``."""
    logger.info(
        "hook %s plugin %s %s %.1f us",
        call.hook,
        call.plugin,
        call.outcome,
        call.seconds * 1e6,
    )


def _can_suspend(code: CodeType) -> bool:
    """Return whether a coroutine's own body holds an await of any form."""
    names = [i.opname for i in dis.get_instructions(code)]
    # Each coroutine of 3.11+ starts with RETURN_GENERATOR, POP_TOP, RESUME.
    return any(name in _SUSPENDING or name == "SEND" for name in names)
