"""What plugins add to a running gateway: tools, methods and webhook routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rustyclaw.errors import PluginConflict

T = TypeVar("T")


class Caller:
    """Who calls a method. This one is code of this process, which may do anything.

    :ivar role: ``operator`` or ``node``.
    :ivar scopes: What the caller was granted.
    :ivar strict: Whether parameters that a method does not know are an error.
    """

    role: str = "operator"
    scopes: frozenset[str] = frozenset({"operator.admin"})
    strict: bool = True

    def progress(self, payload: Any) -> None:
        """Take a first answer of a method that will answer once more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A gateway method: JSON parameters in, a JSON value out.

    :param scope: What a caller from outside must have been granted; ``node`` is for
        callers of that role alone.
    :param params: The model of the parameters, for documentation.
    :param result: The model of the answer, likewise.
    :param listed: Whether clients are told of it.
    """

    name: str
    handler: Callable[[Mapping[str, Any], Caller], Awaitable[Any]]
    scope: str = "operator.admin"
    summary: str = ""
    params: type[Any] | None = None
    result: type[Any] | None = None
    listed: bool = True


class Registry(Generic[T]):
    """Things by name, each with the plugin that owns it.

    :param noun: What they are, for error messages.
    """

    def __init__(self, noun: str, name_of: Callable[[T], str]) -> None:
        self._noun, self._name_of = noun, name_of
        self._things: dict[str, tuple[T, str]] = {}

    def add(self, thing: T, *, owner: str) -> None:
        """Add a thing that the plugin ``owner`` brought.

        :raises PluginConflict: Its name is taken.
        """
        name = self._name_of(thing)
        if name in self._things:
            raise PluginConflict(
                f"{self._noun} {name!r} of plugin {owner!r} is already offered by "
                f"plugin {self._things[name][1]!r}; put one in plugins.deny",
                plugin=owner,
            )
        self._things[name] = (thing, owner)

    def remove(self, owner: str) -> None:
        """Remove all that a plugin brought."""
        self._things = {n: t for n, t in self._things.items() if t[1] != owner}

    def get(self, name: str) -> T | None:
        """Return a thing by name, or ``None``."""
        return self._things[name][0] if name in self._things else None

    def owner(self, name: str) -> str:
        """Return the plugin that brought a thing."""
        return self._things[name][1]

    def __iter__(self) -> Iterator[T]:
        return (self._things[name][0] for name in sorted(self._things))
