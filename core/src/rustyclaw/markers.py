"""How hooks are declared: one marker for authors, three kinds for the specs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeVar

import pluggy

PROJECT = "rustyclaw"

_F = TypeVar("_F", bound=Callable[..., Any])
_hookspec = pluggy.HookspecMarker(PROJECT)

#: Marks a function or method of a plugin as the implementation of a hook;
#: takes pluggy's ``tryfirst`` and ``trylast``.
hookimpl = pluggy.HookimplMarker(PROJECT)


class HookKind(NamedTuple):
    """How the answers of a hook combine.

    :param kind: ``observe``, ``transform`` or ``guard``.
    :param subject: The argument that is handed on; empty for observers.
    """

    kind: Literal["observe", "transform", "guard"]
    subject: str = ""


def kind_of(spec: Callable[..., Any]) -> HookKind:
    """Return the kind that a spec function was declared with."""
    kind: HookKind = spec.__rustyclaw_kind__  # type: ignore[attr-defined]  # set by _declare
    return kind


def _declare(spec: _F, kind: HookKind) -> _F:
    spec.__rustyclaw_kind__ = kind  # type: ignore[attr-defined]  # read by kind_of
    return _hookspec(spec)


def observe(spec: _F) -> _F:
    """Declare a hook whose implementations only watch, all at once."""
    return _declare(spec, HookKind("observe"))


def transform(subject: str) -> Callable[[_F], _F]:
    """Declare a hook that may replace ``subject``, one plugin after another."""
    return lambda spec: _declare(spec, HookKind("transform", subject))


def guard(subject: str) -> Callable[[_F], _F]:
    """Declare a transform that may also stop the action; it fails closed."""
    return lambda spec: _declare(spec, HookKind("guard", subject))
