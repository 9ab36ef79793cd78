"""Reads a script file, and says in which line a mistake is."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, cast, get_args

import yaml
from rustyclaw import ProviderError

from rustyclaw_offline.script import Script, ScriptTurn
from rustyclaw_offline.steps import Call, Delay, ErrorKind, Fail, Hang, Say, Step, Think

_MAX_BYTES = 1_048_576
_MAX_SECONDS = 86_400.0


def load_script(path: Path) -> Script:
    """Read a script; blocking.

    :raises ProviderError: The file cannot be read or holds a mistake; names the line.
    """
    path = path.expanduser()
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as exc:
        _refuse(f"script {str(path)!r} cannot be read: {exc.strerror or exc}")
    if len(data) > _MAX_BYTES:
        _refuse(f"script {str(path)!r} has over {_MAX_BYTES} bytes; split it")
    return Script(str(path), _Reader(str(path)).turns(data))


def _refuse(message: str) -> NoReturn:
    raise ProviderError(message, kind="format", provider="offline")


class _Reader:
    """Turns the nodes of a YAML document, which know their lines, into steps."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._readers: dict[str, Callable[[yaml.Node], list[Step]]] = {
            "say": lambda node: [Say(self._text(node))],
            "think": lambda node: [Think(self._text(node))],
            "call": self._calls,
            "error": lambda node: [self._error(node)],
            "hang": lambda node: [Hang(self._number(node))],
            "delay": lambda node: [Delay(self._number(node))],
        }

    def turns(self, data: bytes) -> list[ScriptTurn]:
        """Return the turns of a document."""
        try:
            root = yaml.compose(data, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as exc:
            line = exc.problem_mark.line + 1 if exc.problem_mark else 1
            _refuse(f"script {self._name!r}, line {line}: {exc.problem}")
        except (yaml.YAMLError, UnicodeError, RecursionError) as exc:
            _refuse(f"script {self._name!r} is not readable as YAML: {exc}")
        if root is None:
            _refuse(f"script {self._name!r} is empty; write a list of turns")
        return [self._turn(node) for node in self._items(root, "a list of turns")]

    # --- Turns and steps --------------------------------------------------------

    def _turn(self, node: yaml.Node) -> ScriptTurn:
        """Read ``[step, ...]`` or ``{when: pattern, steps: [step, ...]}``."""
        if not isinstance(node, yaml.MappingNode):
            steps = self._items(node, "a turn: a list of steps, or `when` and `steps`")
            return ScriptTurn(self._rounds(steps))
        parts = self._parts(node, ("when", "steps"))
        for key in ("when", "steps"):
            if key not in parts:
                self._mistake(node, f"this turn lacks {key!r}")
        try:
            when = re.compile(self._text(parts["when"]), re.IGNORECASE)
        except (re.error, RecursionError, OverflowError) as exc:
            self._mistake(parts["when"], f"`when` is not a regular expression: {exc}")
        steps = self._items(parts["steps"], "a list of steps")
        return ScriptTurn(self._rounds(steps), when)

    def _rounds(self, nodes: Iterable[yaml.Node]) -> tuple[tuple[Step, ...], ...]:
        """Read steps; what follows a call belongs to the next round."""
        rounds: list[list[Step]] = [[]]
        number = 0
        for node in nodes:
            for step in self._step(node):
                if isinstance(step, Call):
                    number += 1
                    step = replace(step, number=number)
                elif rounds[-1] and isinstance(rounds[-1][-1], Call):
                    rounds.append([])
                rounds[-1].append(step)
        return tuple(map(tuple, rounds))

    def _step(self, node: yaml.Node) -> list[Step]:
        if not isinstance(node, yaml.MappingNode) or len(node.value) != 1:
            self._mistake(node, "a step is one `name: value`, such as `say: Hello`")
        ((name, value),) = self._parts(node, self._readers).items()
        return self._readers[name](value)

    def _calls(self, node: yaml.Node) -> list[Step]:
        if not isinstance(node, yaml.MappingNode) or not node.value:
            self._mistake(node, "write a call as `{tool: {argument: value}}`")
        return [
            Call(0, tool, self._arguments(value))
            for tool, value in self._parts(node).items()
        ]

    def _arguments(self, node: yaml.Node) -> dict[str, Any]:
        try:
            value = yaml.SafeLoader("").construct_document(node)
            json.dumps(value, allow_nan=False)
        except (yaml.YAMLError, TypeError, ValueError, RecursionError):
            self._mistake(node, "arguments must be what JSON can hold; quote dates")
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(isinstance(k, str) for k in value):
            self._mistake(node, "arguments are a mapping of names to values")
        return value

    def _error(self, node: yaml.Node) -> Fail:
        if not isinstance(node, yaml.MappingNode):
            self._mistake(node, "write an error as `{kind: ..., message: ...}`")
        parts = self._parts(node, ("kind", "message"))
        if "kind" not in parts:
            self._mistake(node, "this error lacks 'kind'")
        kind = self._text(parts["kind"])
        self._known(parts["kind"], kind, get_args(ErrorKind))
        message = self._text(parts["message"]) if "message" in parts else "scripted"
        return Fail(cast("ErrorKind", kind), message)

    # --- Values -------------------------------------------------------------------

    def _items(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            self._mistake(node, f"expected {what}")
        return list(node.value)

    def _parts(
        self, node: yaml.MappingNode, known: Iterable[str] | None = None
    ) -> dict[str, yaml.Node]:
        """Return the values of a mapping; a key twice is a mistake."""
        parts: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = self._text(key)
            if known is not None:
                self._known(key, name, known)
            if name in parts:
                self._mistake(key, f"{name!r} is here twice")
            parts[name] = value
        return parts

    def _known(self, node: yaml.Node, name: str, known: Iterable[str]) -> None:
        choices = list(known)
        if name not in choices:
            near = difflib.get_close_matches(name, choices, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"use {', '.join(choices)}"
            self._mistake(node, f"unknown {name!r}; {hint}")

    def _text(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode) or not node.value:
            self._mistake(node, "expected a text")
        return str(node.value)

    def _number(self, node: yaml.Node) -> float:
        try:
            number = float(self._text(node))
        except ValueError:
            number = -1.0
        if not 0 <= number <= _MAX_SECONDS:  # also refuses NaN
            self._mistake(node, f"expected a number from 0 to {_MAX_SECONDS:g}")
        return number

    def _mistake(self, node: yaml.Node, problem: str) -> NoReturn:
        _refuse(f"script {self._name!r}, line {node.start_mark.line + 1}: {problem}")
