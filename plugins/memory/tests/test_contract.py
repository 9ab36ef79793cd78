"""The contract of a toolset, and the README."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rustyclaw.testing import ToolsetContract
from rustyclaw_memory.tools import MemoryTools


class TestMemory(ToolsetContract):
    examples = {
        "memory_set": {"key": "a", "value": "b"},
        "memory_get": {"key": "a"},
        "memory_list": {},
        "memory_search": {"query": "b"},
    }

    @pytest.fixture
    def toolset(self) -> MemoryTools:
        return MemoryTools()


def test_effects() -> None:
    effects = {tool.name: set(tool.effects) for tool in MemoryTools().tools()}
    assert effects == {
        "memory_get": {"read"},
        "memory_set": {"write"},
        "memory_list": {"read"},
        "memory_search": {"read"},
    }


def test_readme_names_every_setting() -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text()
    keys = re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE)
    assert keys == list(MemoryTools.Config.model_fields)
