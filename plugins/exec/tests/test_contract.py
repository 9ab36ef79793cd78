"""The contract of a tool, and that the README tells the truth about the settings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError
from rustyclaw.testing import ToolContract
from rustyclaw_exec.config import ExecConfig
from rustyclaw_exec.rules.catalog import RULES
from rustyclaw_exec.tools import ExecTool

README = (Path(__file__).parents[1] / "README.md").read_text()


class TestExec(ToolContract):
    arguments = {"command": "echo hello"}

    @pytest.fixture
    def tool(self) -> ExecTool:
        return ExecTool()


def test_effects_and_deadline() -> None:
    assert ExecTool.effects == {"exec"}
    assert ExecTool.timeout_seconds > ExecConfig().max_timeout_seconds + 10


def test_readme_names_every_setting() -> None:
    keys = re.findall(r"^\| `(\w+)` \|", README, flags=re.MULTILINE)
    assert keys == list(ExecConfig.model_fields)


def test_readme_names_every_category_of_rules() -> None:
    categories = dict.fromkeys(rule.partition(".")[0] for rule in RULES)
    assert re.findall(r"^\| `(\w+)\.` \|", README, flags=re.MULTILINE) == [*categories]


@pytest.mark.parametrize(
    "name",
    ["LD_PRELOAD", "PYTHONPATH", "BASH_ENV", "ENV", "X_API_KEY", "GH_TOKEN", "A="],
)
def test_no_configuration_hands_out_secrets_or_foreign_code(name: str) -> None:
    with pytest.raises(ValidationError, match="remove it"):
        ExecConfig(env_allow=(name,))


@pytest.mark.parametrize("folder", ["bin", "/usr/../tmp", "/a:/b", ""])
def test_trusted_folders_are_absolute(folder: str) -> None:
    with pytest.raises(ValidationError, match="no absolute folder"):
        ExecConfig(trusted_dirs=(folder,))
