"""Loading the configuration: the file, its includes, the environment, the errors."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from pydantic import BaseModel, ValidationError
from rustyclaw.config import Config, config_from, home_dir, load_config
from rustyclaw.config.load import parse_config
from rustyclaw.config.model import AgentConfig, agent_id
from rustyclaw.config.source import Source
from rustyclaw.errors import ConfigError

Load = Callable[..., Config]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(text: str, **env: str) -> Config:
        (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
        return load_config(home=tmp_path, env=env)

    return load


def problems(load: Load, text: str, **env: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text, **env)
    assert caught.value.__cause__ is None
    return str(caught.value).splitlines()


# --- Which file, which home -----------------------------------------------------


def test_without_a_file_everything_has_its_default(tmp_path: Path) -> None:
    config = load_config(home=tmp_path, env={})
    assert config.home == tmp_path
    assert config.path == tmp_path / "config.yaml"
    assert config.warnings == ()
    assert config.model_dump() == Config().model_dump()


def test_home_dir_comes_from_the_environment() -> None:
    assert home_dir({}) == Path.home() / ".rustyclaw"
    assert home_dir({"RUSTYCLAW_HOME": ""}) == Path.home() / ".rustyclaw"
    assert home_dir({"RUSTYCLAW_HOME": "~/x"}) == Path.home() / "x"


def test_the_path_is_an_argument_or_a_variable_or_in_the_home(tmp_path: Path) -> None:
    for name in ("argument", "variable", "config"):
        (tmp_path / f"{name}.yaml").write_text(
            f"agents: {{defaults: {{model: {name}}}}}"
        )
    env = {"RUSTYCLAW_HOME": str(tmp_path)}

    def model(path: Path | None, **more: str) -> str | None:
        return load_config(path, env=env | more).agents.defaults.model

    variable = str(tmp_path / "variable.yaml")
    assert model(None) == "config"
    assert model(None, RUSTYCLAW_CONFIG=variable) == "variable"
    assert model(tmp_path / "argument.yaml", RUSTYCLAW_CONFIG=variable) == "argument"


@pytest.mark.parametrize("by_variable", [False, True])
def test_a_file_that_was_asked_for_must_exist(
    tmp_path: Path, by_variable: bool
) -> None:
    missing = tmp_path / "no.yaml"
    env = {"RUSTYCLAW_CONFIG": str(missing)} if by_variable else {}
    with pytest.raises(ConfigError, match=r"cannot read .*no\.yaml.*: No such file"):
        load_config(None if by_variable else missing, home=tmp_path, env=env)


def test_only_readable_text_files_are_read(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.mkdir()
    with pytest.raises(ConfigError, match="not a regular file"):
        load_config(file, env={})
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigError, match="not a regular file"):
        load_config(tmp_path / "fifo", env={})
    (tmp_path / "latin").write_bytes("agents: {} # caf\xe9".encode("latin-1"))
    with pytest.raises(ConfigError, match="it is not UTF-8 text"):
        load_config(tmp_path / "latin", env={})
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(tmp_path / "loop", env={})


# --- YAML -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("0.5", 0.5),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("'5'", "5"),
        ('"true"', "true"),
        ("'~'", "~"),
        ("5e-324", 5e-324),
        ("'1e5'", "1e5"),
        ("off", "off"),  # YAML 1.1 would say False
        ("yes", "yes"),
        ("NO", "NO"),
        ("+4915112345678", "+4915112345678"),  # a telephone number
        ("0123", "0123"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("12:30:01", "12:30:01"),
        ("2026-01-31", "2026-01-31"),
        (".inf", ".inf"),
        ("[1, a, [x]]", [1, "a", ["x"]]),
        ("{a: {1: x}}", {"a": {"1": "x"}}),
        ("|\n      one\n      two\n", "one\ntwo\n"),
        ("ok  # a comment", "ok"),
        ("\N{GRINNING FACE}", "\N{GRINNING FACE}"),
    ],
)
def test_words_are_read_as_in_json(load: Load, text: str, value: object) -> None:
    config = load(f"channels:\n  x:\n    key: {text}\n")
    assert config.channels["x"]["key"] == value


def test_json_is_yaml_and_a_byte_order_mark_is_no_matter(load: Load) -> None:
    config = load('\ufeff{\n\t"agents": {"defaults": {"max_tokens": 7}}\n}')
    assert config.agents.defaults.max_tokens == 7


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f"))
    | st.text(alphabet="\\u\U0001f600/d8\"'")
)
def test_any_text_in_json_is_read(text: str) -> None:
    source = Source(path=Path("config.yaml"), home=Path(), env={})
    config = parse_config(json.dumps({"hooks": {"x": {"key": [text]}}}), source)
    assert config.hooks["x"]["key"] == [text] or "${" in text


@pytest.mark.parametrize(
    "text", ["", "# only a comment\n", "---\n", "null", "agents:\nchannels:\n"]
)
def test_an_empty_section_is_a_default_one(load: Load, text: str) -> None:
    assert load(text).model_dump() == Config().model_dump()


def test_a_plugin_without_settings_is_configured(load: Load) -> None:
    config = load("channels:\n  telegram:\ntools:\n  exec:\n")
    assert config.channels == {"telegram": {}}
    assert config.tools.model_extra == {"exec": {}}


def test_null_means_the_default(load: Load) -> None:
    config = load("agents: {defaults: {max_tokens: null}, list: }\nbindings:\n")
    assert config.agents.defaults.max_tokens == 4096


def test_anchors_and_merge_keys(load: Load) -> None:
    config = load(
        "channels:\n"
        "  a: &a {url: x, deep: {one: 1, two: 2}}\n"
        "  b: &b {url: y, more: 1}\n"
        "  c: {url: z, deep: {two: 3}, <<: *a}\n"
        "  d: *a\n"
        "  e: {<<: [*a, *b]}\n"
    )
    assert config.channels["c"] == {"url": "z", "deep": {"one": 1, "two": 3}}
    assert config.channels["d"] == {"url": "x", "deep": {"one": 1, "two": 2}}
    assert config.channels["e"]["more"] == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "agents: {}\nagents: {}\n",
            "config.yaml:2: a key must be a word, and there only once",
        ),
        ("a: [", "config.yaml:2: did not find expected node content"),
        ("a: 1\n b: 2\n", "config.yaml:2: mapping values are not allowed"),
        ("a: *x\n", "config.yaml:1: found undefined alias; put it in quotes"),
        ("a: 1\n---\nb: 2\n", "config.yaml:2: but found another document"),
        ("a: \x07", "config.yaml: control characters are not allowed"),
        ("[1]: 2\n", "config.yaml:1: a key must be a word"),
        ("- a\n", "config.yaml: must hold sections, such as `agents:`"),
        ("just text", "config.yaml: must hold sections"),
        ("a: !!python/name:os.system x\n", "tags are not supported"),
        ("a: !secret x\n", "config.yaml:1: tags are not supported"),
        ("a: !!binary eA==\n", "tags are not supported"),
    ],
)
def test_what_is_no_config_is_refused(load: Load, text: str, problem: str) -> None:
    assert problem in problems(load, text)[0]


BOMBS = {
    "deep flow": "[" * 500_000,
    "deep mapping": "{a: " * 200_000,
    "deep block": "- " * 300_000 + "a",
    "billion laughs": "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 9}]\n" for n in range(1, 9)),
    "circle": "a: &a [*a]\n",
    "merge circle": "a: &a {<<: *a}\n",
    "many values": "a: [" + "1," * 400_000 + "1]",
    "many keys": "".join(f"k{n}: 1\n" for n in range(60_000)),
    "too large": "#" * 1_048_577,
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS.keys())
def test_a_yaml_bomb_is_an_error_and_quick(load: Load, text: str) -> None:
    started = time.process_time()  # a busy machine does not count
    assert len(problems(load, text)) == 1
    assert time.process_time() - started < 10  # far above what a slow machine needs


def test_the_pure_python_loader_serves_as_well(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    import yaml

    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    config = load("session: {dm_scope: main}\nchannels: {x: {a: off, b: +49}}\n")
    assert config.session.dm_scope == "main"
    assert config.channels["x"] == {"a": "off", "b": "+49"}
    assert "config.yaml:1: nested deeper" in problems(load, "[" * 500)[0]


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("text", ["*hunter2*", "!hunter2", "!hunter2!x", "&a &hunter2"])
def test_a_secret_that_looks_like_yaml_is_not_shown(
    load: Load, monkeypatch: pytest.MonkeyPatch, text: str, fast: bool
) -> None:
    import yaml

    if not fast:
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    assert "hunter2" not in problems(load, f"channels: {{x: {{password: {text}}}}}")[0]


# --- A mapping instead of a file --------------------------------------------------


def test_a_mapping_is_read_like_a_file(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("queue_limit: 5\n")
    content = {
        "$include": (),
        "session": {"$include": "more.yaml", "identity_links": {1: ("${A}",)}},
        "channels": {"x": {"token_env": "B", "text": "$${A}", "none": None}},
        "agnets": {},
    }
    before = repr(content)
    env = {"A": "one", "B": "a-secret", "RUSTYCLAW_SESSION__MAX_CACHED": "7"}
    config = config_from(content, home=tmp_path, env=env)
    assert (config.home, config.path) == (tmp_path, tmp_path / "config.yaml")
    assert (config.session.queue_limit, config.session.max_cached) == (5, 7)
    assert config.session.identity_links == {"1": ("one",)}
    assert config.channels["x"] == {"token_env": "B", "text": "${A}", "none": None}
    assert config.redactor.scrub("a-secret") == "***"
    assert config.warnings == (
        "config.yaml: agnets: unknown key; did you mean 'agents'?",
    )
    assert repr(content) == before
    with pytest.raises(ConfigError, match=r"config\.yaml: session: must be a mapping"):
        config_from({"session": 5}, home=tmp_path, env={})


# --- Variables ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${NAME}", "value"),
        ("a ${NAME} b ${NAME}", "a value b value"),
        ("$${NAME}", "${NAME}"),
        ("$$${NAME}", "$${NAME}"),
        ("$NAME ${} ${1} $", "$NAME ${} ${1} $"),
        ("${OTHER}", "${NAME}"),  # what a variable holds is not searched again
    ],
)
def test_variables_in_texts(load: Load, text: str, value: str) -> None:
    config = load(f"channels: {{x: {{key: '{text}'}}}}", NAME="value", OTHER="${NAME}")
    assert config.channels["x"]["key"] == value
    assert config.warnings == ()


def test_a_variable_may_become_a_number(load: Load) -> None:
    config = load("agents:\n  defaults:\n    max_tokens: ${N}\n", N="7")
    assert config.agents.defaults.max_tokens == 7


def test_a_missing_variable_is_empty_and_a_warning(load: Load) -> None:
    config = load("channels:\n  x:\n    key: a${NO}b\n")
    assert config.channels["x"]["key"] == "ab"
    assert config.warnings == (
        "config.yaml:3: channels.x.key: the variable 'NO' is not set; "
        "it is read as empty",
    )


@given(st.text(alphabet="${}ANM_ x1", max_size=40))
def test_an_escaped_text_comes_back(text: str) -> None:
    escaped = re.sub(r"(?=\$\{[A-Z_a-z]\w*\})", "$", text)
    source = Source(path=Path("config.yaml"), home=Path(), env={"A": "?", "N": "?"})
    config = parse_config(json.dumps({"channels": {"x": {"key": escaped}}}), source)
    assert config.channels["x"]["key"] == text
    assert config.warnings == ()


# --- Includes -------------------------------------------------------------------


def test_includes_are_laid_under_the_file(tmp_path: Path, load: Load) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/one.yaml").write_text(
        "$include: two.yaml\nsession: {queue_limit: 1, max_cached: 1}\n"
    )
    (tmp_path / "sub/two.yaml").write_text(
        "session: {queue_limit: 2, max_cached: 2, compact_keep_recent: 2}\n"
        "plugins: {deny: [a, b]}\n"
    )
    (tmp_path / "three.yaml").write_text("max_cached: 3\nauto_compact: false\n")
    config = load(
        "session:\n  queue_limit: 9\n  $include: ./three.yaml\n"
        "plugins: {deny: [c]}\n"
        "$include: [sub/one.yaml]\n"
    )
    session = config.session
    assert (session.queue_limit, session.max_cached) == (9, 3)
    assert (session.compact_keep_recent, session.auto_compact) == (2, False)
    assert config.plugins.deny == ("c",)  # lists are replaced, not joined


def test_the_later_of_several_includes_wins(tmp_path: Path, load: Load) -> None:
    for n in (1, 2):
        (tmp_path / f"{n}.yaml").write_text(f"session: {{queue_limit: {n}}}")
    assert load("$include: [1.yaml, 2.yaml]").session.queue_limit == 2


def test_an_error_names_the_file_and_line_it_came_from(
    tmp_path: Path, load: Load
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/x.yaml").write_text(
        "# comment\nsession:\n  queue_limit: many\n  dm_scop: main\n"
    )
    text = "gateway:\n  drain_seconds: -1\n$include: sub/x.yaml\n"
    assert problems(load, text) == [
        "sub/x.yaml:3: session.queue_limit: must be a valid integer, "
        "unable to parse string as an integer",
        "config.yaml:2: gateway.drain_seconds: must be greater than or equal to 0",
    ]


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"config": "$include: config.yaml"}, "config.yaml:1: $include: 'config.yaml': "
         "the file includes itself"),
        ({"config": "$include: a.yaml", "a": "\n$include: ./b.yaml",
          "b": "$include: a.yaml"}, "'a.yaml': the file includes itself"),
        ({"config": "\n$include: no.yaml"}, "config.yaml:2: $include: 'no.yaml': "),
        ({"config": "$include: a.yaml", "a": "[1]"}, "must lead to a mapping"),
        ({"config": "$include: 5"}, "config.yaml:1: $include: 5: "),
        ({"config": "$include: [[a]]"}, "config.yaml:1: $include: ['a']: "),
        ({"config": '$include: "a\\0b"'}, "config.yaml:1: $include: 'a\\x00b': "),
        ({"config": "$include: ."}, "is not a regular file"),
        ({"config": "<<: 5"}, "config.yaml:1: <<: must lead to a mapping"),
        ({"config": "$include: f0.yaml", "f120": "",
          **{f"f{n}": f"$include: f{n + 1}.yaml" for n in range(120)}},
         "one include too many"),
        ({"config": f"$include: [{'a.yaml, ' * 101}]", "a": "a: 1"},
         "one include too many"),
    ],
)  # fmt: skip
def test_includes_that_are_refused(
    tmp_path: Path, load: Load, files: dict[str, str], problem: str
) -> None:
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    assert problem in problems(load, files["config"])[0]


# --- Environment ----------------------------------------------------------------


def test_the_environment_wins_over_the_file(load: Load) -> None:
    config = load(
        "session: {dm_scope: main, queue_limit: 5}\nchannels: {telegram: {token: a}}",
        RUSTYCLAW_SESSION__DM_SCOPE="per_peer",
        RUSTYCLAW_SESSION__AUTO_COMPACT="false",
        RUSTYCLAW_AGENTS__DEFAULTS__MAX_TOKENS="7",
        RUSTYCLAW_AGENTS__DEFAULTS__MODEL="5",
        RUSTYCLAW_CHANNELS__TELEGRAM__TOKEN="${NOT} expanded",
        RUSTYCLAW_CHANNELS__SLACK__URL="x",
        RUSTYCLAW_PLUGINS__DENY='["a", "${b}", "+49"]',
    )
    assert config.session.dm_scope == "per_peer"
    assert config.session.queue_limit == 5
    assert not config.session.auto_compact
    assert config.agents.defaults.max_tokens == 7
    assert config.agents.defaults.model == "5"
    assert config.channels["telegram"]["token"] == "${NOT} expanded"
    assert config.channels["slack"] == {"url": "x"}
    assert config.plugins.deny == ("a", "${b}", "+49")
    assert config.warnings == ()


def test_bytes_in_the_environment_that_are_no_text(load: Load) -> None:
    config = load(
        "channels: {x: {token: '${T}', url_env: T}}",
        T="secret-\udcff",
        RUSTYCLAW_CHANNELS__X__LIST="[\udcff]",
    )
    assert config.channels["x"]["list"] == "[\udcff]"
    assert config.redactor.scrub("secret-\udcff") == "***"


def test_variables_that_are_no_overrides(load: Load) -> None:
    config = load(
        "",
        RUSTYCLAW_TRACE_HOOKS="1",
        RUSTYCLAW_LOG_LEVEL="debug",
        RUSTYCLAW_GATEWAY="x",
        RUSTYCLAW___SESSION="x",
        RUSTYCLAW_SESSION__="x",
        SESSION__DM_SCOPE="main",
    )
    assert config.warnings == ()
    assert config.model_dump() == Config().model_dump()


def test_a_wrong_variable_is_named(load: Load) -> None:
    config = load("", RUSTYCLAW_FOO__BAR="1", RUSTYCLAW_SESSION__DM_SCOP="main")
    assert config.warnings == (
        "RUSTYCLAW_SESSION__DM_SCOP: session.dm_scop: unknown key; "
        "did you mean 'dm_scope'?",
        "RUSTYCLAW_FOO__BAR: foo: unknown key; known: agents, bindings, channels, "
        "compactors, gateway, hooks, logging, plugins, providers, session, tools",
    )
    name = "RUSTYCLAW_SESSION__QUEUE_LIMIT"
    assert problems(load, "session: {queue_limit: 5}", **{name: "x"})[0].startswith(
        f"{name}: session.queue_limit: must be a valid integer"
    )
    assert problems(load, "", RUSTYCLAW_PLUGINS__DENY="[a] b") == [
        "RUSTYCLAW_PLUGINS__DENY: plugins.deny: must be a list"
    ]


# --- Unknown keys, wrong values ---------------------------------------------------


def test_unknown_keys_of_the_core_are_warnings(load: Load) -> None:
    config = load(
        "session: {}\n\n"
        "agnets: {}\n"
        "agents:\n  defaults:\n    modle: x\n    model: y\n"
        "  list:\n    - {id: a, tolls: {}, tools: {alow: [x]}}\n"
        "bindings: [{agent: a, match: {channel: x, peer: "
        "{kind: dm, id: 1, kinds: 2}}}]\n"
        "qqq: 1\n"
    )
    assert config.agents.defaults.model == "y"
    assert config.warnings == (
        "config.yaml:6: agents.defaults.modle: unknown key; did you mean 'model'?",
        "config.yaml:9: agents.list.0.tools.alow: unknown key; did you mean 'allow'?",
        "config.yaml:9: agents.list.0.tolls: unknown key; did you mean 'tools'?",
        "config.yaml:10: bindings.0.match.peer.kinds: unknown key; "
        "did you mean 'kind'?",
        "config.yaml:3: agnets: unknown key; did you mean 'agents'?",
        "config.yaml:11: qqq: unknown key; known: agents, bindings, channels, "
        "compactors, gateway, hooks, logging, plugins, providers, session, tools",
    )


WRONG = [
    ("agents: 5", "agents: must be a mapping"),
    ("agents: {list: {a: {}}}", "agents.list: must be a list"),
    ("agents: {list: [{}]}", "agents.list.0.id: is required; set it"),
    ("agents: {list: [{id: A}, {id: a}]}", "agents.list: duplicate agent id 'a'; "
     "rename one of them"),
    ("agents: {defaults: {max_tokens: 0}}", "agents.defaults.max_tokens: "
     "must be greater than 0"),
    ("agents: {defaults: {temperature: 3}}", "must be less than or equal to 2"),
    ("agents: {defaults: {model: [x]}}", "must be a valid string"),
    ("bindings: [{agent: a}]", "bindings.0.match: is required"),
    ("bindings: [{agent: a, match: {}}]", "bindings.0.match.channel: is required"),
    ("bindings: [{agent: a, match: {channel: x, peer: {kind: him, id: 1}}}]",
     "bindings.0.match.peer.kind: must be 'dm', 'group', 'channel' or 'thread'"),
    ("session: {dm_scope: all}", "session.dm_scope: must be 'main', 'per_peer', "),
    ("session: {identity_links: {ann: telegram:1}}",
     "session.identity_links.ann: must be a list"),
    ("session: {fsync: yes}", "must be 'always', 'turn' or 'never'"),
    ("session: {queue_mode: x}", "must be 'collect' or 'steer'"),
    ("bindings: [null]", "bindings.0: must be a mapping"),
    ("plugins: {deny: [a, null]}", "plugins.deny.1: must be a valid string"),
    ("session: {auto_compact: maybe}", "must be a valid boolean"),
    ("channels: 5", "channels: must be a mapping"),
    ("channels: {x: false}", "channels.x: must be a mapping"),
    ("tools: {proflie: full}", "tools.proflie: must be a mapping"),
    ("tools: {profile: all}", "'minimal', 'coding', 'messaging' or 'full'"),
    ("plugins: {deny: exec}", "plugins.deny: must be a list"),
    ("plugins: {on_error: {audit: maybe}}",
     "plugins.on_error.audit: must be 'open' or 'closed'"),
    ("logging: {format: xml}", "logging.format: must be 'plain' or 'json'"),
    ("logging: {filters: [a]}", "logging.filters.0: "),
]  # fmt: skip


@pytest.mark.parametrize(("text", "problem"), WRONG)
def test_wrong_values(load: Load, text: str, problem: str) -> None:
    (line,) = problems(load, text)
    assert line.startswith("config.yaml:1: ")
    assert problem in line


def test_all_problems_are_told_at_once(load: Load) -> None:
    text = "\n".join(text for text, _ in WRONG if text.startswith("session"))
    text = "session:\n" + "".join(
        f"  {line.partition('{')[2].removesuffix('}')}\n" for line in text.splitlines()
    )
    lines = problems(load, text)
    assert [line.partition(": ")[0] for line in lines] == [
        f"config.yaml:{n}" for n in range(2, 7)
    ]


def test_numbers_become_texts_where_an_id_is_wanted(load: Load) -> None:
    config = load(
        "agents: {list: [{id: 007}, {id: 8}]}\n"
        "bindings: [{agent: 8, match: {channel: x, peer: {kind: dm, id: 12}}}]\n"
    )
    assert config.agent_ids == ("007", "8")
    assert config.bindings[0].match.peer
    assert config.bindings[0].match.peer.id == "12"


# --- The model --------------------------------------------------------------------


def fields(model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    for name, info in model.model_fields.items():
        yield f"{model.__name__}.{name}", info
        for inner in (info.annotation, *getattr(info.annotation, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from fields(inner)


def test_every_field_is_described() -> None:
    found = dict(fields(Config))
    assert len(found) > 70
    assert [name for name, info in found.items() if not info.description] == []


def test_the_defaults() -> None:
    config = Config()
    defaults, session = config.agents.defaults, config.session
    assert (defaults.max_tokens, defaults.max_tool_iterations) == (4096, 25)
    assert (defaults.timeout_seconds, defaults.max_concurrent) == (600, 32)
    assert (defaults.bootstrap_max_chars, defaults.bootstrap_total_chars) == (
        20_000,
        60_000,
    )
    assert (defaults.thinking, defaults.compactor) == ("off", "summary")
    assert (session.dm_scope, session.fsync) == ("per_channel_peer", "turn")
    assert (session.queue_mode, session.queue_limit) == ("collect", 20)
    assert (session.compact_keep_recent, session.max_cached) == (10, 64)
    assert (session.auto_compact, session.lock_timeout_seconds) == (True, 10)
    assert (config.tools.profile, config.plugins.budget_seconds) == ("full", 5.0)
    assert (config.plugins.allow, config.gateway.drain_seconds) == (None, 60)
    assert config.logging.model_dump() == {
        "format": "plain",
        "level": "info",
        "output": "stderr",
        "filters": (),
    }


def test_a_config_is_frozen() -> None:
    with pytest.raises(ValidationError):
        Config().session = None  # type: ignore[misc,assignment]  # must not work
    with pytest.raises(ValidationError):
        Config(agnets={})  # type: ignore[call-arg]  # must not work


@pytest.mark.parametrize(
    ("text", "id"),
    [
        ("main", "main"),
        ("Work", "work"),
        ("my agent!", "my-agent-"),
        ("a_b-c9", "a_b-c9"),
        ("", "main"),
        ("  ", "main"),
        ("-_-", "main"),
        ("_x", "x"),
        ("../etc", "etc"),
        ("\N{LATIN SMALL LETTER E WITH ACUTE}", "main"),
        ("x" * 99, "x" * 64),
    ],
)
def test_agent_ids_are_normalised(text: str, id: str) -> None:
    assert agent_id(text) == id
    assert AgentConfig(id=text).id == id


@given(st.text())
def test_an_agent_id_is_always_a_safe_name(text: str) -> None:
    assert re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", agent_id(text))
    assert agent_id(agent_id(text)) == agent_id(text)


@pytest.mark.parametrize(
    ("agents", "ids", "default"),
    [
        ("[]", ("main",), "main"),
        ("[{id: b}, {id: a}]", ("b", "a"), "b"),
        ("[{id: b}, {id: a, default: true}]", ("b", "a"), "a"),
    ],
)
def test_the_default_agent(
    load: Load, agents: str, ids: tuple[str, ...], default: str
) -> None:
    config = load(f"agents: {{list: {agents}}}")
    assert config.agent_ids == ids
    assert config.default_agent_id == default
    assert config.agent(default).id == default
    assert config.agent(default.upper()).id == default
    assert config.warnings == ()
    with pytest.raises(ConfigError, match=r"there is no agent 'x'; known are \w"):
        config.agent("x")


def test_a_binding_to_no_agent_is_a_warning(load: Load) -> None:
    config = load(
        "agents: {list: [{id: a}]}\nbindings:\n"
        "  - {agent: A, match: {channel: x}}\n"
        "  - {agent: b, match: {channel: x}}\n"
    )
    assert config.warnings == (
        "config.yaml:4: bindings.1.agent: there is no agent 'b'; "
        "the default one answers",
    )


def test_the_config_is_cheap_while_there_is_no_file(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from rustyclaw.config import *; "
        "home = Path(sys.argv[1]); load_config(home=home, env={}); "
        "config_from({'session': {}}, home=home, env={}); "
        "print([n for n in ('yaml', 'ruamel.yaml', 'filelock', 'asyncio', 'typer',"
        " 'anyio') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
