"""One call of one program, as the rules see it, and whom they may ask further."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from rustyclaw_exec.paths import Places, Target
from rustyclaw_exec.rules.catalog import DYNAMIC_OPTION
from rustyclaw_exec.values import Flow
from rustyclaw_exec.verdict import Finding, Rule


class Judge(Protocol):
    """What a rule may ask while it judges a call."""

    places: Places

    @property
    def cwds(self) -> tuple[str, ...]:
        """The folders in which the call may run; an empty one is unknown."""

    def targets(self, path: str) -> Iterator[Target]:
        """Return what a path means in each of those folders."""

    def judge_shell(self, script: Flow, stdin: Flow | None) -> list[Finding]:
        """Judge a text that a shell will run."""

    def defer(self, script: Flow) -> None:
        """Judge a script again at the end, when all variables are known."""

    def judge_program(
        self, arguments: Sequence[str], stdin: Flow | None, tags: frozenset[str]
    ) -> list[Finding]:
        """Judge a program that another one will run."""

    def judge_file(self, path: str, language: str) -> list[Finding]:
        """Judge a file that will run, by what this command wrote into it."""

    def content(self, path: str) -> Flow | None:
        """Return what this command wrote to a path earlier on."""

    def change_folder(self, arguments: Sequence[str]) -> None:
        """Follow a ``cd`` with these arguments."""

    def assign(self, name: str, value: Flow) -> None:
        """Remember what a variable may hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A program, its arguments and what is piped into it.

    :param name: Base name without a version: ``/usr/bin/python3.11`` is ``python``.
    :param path: The program as it was written.
    :param stdin: What it reads; ``None`` if nothing is connected.
    :param tags: Where its arguments come from, see `Flow`.
    """

    name: str
    path: str
    args: tuple[str, ...]
    stdin: Flow | None
    tags: frozenset[str]
    judge: Judge

    @property
    def text(self) -> str:
        """The call on one line."""
        return " ".join((self.path, *self.args))

    @property
    def input(self) -> Flow:
        """What it reads, which may be nothing."""
        return self.stdin or Flow()

    def found(self, rule: Rule, detail: str = "") -> Finding:
        """Return a finding about this call."""
        return Finding(rule, detail or self.text)

    def targets(self, text: str) -> Iterator[Target]:
        """Return what a path means in each folder where the call may run."""
        return self.judge.targets(text)

    def shell(self, script: str, *, stdin: Flow | None = None) -> list[Finding]:
        """Judge an argument that a shell will run."""
        return self.judge.judge_shell(Flow(script, self.tags), stdin)

    def program(
        self, arguments: Sequence[str], *, stdin: Flow | None = None
    ) -> list[Finding]:
        """Judge the program that this call will run."""
        return self.judge.judge_program(arguments, stdin or self.stdin, self.tags)

    def option(self, scripts: Iterable[str]) -> Iterator[Finding]:
        """Judge options that name a command; each one asks at least."""
        for script in scripts:
            yield from self.shell(script)
            yield self.found(DYNAMIC_OPTION)
