"""The settings, what they mean, and the guides that show them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from rustyclaw import ConfigError, load_config
from rustyclaw_failover.config import FailoverConfig
from rustyclaw_failover.provider import FailoverProvider

README = Path(__file__).parents[1] / "README.md"
GUIDE = Path(__file__).parents[3] / "docs" / "providers" / "failover.md"
VARIABLES = {"ANTHROPIC_API_KEY": "sk-first-123", "ANTHROPIC_API_KEY_2": "sk-other-456"}
ONE = [{"api_key": "k"}]


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"models": ["failover/x"]}, "cannot hold 'failover/x'"),
        ({"models": ["Not A Name"]}, "pattern"),
        ({"chains": {"default": ["a"]}}, "is `models`"),
        ({"chains": {"x": []}}, "at least 1"),
        ({"chains": {"x": ["failover"]}}, "cannot hold"),
        ({"keys": {"a": [{"api_key": "k", "label": "key2"}, *ONE]}}, "'a:key2'"),
        ({"keys": {"a": [{"api_key": ""}]}}, "must be printable"),
        ({"keys": {"a": [{"api_key": "a\nb"}]}}, "must be printable"),
        ({"keys": {"a": ONE}, "order": {"a": ["work"]}}, "known are key1"),
        ({"cooldowns": {"factor": 0}}, "greater"),
        ({"silence_seconds": 130}, "115"),
    ],
)
def test_what_is_refused(section: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(words)):
        FailoverConfig.model_validate(section)


def test_profiles_never_print_their_key() -> None:
    section = {"models": ["a/x", "b"], "keys": {"a": [{"api_key": "open-sesame"}]}}
    config = FailoverConfig.model_validate(section)
    profiles = list(config.all_profiles())
    assert [profile.id for profile in profiles] == ["a:key1", "b:default"]
    assert [profile.instance for profile in profiles] == ["a:key1", ""]
    assert "sesame" not in repr(config) + repr(profiles)


@pytest.mark.parametrize("page", [README, GUIDE], ids=["readme", "guide"])
def test_the_pages_show_a_configuration_that_works(page: Path, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    (block,) = re.findall(r"^```yaml[^\n]*\n(.*?)^```", text, re.S | re.M)
    (tmp_path / "config.yaml").write_text(block)
    config = load_config(home=tmp_path, env=VARIABLES)
    assert not config.warnings
    section = config.section("providers", "failover", FailoverConfig)
    assert [profile.id for profile in section.profiles("anthropic")] == [
        "anthropic:key1",
        "anthropic:work",
    ]
    assert section.candidates("default")
    shown = str(config.redacted())
    assert not [key for key in VARIABLES.values() if key in shown]


def test_a_variable_that_is_not_set_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "providers: {failover: {keys: {a: [{api_key_env: NO_SUCH_KEY}]}}}\n"
    )
    config = load_config(home=tmp_path, env={})
    with pytest.raises(ConfigError, match="'NO_SUCH_KEY' is not set"):
        config.section("providers", "failover", FailoverConfig)


def test_an_empty_chain_is_a_problem_before_the_first_message() -> None:
    empty, filled = (
        FailoverProvider(FailoverConfig.model_validate({"models": models}))
        for models in ((), ("offline/assistant",))
    )
    assert "`providers.failover.models` names no model" in empty.problem()
    assert filled.problem() == ""
