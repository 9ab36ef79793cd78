"""What plugins add to a running gateway: tools, methods and webhook routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rustyclaw.errors import PluginConflict

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A gateway method: JSON parameters in, a JSON value out.

    :param scope: What a caller from outside must have been granted.
    """

    name: str
    handler: Callable[[Mapping[str, Any]], Awaitable[Any]]
    scope: str = "admin"


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
