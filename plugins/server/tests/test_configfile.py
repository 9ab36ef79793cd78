"""The config file without its secrets, and with them put back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings, strategies as st
from rustyclaw import ConfigError, Gateway, PluginConfig, Secret
from rustyclaw.testing import FakeChannel, make_gateway
from rustyclaw_server import configfile
from rustyclaw_server.configchange import changes, merged, restored, restored_text
from rustyclaw_server.configfile import REDACTED, ConfigFile

SECRET = "sec-ret-12345-\N{SNAKE}"
TEXT = f"""\
# of mine: {SECRET}
channels:
  telegram:
    token: '{SECRET}'   # the bot's
    webhook_secret: |
      line one of it
      line two of it
    dm_policy: open
  discord: {{token: "${{DISCORD}}", n: 5}}
providers:
  x: {{api_key: 123456789, tokens: [aaaaaa, bbbbbb], url: "https://u:{SECRET}@h/"}}
agents: {{list: [{{id: a, name: Ann}}, {{id: b}}]}}
"""


@pytest.fixture
async def gateway(tmp_path: Path, anyio_backend: Any) -> Any:
    async with make_gateway(tmp_path) as gateway:
        yield gateway


def file_of(gateway: Gateway, text: str) -> ConfigFile:
    gateway.config.path.write_text(text, encoding="utf-8")
    gateway.config.redactor.add(SECRET)
    return configfile.read(gateway)


async def test_no_secret_is_shown(gateway: Gateway) -> None:
    file = file_of(gateway, TEXT)

    shown = json.dumps([file.raw, file.shown, file.config, file.issues], default=str)
    for secret in (SECRET, "line one", "line two", "123456789", "aaaaaa", "bbbbbb"):
        assert secret not in shown
    assert file.issues == []
    assert file.shown["channels"]["telegram"] == {
        "token": REDACTED,
        "webhook_secret": REDACTED,
        "dm_policy": "open",
    }
    assert file.shown["channels"]["discord"] == {"token": "${DISCORD}", "n": 5}
    assert file.shown["providers"]["x"]["url"] == REDACTED
    assert file.raw is not None
    assert "# the bot's" in file.raw
    assert yaml.safe_load(file.raw)["agents"] == {
        "list": [{"id": "a", "name": "Ann"}, {"id": "b"}]
    }


class Odd(PluginConfig):
    """A section whose secrets have names that do not tell."""

    inner: dict[str, str] = {}
    webhook: Secret | None = None
    hosts: tuple[Secret, ...] = ()


class OddChannel(FakeChannel):
    Config = Odd  # type: ignore[assignment]  # a channel's, in real life


@pytest.mark.parametrize("enabled", [True, False])
async def test_what_a_model_calls_secret_is_not_shown(
    tmp_path: Path, enabled: bool, anyio_backend: Any
) -> None:
    text = f"""
channels:
  odd:
    {{webhook: hush-one, hosts: [hush-two], inner: 7, enabled: {str(enabled).lower()}}}
  gone: {{url: hush-three, n: 5, on: yes, mode: "${{X}}", room: hush-four}}
"""
    plugins = {"channels.odd": OddChannel()}
    async with make_gateway(tmp_path, plugins=plugins) as gateway:
        gateway.config.path.write_text(text)
        file = configfile.read(gateway)

    shown = json.dumps([file.raw, file.shown, file.config])
    assert "hush" not in shown
    assert file.shown["channels"]["odd"]["inner"] == 7
    gone = file.shown["channels"]["gone"]
    assert gone == {
        "url": REDACTED,
        "n": 5,
        "on": "yes",
        "mode": "${X}",
        "room": REDACTED,
    }


async def test_what_was_shown_comes_back_whole(gateway: Gateway) -> None:
    file = file_of(gateway, TEXT)
    assert file.raw is not None

    text = restored_text(file.raw, file)

    assert configfile.parse(text)[0] == file.parsed
    assert f"# of mine: {SECRET}" in text
    assert "# the bot's" in text


async def test_an_edit_keeps_the_secrets_beside_it(gateway: Gateway) -> None:
    file = file_of(gateway, TEXT)
    assert file.raw is not None

    text = restored_text(file.raw.replace("dm_policy: open", "dm_policy: x"), file)

    telegram = configfile.parse(text)[0]["channels"]["telegram"]
    assert telegram["token"] == SECRET
    assert telegram["dm_policy"] == "x"


@pytest.mark.parametrize(
    "text",
    [
        f"channels: {{new: {{token: {REDACTED}}}}}",
        f"channels: {{telegram: {{token: x{REDACTED}}}}}",
        f"providers: {{x: {{tokens: [{REDACTED}]}}}}",
        f"channels: {{telegram: {REDACTED}}}",
    ],
    ids=["a new one", "a part", "a shorter list", "a whole section"],
)
async def test_a_secret_that_nobody_knows_is_refused(
    gateway: Gateway, text: str
) -> None:
    file = file_of(gateway, TEXT)

    with pytest.raises(ConfigError, match="give the real one"):
        restored_text(text, file)


async def test_json_is_shown_as_json(gateway: Gateway) -> None:
    text = json.dumps({"channels": {"t": {"token": "abcdef \N{SNAKE}"}}})
    file = file_of(gateway, text)

    assert file.raw is not None
    assert json.loads(file.raw) == {"channels": {"t": {"token": REDACTED}}}


@pytest.mark.parametrize(
    "text", ["a: [", "- a\n- b", "a: *nobody", "a: 1\n\tb: 2", "{" * 200, "\x00"]
)
async def test_a_broken_file_has_issues_and_no_text(
    gateway: Gateway, text: str
) -> None:
    file = file_of(gateway, text)

    assert file.issues
    assert file.raw is None
    assert file.shown == {}


async def test_a_file_that_is_not_there_is_empty(gateway: Gateway) -> None:
    gateway.config.path.unlink(missing_ok=True)

    file = configfile.read(gateway)

    assert (file.exists, file.raw, file.parsed, file.issues) == (False, "", {}, [])


def test_aliases_do_not_explode() -> None:
    text = "a: &a [x,x,x,x,x,x,x,x,x]\n"
    for name, last in zip("bcdefgh", "abcdefg", strict=True):
        text += f"{name}: &{name} [{', '.join([f'*{last}'] * 9)}]\n"

    with pytest.raises(ConfigError, match="too many values"):
        configfile.parse(text)


@pytest.mark.parametrize(
    ("line", "issue"),
    [
        ("c.yaml:3: a.b: must be", {"path": "a.b", "message": "must be"}),
        ("c.yaml: must hold: x", {"path": "", "message": "must hold: x"}),
        ("c.yaml:1: no YAML", {"path": "", "message": "no YAML"}),
        (
            "it is no YAML; see line 3",
            {"path": "", "message": "it is no YAML; see line 3"},
        ),
    ],
)
def test_a_line_of_the_core_is_an_issue(line: str, issue: dict[str, str]) -> None:
    assert configfile.issue(line) == issue


# --- Patches --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "patch", "new"),
    [
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"x": None, "z": 3}}, {"a": {"y": 2, "z": 3}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": 1}, {"a": {"b": None, "c": 1}}, {"a": {"c": 1}}),
        (
            {"l": [{"id": "a", "n": 1}, {"id": "b"}]},
            {"l": [{"id": "b", "n": 2}, {"id": "c"}]},
            {"l": [{"id": "a", "n": 1}, {"id": "b", "n": 2}, {"id": "c"}]},
        ),
        ({"a": None, "b": 1}, {"b": 2}, {"a": None, "b": 2}),
    ],
)
def test_a_patch_merges(old: Any, patch: Any, new: Any) -> None:
    assert merged(old, patch) == new


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abc.", min_size=1, max_size=2), inner, max_size=3)
        | st.lists(
            st.dictionaries(st.just("n"), inner, max_size=1).flatmap(
                lambda d: st.sampled_from("xyz").map(lambda i: {"id": i, **d})
            ),
            max_size=3,
            unique_by=lambda item: item["id"],
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=1), JSON, max_size=3),
    st.dictionaries(st.text("abc", min_size=1, max_size=1), JSON, max_size=3),
)
def test_the_changes_lead_to_what_is_wanted(old: Any, new: Any) -> None:
    value = json.loads(json.dumps(old))

    found = changes(old, new)
    for keys in found.drop:
        _inner(value, keys)[0].pop(_inner(value, keys)[1])
    for keys, item in found.put:
        parent, key = _inner(value, keys)
        if isinstance(parent, list) and key == len(parent):
            parent.append(item)
        else:
            parent[key] = item

    assert value == new


def _inner(value: Any, keys: tuple[str, ...]) -> tuple[Any, Any]:
    for key in keys[:-1]:
        value = value[int(key) if isinstance(value, list) else key]
    return value, int(keys[-1]) if isinstance(value, list) else keys[-1]


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=60,
    deadline=None,
)
@given(
    st.dictionaries(
        st.sampled_from(["token", "api_key", "password", "name", "note"]),
        st.text(min_size=8, max_size=20) | st.integers(min_value=10**8),
        max_size=5,
    ),
    st.sampled_from(["json", "flow", "block", "quoted"]),
)
async def test_secrets_stay_and_come_back(
    gateway: Gateway, section: dict[str, Any], style: str
) -> None:
    whole = {"channels": {"t": section}}
    text = {
        "json": json.dumps(whole),
        "flow": yaml.safe_dump(whole, default_flow_style=True, allow_unicode=True),
        "block": yaml.safe_dump(whole, default_flow_style=False, allow_unicode=True),
        "quoted": yaml.safe_dump(whole, default_style='"'),
    }[style]
    gateway.config.path.write_bytes(text.encode())
    file = configfile.read(gateway)
    if file.issues:  # not all that YAML can write is a configuration
        return

    values = [value for _, value in configfile._leaves([file.shown, file.config], ())]
    for key in section.keys() & {"token", "api_key", "password"}:
        assert file.shown["channels"]["t"][key] == REDACTED
        others = [v for k, v in section.items() if k in ("name", "note")]
        assert section[key] in others or section[key] not in values
    assert file.raw is not None
    if file.raw.lstrip().startswith("{") and style == "json":
        assert restored(json.loads(file.raw), file.parsed) == file.parsed
    else:
        assert configfile.parse(restored_text(file.raw, file))[0] == file.parsed
