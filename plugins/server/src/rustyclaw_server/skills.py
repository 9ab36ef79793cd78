"""The skills that are there: instructions for the assistant, one ``SKILL.md`` each.

They come from installed distributions named ``rustyclaw-skills-*`` and from the
``skills`` folder of a workspace, whose skills hide installed ones of the same name.
Nothing of them is run. What a skill needs stands in its front matter, under
``metadata.openclaw`` or ``metadata.rustyclaw``.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

_PREFIX = "rustyclaw-skills-"
_BYTES = 256 * 1024
_MAX = 500
_NEEDS = ("bins", "anyBins", "env", "config")


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """A skill.

    :param about: What its front matter says of what it needs, for people.
    """

    name: str
    description: str
    source: str
    path: Path
    body: str
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def needs(self) -> dict[str, list[str]]:
        """What must be there: programs, variables, settings, systems."""
        wanted = self.about.get("requires")
        wanted = wanted if isinstance(wanted, dict) else {}
        needs = {name: _words(wanted.get(name)) for name in _NEEDS}
        return needs | {"os": _words(self.about.get("os"))}

    def lacks(self) -> dict[str, list[str]]:
        """Return what of that is not there; looks at the disk."""
        needs = self.needs
        any_bins = needs["anyBins"]
        has_one = not any_bins or any(map(shutil.which, any_bins))
        here = needs["os"] == [] or sys.platform in needs["os"]
        return {
            "bins": [name for name in needs["bins"] if not shutil.which(name)],
            "anyBins": [] if has_one else any_bins,
            "env": [name for name in needs["env"] if not os.environ.get(name)],
            "config": [],
            "os": [] if here else needs["os"],
        }


def find(workspace: Path) -> list[Skill]:
    """Return all skills for an agent with this workspace, by name; blocks."""
    found = {}
    for source, folder in (*_installed(), ("workspace", workspace / "skills")):
        for skill in _below(folder, source):
            found[skill.name] = skill
    return [found[name] for name in sorted(found)[:_MAX]]


def _installed() -> Iterator[tuple[str, Path]]:
    names = {dist.metadata["Name"] or "" for dist in distributions()}
    for name in sorted(n for n in names if n.startswith(_PREFIX)):
        spec = find_spec(name.replace("-", "_"))  # of a package of data: not imported
        for place in (spec and spec.submodule_search_locations) or ():
            yield name, Path(place)


def _below(folder: Path, source: str) -> Iterator[Skill]:
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for entry in entries[:_MAX]:
        if skill := _read(entry / "SKILL.md", source):
            yield skill


def _read(path: Path, source: str) -> Skill | None:
    """Return the skill of a file; ``None`` if it is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            text = file.read(_BYTES).decode("utf-8", "replace")
    except OSError:
        return None
    head, body = _split(text)
    about = head.get("metadata")
    if isinstance(about, str):
        try:
            about = json.loads(about)
        except ValueError:
            about = None
    about = about if isinstance(about, dict) else {}
    about = about.get("rustyclaw") or about.get("openclaw") or about
    return Skill(
        name=str(head.get("name") or path.parent.name)[:64],
        description=str(head.get("description") or "")[:1024],
        source=source,
        path=path,
        body=body.strip(),
        about=(about if isinstance(about, dict) else {})
        | ({"homepage": head["homepage"]} if head.get("homepage") else {}),
    )


def _split(text: str) -> tuple[dict[str, Any], str]:
    """Return front matter and body."""
    if not text.startswith("---\n"):
        return {}, text
    head, mark, body = text[4:].partition("\n---")
    if not mark:
        return {}, text
    try:
        facts = yaml.safe_load(head)
    except (yaml.YAMLError, ValueError, RecursionError):
        facts = None
    return (facts if isinstance(facts, dict) else {}), body


def _words(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [str(item) for item in value] if isinstance(value, list) else []
