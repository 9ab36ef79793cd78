"""Reads command-line options as getopt does: clusters, values, abbreviations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Syntax:
    """Which options of a program take a value.

    :param short: Letters of the short options with a value.
    :param long: The long options with a value, without dashes, in one text.
    :param stops: Operands end the options, as they do for programs that run others.
    :param single_dash: Long options have one dash, as with find, gcc or openssl.
    """

    short: str = ""
    long: str = ""
    stops: bool = False
    single_dash: bool = False


@dataclass(slots=True)
class Options:
    """The options of a call, in order, and its operands."""

    pairs: list[tuple[str, str]] = field(default_factory=list)
    operands: list[str] = field(default_factory=list)

    def has(self, *names: str) -> bool:
        """Return whether one of the options was given."""
        return any(name in names for name, _ in self.pairs)

    def values(self, *names: str) -> list[str]:
        """Return the values of the options of these names."""
        return [value for name, value in self.pairs if name in names]

    def starting(self, prefix: str, least: int = 1) -> list[str]:
        """Return the values of a long option, abbreviations included.

        :param prefix: The full name of the option.
        :param least: Fewest letters that may stand for it.
        """
        return [
            value
            for name, value in self.pairs
            if len(name) >= max(least, 2) and prefix.startswith(name)
        ]


def options_of(arguments: Sequence[str], syntax: Syntax) -> Options:
    """Read the options and operands of a call."""
    found = Options()
    waiting = list(reversed(arguments))
    while waiting:
        argument = waiting.pop()
        if argument == "--":
            found.operands += reversed(waiting)
            break
        if argument.startswith("--") or (
            syntax.single_dash and len(argument) > 1 and argument.startswith("-")
        ):
            name, equals, value = argument.lstrip("-").partition("=")
            if not equals and waiting and _takes_value(name, syntax.long.split()):
                value = waiting.pop()
            found.pairs.append((name, value))
        elif argument.startswith("-") and len(argument) > 1:
            for index, letter in enumerate(argument[1:], 2):
                if letter in syntax.short:
                    value = argument[index:] or (waiting.pop() if waiting else "")
                    found.pairs.append((letter, value))
                    break
                found.pairs.append((letter, ""))
        else:
            found.operands.append(argument)
            if syntax.stops:
                found.operands += reversed(waiting)
                break
    return found


def _takes_value(name: str, long: Iterable[str]) -> bool:
    """Return whether a long option, maybe abbreviated, takes a value."""
    return any(
        full == name or (len(name) > 2 and full.startswith(name)) for full in long
    )
