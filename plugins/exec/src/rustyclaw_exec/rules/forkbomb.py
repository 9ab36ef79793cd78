"""Finds functions that multiply themselves."""

from __future__ import annotations

from collections.abc import Iterator

from rustyclaw_exec.syntax import (
    Background,
    Chain,
    Compound,
    Function,
    Node,
    Pipeline,
    Simple,
)


def is_fork_bomb(function: Function) -> bool:
    """Return whether a function calls itself twice, or in the background."""
    return _calls_itself(function.body, function.name) > 1 or _forks_itself(function)


def _simple_commands(node: Node) -> Iterator[Simple]:
    if isinstance(node, Simple):
        yield node
    elif isinstance(node, Pipeline):
        for stage in node.stages:
            yield from _simple_commands(stage)
    elif isinstance(node, Chain):
        for part in (node.first, *(n for _, n in node.rest)):
            yield from _simple_commands(part)
    elif isinstance(node, Background):
        yield from _simple_commands(node.node)
    elif isinstance(node, Compound):
        for body in node.bodies:
            for inner in body.nodes:
                yield from _simple_commands(inner)


def _calls_itself(body: Node, name: str) -> int:
    """Count how often a function's body calls the function."""
    return sum(
        bool(c.words) and c.words[0].literal == name for c in _simple_commands(body)
    )


def _forks_itself(function: Function) -> bool:
    """Return whether a function starts itself in the background."""
    if not isinstance(function.body, Compound):
        return False
    return any(
        isinstance(node, Background) and _calls_itself(node, function.name)
        for body in function.body.bodies
        for node in body.nodes
    )
