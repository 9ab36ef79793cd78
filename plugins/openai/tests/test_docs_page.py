"""The guide `docs/providers/openai.md` shows a configuration that works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from rustyclaw import load_config

from .test_presets import PRESETS

GUIDE = Path(__file__).parents[3] / "docs" / "providers" / "openai.md"


def sections(tmp_path: Path) -> dict[str, Any]:
    (block,) = re.findall(
        r"^```yaml[^\n]*\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.S | re.M
    )
    (tmp_path / "config.yaml").write_text(block)
    config = load_config(home=tmp_path, env={})
    assert not config.warnings
    return {name: dict(section) for name, section in config.providers.items()}


@pytest.mark.parametrize("name", PRESETS)
def test_sections(name: str, tmp_path: Path) -> None:
    section = sections(tmp_path).get(name, {})
    if section.pop("api_key_env", None):
        section["api_key"] = "value-of-the-variable"
    preset = PRESETS[name]
    provider = preset(preset.Config.model_validate(section))
    if section or provider.default_base_url:
        assert provider.api_url.startswith("http")


def test_nothing_else_is_configured(tmp_path: Path) -> None:
    assert set(sections(tmp_path)) <= set(PRESETS)
