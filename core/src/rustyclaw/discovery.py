"""Which plugins are installed: read from distribution metadata, importing none."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from email.parser import HeaderParser
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


@dataclass(frozen=True, slots=True)
class Plugin:
    """An installed plugin: one entry point of one distribution.

    :param name: What users type: the config key, the command, the model prefix.
    :param summary: One line of help, from the distribution's metadata.
    """

    kind: str
    name: str
    entry_point: EntryPoint
    dist: str = "?"
    version: str = "?"
    summary: str = ""

    @classmethod
    def of(cls, kind: str, point: EntryPoint) -> Plugin:
        """Return the plugin of an entry point."""
        # `dist.metadata` would import a parser of all that a mail may be.
        text, dist = None, point.dist
        with suppress(OSError, ValueError):  # a half-installed distribution
            text = dist and (dist.read_text("METADATA") or dist.read_text("PKG-INFO"))
        if not text:
            return cls(kind, point.name, point)
        headers = HeaderParser().parsestr(text)
        facts = (headers.get(key, "") for key in ("Name", "Version", "Summary"))
        return cls(kind, point.name, point, *facts)


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
            Plugin.of(kind_of[point.group], point)
            for point in importlib_metadata.entry_points()
            if point.group in kind_of
        ]
    )
