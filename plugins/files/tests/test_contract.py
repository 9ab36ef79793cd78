"""The contract of a toolset, what the four cost in tokens, and the README."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest
from rustyclaw.testing import ToolsetContract
from rustyclaw_files.tools import FilesTools


class TestFiles(ToolsetContract):
    examples = {
        "write_file": {"path": "a/b.txt", "content": "one\n", "create_dirs": True},
        "edit_file": {"path": "a/b.txt", "old_text": "one", "new_text": "two"},
        "read_file": {"path": "a/b.txt"},
        "file_list": {"path": ".", "recursive": True},
    }

    @pytest.fixture
    def toolset(self) -> FilesTools:
        return FilesTools()


def test_effects() -> None:
    effects = {tool.name: set(tool.effects) for tool in FilesTools().tools()}
    assert effects == {
        "read_file": {"read"},
        "write_file": {"write"},
        "edit_file": {"write"},
        "file_list": {"read"},
    }


def test_schemas_stay_small() -> None:
    schemas = [asdict(tool.schema) for tool in FilesTools().tools()]
    assert len(json.dumps(schemas)) < 2560


def test_readme_names_every_setting() -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text()
    keys = re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE)
    assert keys == list(FilesTools.Config.model_fields)
