"""Which plugins are installed: read from distribution metadata, importing none."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import importlib_metadata

if TYPE_CHECKING:
    from importlib_metadata import EntryPoint

#: Kind of plugin -> entry-point group. The kind is also the config section.
GROUPS = {
    "providers": "rustyclaw.providers",
    "channels": "rustyclaw.channels",
    "tools": "rustyclaw.tools",
    "hooks": "rustyclaw.hooks",
    "commands": "rustyclaw.commands",
    "compactors": "rustyclaw.compactors",
}


@dataclass(frozen=True)
class Plugin:
    """An installed plugin: one entry point of one distribution."""

    kind: str
    entry_point: EntryPoint

    @property
    def name(self) -> str:
        """What users type: the config key, the command, the model prefix."""
        return self.entry_point.name

    @property
    def dist(self) -> str:
        """Name of the distribution."""
        return self.entry_point.dist.name if self.entry_point.dist else "?"

    @property
    def version(self) -> str:
        """Version of the distribution."""
        return self.entry_point.dist.version if self.entry_point.dist else "?"

    @cached_property
    def summary(self) -> str:
        """One line of help, from the distribution's metadata."""
        if self.entry_point.dist is None:
            return ""
        return self.entry_point.dist.metadata["Summary"] or ""


class Catalog:
    """All installed plugins, sorted; names that two dists offer are set apart.

    :ivar plugins: By kind and name.
    :ivar conflicts: The plugins that claim the same kind and name.
    """

    def __init__(self, found: list[Plugin]) -> None:
        claims: defaultdict[tuple[str, str], list[Plugin]] = defaultdict(list)
        for plugin in sorted(found, key=lambda p: (p.kind, p.name, p.dist)):
            claims[plugin.kind, plugin.name].append(plugin)
        self.plugins = {key: own[0] for key, own in claims.items() if len(own) == 1}
        self.conflicts = {
            key: tuple(own) for key, own in claims.items() if len(own) > 1
        }

    def names(self, kind: str) -> list[str]:
        """Return the names of one kind, sorted."""
        return [name for k, name in self.plugins if k == kind]


def discover(*kinds: str) -> Catalog:
    """Read the metadata of all installed distributions.

    :param kinds: Only these kinds; all if empty.
    """
    kind_of = {GROUPS[kind]: kind for kind in kinds or GROUPS}
    return Catalog(
        [
            Plugin(kind_of[entry_point.group], entry_point)
            for entry_point in importlib_metadata.entry_points()
            if entry_point.group in kind_of
        ]
    )
