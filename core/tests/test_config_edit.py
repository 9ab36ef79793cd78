"""Changing the config file: comments survive, invalid files never land."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from rustyclaw.config import load_config
from rustyclaw.config.edit import edit_config, set_config, unset_config
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
        ("agents.defaults.model", "c/d", '"a/b"  # the', "c/d    # the"),
        ("agents.list.0.id", "uno", "id: one", "id: uno"),
        ("agents.list.1.name", "Due", "'Two'", "Due"),
        ("agents.list.0.name", None, "name: One  # first", "name:      # first"),
        ("channels.telegram.token", "${OTHER}", "${TOKEN}", '"${OTHER}"'),
    ],
)
def test_only_the_value_changes(
    file: Path, dotted: str, value: object, old: str, new: str
) -> None:
    set_config(file, dotted, value)
    # A comment may move to the right or left, nothing else does.
    assert file.read_text().split() == TEXT.replace(old, new).split()
    assert (file.parent / "config.yaml.bak").read_text() == TEXT


def test_sections_on_the_way_are_made(file: Path) -> None:
    set_config(file, "hooks.server.port", 8080)
    set_config(file, "agents.list.2", {"id": "three"})
    set_config(file, "bindings.0", {"agent": "two", "match": {"channel": "x"}})
    set_config(file, "plugins.deny", ("a", "b"))
    config = load_config(file, env={"TOKEN": "x"})
    assert config.hooks == {"server": {"port": 8080}}
    assert config.agent_ids == ("one", "two", "three")
    assert config.bindings[0].agent == "two"
    assert config.plugins.deny == ("a", "b")
    for comment in ("The top.", "the best one", "first", "What talks.", "The end."):
        assert f"# {comment}" in file.read_text()


def test_a_file_is_created_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "config.yaml"
    set_config(path, "agents.defaults.model", "a/b")
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
    set_config(path, "agents.defaults.model", "a/b")
    assert path.read_text().startswith("# Here go\n# the settings.\nagents:")


def test_the_mode_and_a_link_are_kept(tmp_path: Path) -> None:
    target = tmp_path / "dotfiles.yaml"
    target.write_text(TEXT)
    target.chmod(0o640)
    link = tmp_path / "config.yaml"
    link.symlink_to(target)
    set_config(link, "agents.defaults.max_tokens", 7)
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
        ("channels.x.a", "\ud800", "invalid Unicode"),
        ("channels.x.a", object(), "cannot change"),
    ],
)
def test_a_refused_change_leaves_the_file_alone(
    file: Path, dotted: str, value: object, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem.replace("*", r"\*")):
        set_config(file, dotted, value)
    assert file.read_text() == TEXT
    assert {p.name for p in file.parent.iterdir()} <= {
        "config.yaml",
        "config.yaml.lock",
    }


@pytest.mark.parametrize("text", ["a: [", "a: 1\na: 2\n", "- 1\n", "text", "a: \x07"])
def test_a_broken_file_is_not_touched(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError):
        set_config(file, "agents.defaults.model", "x")
    assert file.read_text() == text


def test_no_error_shows_a_secret(file: Path) -> None:
    for text in (
        "token: hunter22\ntoken: x\n",
        "token: hunter22\n  x: [",
        "[hunter22]",
    ):
        file.write_text(text)
        with pytest.raises(ConfigError) as caught:
            set_config(file, "token", "hunter22")
        assert "hunter22" not in repr(caught.value)


def test_a_wrong_file_can_be_mended(file: Path) -> None:
    file.write_text("session: {queue_limit: many}\n")
    set_config(file, "session.queue_limit", 5)
    assert load_config(file, env={}).session.queue_limit == 5


def test_overrides_of_today_do_not_hide_a_wrong_value(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUSTYCLAW_SESSION__QUEUE_LIMIT", "5")
    with pytest.raises(ConfigError, match="queue_limit"):
        set_config(file, "session.queue_limit", "many")


def test_a_disk_that_refuses_is_a_clear_error(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match=r"cannot change .*: No space left"):
        set_config(file, "agents.defaults.model", "x")
    assert file.read_text() == TEXT
    assert not list(file.parent.glob(".config*"))


def test_unset(file: Path) -> None:
    unset_config(file, "agents.defaults.max_tokens")
    unset_config(file, "agents.list.0")
    config = load_config(file, env={"TOKEN": "x"})
    assert config.agents.defaults.max_tokens == 4096
    assert config.agent_ids == ("two",)
    assert "# the best one" in file.read_text()
    for dotted in ("agents.defaults.max_tokens", "agents.list.1", "zzz.a", "zzz"):
        with pytest.raises(ConfigError, match="is not set in this file"):
            unset_config(file, dotted)


def test_a_key_that_looks_like_a_number_is_found(file: Path) -> None:
    file.write_text("session: {identity_links: {123: [telegram:1]}}\n")
    set_config(file, "session.identity_links.123", ["telegram:2"])
    links = load_config(file, env={}).session.identity_links
    assert links == {"123": ("telegram:2",)}


COMMENTED = """\
plugins:
    deny:
        # bad ones
        - a  # awful
        - b

        # what comes next
    order: [x]

# The log.

logging:
    level: debug
    # end of log

# The end.
"""


LIST = "        - a  # awful\n        - b\n"


@pytest.mark.parametrize(
    ("dotted", "value", "old", "new"),
    [
        ("plugins.deny", ["c"], LIST, "        - c\n"),
        ("plugins.deny.2", "c", "- b\n", "- b\n        - c\n"),
        ("plugins.deny.0", "c", "- a", "- c"),
        ("logging", {"level": "info"}, "debug", "info"),
        ("logging.format", "json", "debug\n", "debug\n    format: json\n"),
        ("session", {"fsync": "turn"}, "end.\n", "end.\nsession:\n    fsync: turn\n"),
    ],
)  # fmt: skip
def test_comments_around_a_change_survive(
    tmp_path: Path, dotted: str, value: object, old: str, new: str
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(COMMENTED)
    set_config(path, dotted, value)
    expected = COMMENTED.replace(old, new)
    lines = [" ".join(line.split()) for line in path.read_text().splitlines()]
    wanted = [" ".join(line.split()) for line in expected.splitlines()]
    assert sorted(filter(None, lines)) == sorted(filter(None, wanted))
    comments = [line for line in wanted if line[:1] == "#"]
    assert [line for line in lines if line[:1] == "#"] == comments


@pytest.mark.parametrize("dotted", ["plugins.deny", "logging.level", "plugins"])
def test_comments_after_what_is_removed_survive(tmp_path: Path, dotted: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(COMMENTED)
    unset_config(path, dotted)
    text = path.read_text()
    assert text.index("# The log.") < text.index("logging") < text.index("# The end.")
    assert ("# what comes next" in text) == (dotted != "plugins")
    assert "# end of log" in text


def test_what_cannot_be_written_faithfully_is_refused(file: Path) -> None:
    file.write_text("channels: {}  # none\n")
    before = file.read_text()
    with pytest.raises(ConfigError, match="cannot be set; use an editor"):
        set_config(file, "channels.x.y", float("nan"))
    assert file.read_text() == before


def test_writers_wait_for_each_other(file: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from rustyclaw.config import edit; "
        "edit.set_config(Path(sys.argv[1]), f'hooks.{sys.argv[2]}.on', True)"
    )
    names = [f"plugin{n}" for n in range(3)]
    command = [sys.executable, "-c", code, str(file)]
    writers = [subprocess.Popen([*command, name]) for name in names]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert sorted(load_config(file, env={"TOKEN": ""}).hooks) == names


texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text(alphabet="a \n\t\r:#-'\"|>&!%@`[]{},?~0\x07\\\ufeff\x85\u2028"),
).filter(lambda text: "${" not in text and "***" not in text)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.none() | st.recursive(
    st.sampled_from([True, False, [], {}]) | numbers | texts,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(
            texts.filter(lambda key: key not in ("<<", "$include")), inner, max_size=3
        )
    ),
    max_leaves=8,
)
STYLES = """\
# before
channels:
  x:  # the section
    single: 'a'  # one
    double: "a"  # two
    literal: |
      a
      b
    folded: >-
      a
      b

    # between
    flow: {text: 'a', list: ["a", b]}  # three
    plain: a
      b
    # after
"""


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(
        [
            "new",
            "single",
            "double",
            "literal",
            "folded",
            "flow.text",
            "flow.list.0",
            "plain",
        ]
    ),
    values,
)
def test_what_is_set_is_what_is_loaded(dotted: str, value: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(STYLES, encoding="utf-8")
        before = load_config(path, env={}).channels["x"]
        try:
            set_config(path, f"channels.x.{dotted}", value)
        except ConfigError:  # ruamel stumbles over these; refused, never garbled
            assert re.search(r"\[\]|\{\}|\\u", json.dumps(value))
            assert path.read_text(encoding="utf-8") == STYLES
            return
        after: Any = load_config(path, env={}).channels["x"]
        text = path.read_text(encoding="utf-8")
        for word in (
            "before",
            "the section",
            "one",
            "two",
            "between",
            "three",
            "after",
        ):
            assert f"# {word}\n" in text
        name, *rest = dotted.split(".")
        assert {k: v for k, v in before.items() if k != name} == {
            k: v for k, v in after.items() if k != name
        }
        for key in (name, *rest):
            after = after[int(key) if key.isdecimal() else key]
        assert after == value


@pytest.mark.parametrize("dotted", ["agents.defaults.max_token", "agnets.list", "nope"])
def test_a_key_that_does_not_exist_is_not_set(tmp_path: Path, dotted: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("old_typo: 1\nagents: {}\n")
    with pytest.raises(ConfigError, match="unknown key"):
        set_config(path, dotted, 5)
    assert path.read_text() == "old_typo: 1\nagents: {}\n"
    set_config(path, "agents.defaults.max_tokens", 5)  # the old one is no hindrance


def test_several_changes_are_one(file: Path) -> None:
    edit_config(
        file,
        drop=[("agents", "list", "1"), ("channels", "telegram", "token")],
        put=[
            (("agents", "defaults", "max_tokens"), 7),
            (("session", "identity_links"), {"ann.b": ["x:1"]}),
        ],
    )

    config = load_config(file, env={})
    assert config.agent_ids == ("one",)
    assert config.agents.defaults.max_tokens == 7
    assert config.session.identity_links == {"ann.b": ("x:1",)}
    assert "# the best one" in file.read_text(encoding="utf-8")
    edit_config(file, drop=[("session", "identity_links", "ann.b")])
    assert load_config(file, env={}).session.identity_links == {}


def test_one_bad_change_leaves_the_others_undone(file: Path) -> None:
    with pytest.raises(ConfigError, match="max_tokens"):
        edit_config(
            file,
            put=[
                (("agents", "list", "0", "name"), "Uno"),
                (("agents", "defaults", "max_tokens"), -1),
            ],
        )

    assert file.read_text(encoding="utf-8") == TEXT


def test_a_text_can_be_tried_without_a_file(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"

    assert load_config(path, text="agents: {list: [{id: x}]}").agent_ids == ("x",)
    with pytest.raises(ConfigError, match=r"^config\.yaml:1: agents\.list\.0\.id: "):
        load_config(path, text="agents: {list: [{name: x}]}")
    assert not path.exists()
