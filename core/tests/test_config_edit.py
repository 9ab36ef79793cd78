"""Changing the config file: comments survive, invalid files never land."""

from __future__ import annotations

import multiprocessing
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from rustyclaw.config import load_config
from rustyclaw.config.edit import set_value, unset
from rustyclaw.errors import ConfigError

TEXT = """\
# The top.
agents:  # who answers
  defaults:
    model: "a/b"  # the best one
    max_tokens: 100
  # the list
  list:
  - id: one
    name: One  # first
  - {id: two, name: 'Two'}

# What talks.
channels:
  telegram:
    token: ${TOKEN}  # from the environment

# The end.
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("dotted", "value", "old", "new"),
    [
        ("agents.defaults.max_tokens", 200, "max_tokens: 100", "max_tokens: 200"),
        ("agents.defaults.model", "c/d", '"a/b"  # the', "c/d  # the"),
        ("agents.list.0.id", "uno", "id: one", "id: uno"),
        ("agents.list.1.name", "Due", "'Two'", "Due"),
        ("agents.list.0.name", None, "name: One  # first", "name:      # first"),
        ("channels.telegram.token", "${OTHER}", "${TOKEN}", "${OTHER}"),
    ],
)
def test_only_the_value_changes(
    file: Path, dotted: str, value: object, old: str, new: str
) -> None:
    set_value(file, dotted, value)
    assert file.read_text() == TEXT.replace(old, new)
    assert (file.parent / "config.yaml.bak").read_text() == TEXT


def test_sections_on_the_way_are_made(file: Path) -> None:
    set_value(file, "hooks.server.port", 8080)
    set_value(file, "agents.list.2", {"id": "three"})
    set_value(file, "bindings.0", {"agent": "two", "match": {"channel": "x"}})
    set_value(file, "plugins.deny", ("a", "b"))
    config = load_config(file, env={"TOKEN": "x"})
    assert config.hooks == {"server": {"port": 8080}}
    assert config.agent_ids == ("one", "two", "three")
    assert config.bindings[0].agent == "two"
    assert config.plugins.deny == ("a", "b")
    for comment in ("The top.", "the best one", "first", "What talks.", "The end."):
        assert f"# {comment}" in file.read_text()


def test_a_file_is_created_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "config.yaml"
    set_value(path, "agents.defaults.model", "a/b")
    assert load_config(path, env={}).agents.defaults.model == "a/b"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "config.yaml",
        "config.yaml.lock",
    ]


def test_comments_of_a_file_without_values_survive(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("# Here go\n# the settings.\n")
    set_value(path, "agents.defaults.model", "a/b")
    assert path.read_text().startswith("# Here go\n# the settings.\nagents:")


def test_the_mode_and_a_link_are_kept(tmp_path: Path) -> None:
    target = tmp_path / "dotfiles.yaml"
    target.write_text(TEXT)
    target.chmod(0o640)
    link = tmp_path / "config.yaml"
    link.symlink_to(target)
    set_value(link, "agents.defaults.max_tokens", 7)
    assert link.is_symlink()
    assert "max_tokens: 7" in target.read_text()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "dotfiles.yaml.bak").stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("dotted", "value", "problem"),
    [
        ("agents.defaults.max_tokens", "many", "agents.defaults.max_tokens: must be"),
        ("agents.list.1.id", "one", "duplicate agent id 'one'"),
        ("agents", 5, "agents: must be a mapping"),
        ("agents.defaults.model.x", 1, "there is no place for 'x'"),
        ("agents.list.9.id", "x", "there is no place for '9.id'"),
        ("agents.list.x", "x", "there is no place for 'x'"),
        ("agents.list.-1", "x", "there is no place for '-1'"),
        ("agents..x", 1, "there is no place for '.x'"),
        ("", 1, "there is no place for ''"),
        ("channels.telegram.token", "***", "redacted"),
        ("channels.x", {"a": ["https://u:***@host"]}, "redacted"),
        ("channels.x", {"a": "https://host/?token=***&x=1"}, "redacted"),
        ("channels.x.a", "Bearer ***", "redacted"),
        ("channels.x.a", "\ud800", "cannot change"),
        ("channels.x.a", float("1e999"), ""),
    ],
)
def test_a_refused_change_leaves_the_file_alone(
    file: Path, dotted: str, value: object, problem: str
) -> None:
    if not problem:
        set_value(file, dotted, value)
        return
    with pytest.raises(ConfigError, match=problem.replace("*", r"\*")):
        set_value(file, dotted, value)
    assert file.read_text() == TEXT
    assert {p.name for p in file.parent.iterdir()} <= {
        "config.yaml",
        "config.yaml.lock",
    }


@pytest.mark.parametrize("text", ["a: [", "a: 1\na: 2\n", "- 1\n", "text", "a: \x07"])
def test_a_broken_file_is_not_touched(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError):
        set_value(file, "agents.defaults.model", "x")
    assert file.read_text() == text


def test_a_wrong_file_can_be_mended(file: Path) -> None:
    file.write_text("session: {queue_limit: many}\n")
    set_value(file, "session.queue_limit", 5)
    assert load_config(file, env={}).session.queue_limit == 5


def test_overrides_of_today_do_not_hide_a_wrong_value(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUSTYCLAW_SESSION__QUEUE_LIMIT", "5")
    with pytest.raises(ConfigError, match="queue_limit"):
        set_value(file, "session.queue_limit", "many")


def test_a_disk_that_refuses_is_a_clear_error(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="cannot change .*: No space left"):
        set_value(file, "agents.defaults.model", "x")
    assert file.read_text() == TEXT
    assert not list(file.parent.glob(".config*"))


def test_unset(file: Path) -> None:
    unset(file, "agents.defaults.max_tokens")
    unset(file, "agents.list.0")
    config = load_config(file, env={"TOKEN": "x"})
    assert config.agents.defaults.max_tokens == 4096
    assert config.agent_ids == ("two",)
    assert "# the best one" in file.read_text()
    for dotted in ("agents.defaults.max_tokens", "agents.list.1", "zzz.a", "zzz"):
        with pytest.raises(ConfigError, match="is not set in this file"):
            unset(file, dotted)


def test_a_key_that_looks_like_a_number_is_found(file: Path) -> None:
    file.write_text("session: {identity_links: {123: [telegram:1]}}\n")
    set_value(file, "session.identity_links.123", ["telegram:2"])
    links = load_config(file, env={}).session.identity_links
    assert links == {"123": ("telegram:2",)}


def _add(path: Path, name: str) -> None:
    set_value(path, f"hooks.{name}.on", True)


def test_writers_wait_for_each_other(file: Path) -> None:
    context = multiprocessing.get_context("spawn")
    names = [f"plugin{n}" for n in range(4)]
    writers = [context.Process(target=_add, args=(file, name)) for name in names]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(load_config(file, env={"TOKEN": ""}).hooks) == names


texts = st.text(st.characters(exclude_categories=["Cs"])).filter(
    lambda text: "${" not in text and "***" not in text
)
scalars = st.none() | st.booleans() | st.integers() | texts
values = st.recursive(
    scalars | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            texts.filter(lambda key: key not in ("<<", "$include")), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(values)
def test_what_is_set_is_what_is_loaded(value: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(TEXT, encoding="utf-8")
        set_value(path, "channels.x.key", value)
        config = load_config(path, env={"TOKEN": "x"})
        assert config.channels["x"]["key"] == value
        assert config.channels["telegram"] == {"token": "x"}
        text = path.read_text(encoding="utf-8")
        assert [line for line in TEXT.splitlines() if "#" in line] == [
            line
            for line in text.splitlines()
            if line in TEXT.splitlines() and "#" in line
        ]
