"""What a command has changed so far: folders, files, links and variables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rustyclaw_exec.expansion import Expander
from rustyclaw_exec.paths import Places, Target
from rustyclaw_exec.syntax import Script
from rustyclaw_exec.values import NOTHING, UNKNOWN, Flow

_DESCRIPTORS = "/dev/fd/"
_TEMPORARY = "/tmp"  # noqa: S108  a name to reason about
_FOREIGN_VARIABLES = ("PATH", "USER", "LANG", "TERM", "TZ", "HOSTNAME", "SHELL", "UID")


class World:
    """The state of an abstract walk; it only ever grows.

    :param cwd: The folder in which the command starts.
    :param substitute: Judges a substitution and returns what it prints.
    :param on_secret: Told about each variable that is named like a credential.
    """

    def __init__(
        self,
        places: Places,
        cwd: str,
        substitute: Callable[[Script, str], Flow],
        on_secret: Callable[[str], None],
    ) -> None:
        self.places = places
        self.cwds: tuple[str, ...] = (cwd,)
        self.expander = Expander(places.tilde, substitute, on_secret)
        self._files: dict[str, Flow] = {}
        self._links: dict[str, str] = {}
        for name, value in (
            ("HOME", places.home),
            ("TMPDIR", _TEMPORARY),
            ("PWD", cwd),
        ):
            self.assign(name, Flow(value))
        for name in _FOREIGN_VARIABLES:
            self.assign(name, Flow(UNKNOWN))

    def targets(self, path: str) -> Iterator[Target]:
        """Return what a path means in each folder where the walk may be."""
        for cwd in self.cwds:
            target = self.places.locate(path, cwd)
            for link, goal in self._links.items():
                if target.path == link or target.path.startswith(f"{link}/"):
                    yield self.places.locate(goal + target.path[len(link) :], cwd)
            yield target

    def content(self, path: str) -> Flow | None:
        """Return what this command wrote to a path earlier on."""
        for target in self.targets(path):
            name = target.path.replace("/proc/self/fd/", _DESCRIPTORS)
            if name in self._files:
                return self._files[name]
        return None

    def assign(self, name: str, value: Flow) -> None:
        """Remember what a variable may hold."""
        self.expander.assign(name, value)

    def change_folder(self, arguments: Sequence[str]) -> None:
        """Follow a ``cd``; where it leads may be unknown, then or for good."""
        operands = [a for a in arguments if not a.startswith("-") or a == "-"]
        goal = operands[0] if operands else self.places.home
        if goal == "-" or "CDPATH" in self.expander.variables:
            self.cwds = ("",)
            return
        located = [target.path if target.exact else "" for target in self.targets(goal)]
        self.cwds = tuple(dict.fromkeys(located[:4]))
        for cwd in self.cwds:
            self.assign("PWD", Flow(cwd or UNKNOWN))

    def store(self, path: str, flow: Flow) -> None:
        """Remember what was written to a path."""
        for target in self.targets(path):
            if target.path and self.places.place(target) != "stream":
                known = self._files.get(target.path, NOTHING)
                self._files[target.path] = (known + flow).short

    def link(self, goal: str, path: str) -> None:
        """Remember that a path leads to another one."""
        for link in list(self.targets(path)):
            for target in list(self.targets(goal)):
                self._links[link.path] = target.path

    def describe(self, descriptor: int, flow: Flow) -> str:
        """Remember what a descriptor gives to read; return its path."""
        path = f"{_DESCRIPTORS}{descriptor}"
        self._files[path] = flow
        return path

    def pipe(self, flow: Flow) -> str:
        """Return the path of a process substitution that prints ``flow``."""
        return self.describe(63 + len(self._files), flow)


def joined(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    """Return the folders of both, or an unknown one if they are too many."""
    folders = tuple(dict.fromkeys((*first, *second)))
    return folders if len(folders) <= 4 else (*folders[:3], "")
