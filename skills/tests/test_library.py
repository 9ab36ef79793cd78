"""Every skill can be found, is described, and is short enough to read."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

LIBRARY = Path(str(files("rustyclaw_skills_library")))
SKILLS = sorted(path.parent for path in LIBRARY.glob("*/SKILL.md"))
FRONT_MATTER = re.compile(r"---\nname: (.+)\ndescription: (.+)\n---\n\n# \S")


def test_each_folder_is_a_skill() -> None:
    folders = {p for p in LIBRARY.iterdir() if p.is_dir() and p.name != "__pycache__"}

    assert SKILLS
    assert folders == set(SKILLS)


@pytest.mark.parametrize("skill", SKILLS, ids=lambda skill: skill.name)
def test_skill(skill: Path) -> None:
    text = (skill / "SKILL.md").read_text(encoding="utf-8")
    match = FRONT_MATTER.match(text)

    assert match, "start with front matter: name, description"
    assert match[1] == skill.name
    assert re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", skill.name)
    assert len(match[2]) <= 100
    assert len(text.encode()) <= 5000
