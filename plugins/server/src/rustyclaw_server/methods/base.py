"""How a method is written.

::

    class DoubleParams(Wire):
        n: int = Field(ge=0)

    class DoubleResult(Wire):
        doubled: int

    @method("double", scope=READ, params=DoubleParams, result=DoubleResult)
    async def double(params: DoubleParams, context: Context) -> DoubleResult:
        \"\"\"Double a number.\"\"\"
        return DoubleResult(doubled=params.n * 2)

Parameters arrive validated. Only the fields of a result that were set are sent.
A refusal is a `rustyclaw.MethodError`; its code is one of those on the wire.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import anyio.to_thread
from pydantic import ConfigDict, ValidationError
from rustyclaw import Busy, Caller, Method, MethodError, RustyclawError

from rustyclaw_server.methods.index import INDEX, UNLISTED
from rustyclaw_server.wire.connection import Answering
from rustyclaw_server.wire.frames import Wire, problems, validate

if TYPE_CHECKING:
    from rustyclaw import Gateway

    from rustyclaw_server.server import Server
    from rustyclaw_server.wire.connection import Connection

P = TypeVar("P", bound=Wire)

#: The groups, in the order in which the reference lists them.
GROUPS = (
    *("system", "logs", "usage", "config", "models", "agents", "agentfiles", "skills"),
    *("channels", "pairing", "sending", "tools", "plugins", "hooks", "chat", "runs"),
    *("sessions", "sessionchanges", "devices", "nodepairing", "approvals", "nodes"),
)
#: Groups that speak for plugins which are not there.
FALLBACK_GROUPS = ("fallbacks",)

Handler = Callable[[Mapping[str, Any], Caller], Awaitable[Any]]


class Nothing(Wire):
    """No parameters."""


class Anything(Wire):
    """Parameters that nobody looks at."""

    model_config = ConfigDict(extra="allow")


class Loose(Wire):
    """A result whose further keys depend on what there is to tell."""

    model_config = ConfigDict(extra="allow")


@dataclass(frozen=True, slots=True)
class Context:
    """Where a method runs."""

    server: Server
    caller: Caller

    @property
    def gateway(self) -> Gateway:
        """The gateway that is called."""
        return self.server.gateway

    @property
    def connection(self) -> Connection | None:
        """The client that calls; ``None`` for HTTP and code of this process."""
        caller = self.caller
        return caller.connection if isinstance(caller, Answering) else None


@dataclass(frozen=True, slots=True)
class _Spec:
    name: str
    scope: str
    params: type[Wire]
    result: type[Wire] | None
    listed: bool


def method(
    name: str,
    *,
    scope: str,
    params: type[P],
    result: type[Wire] | None = None,
    listed: bool = True,
) -> Callable[
    [Callable[[P, Context], Awaitable[Any]]], Callable[[P, Context], Awaitable[Any]]
]:
    """Mark a function as a method; the first line of its docstring documents it.

    :param scope: What a caller must have been granted; see `auth.scopes`.
    :param listed: Whether ``hello-ok`` names it.
    """

    def mark(
        function: Callable[[P, Context], Awaitable[Any]],
    ) -> Callable[[P, Context], Awaitable[Any]]:
        function.__method__ = _Spec(name, scope, params, result, listed)  # type: ignore[attr-defined]  # ours
        return function

    return mark


def methods_of(server: Server, groups: Iterable[str]) -> Iterator[Method]:
    """Yield the methods of groups, each imported when it is called first.

    Scope and name come from the `index`, which is written from the modules.
    """
    groups = frozenset(groups)
    for name, (group, scope) in INDEX.items():
        if group in groups:
            handler = _late(server, group, name)
            listed = name not in UNLISTED
            yield Method(name=name, handler=handler, scope=scope, listed=listed)


def _late(server: Server, group: str, name: str) -> Handler:
    found: Handler | None = None

    def find() -> Handler:
        function = next(f for f in functions_of(group) if f.__method__.name == name)
        return _bound(server, function.__method__, function)

    async def handle(raw: Mapping[str, Any], caller: Caller) -> Any:
        nonlocal found
        if found is None:
            # Found anew by two at the same time it is the same: imports have a lock.
            found = handler = await anyio.to_thread.run_sync(find)
            return await handler(raw, caller)
        return await found(raw, caller)

    return handle


def functions_of(group: str) -> Iterator[Any]:
    """Yield what a group's module marks with `method`; imports it."""
    module = import_module(f"rustyclaw_server.methods.{group}")
    return (thing for thing in vars(module).values() if hasattr(thing, "__method__"))


def _bound(server: Server, spec: _Spec, function: Callable[..., Any]) -> Handler:
    async def handle(raw: Mapping[str, Any], caller: Caller) -> Any:
        try:
            params = validate(spec.params, raw, strict=caller.strict)
        except ValidationError as exc:
            text = f"invalid {spec.name} params: {problems(exc)}"
            raise MethodError(text) from None
        try:
            return await function(params, Context(server, caller))
        except Busy as exc:
            raise MethodError(str(exc), code="UNAVAILABLE") from exc
        except MethodError:
            raise
        except RustyclawError as exc:  # what it was told to do cannot be done
            raise MethodError(str(exc)) from exc

    return handle
