"""A plugin's section: its own model, secrets by variable, errors that help."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, Field, field_validator
from rustyclaw.config import Config, Secret, load_config
from rustyclaw.errors import ConfigError
from rustyclaw.interfaces import PluginConfig

CANARY = "canary-7f3a9c-do-not-show"
Load = Callable[..., Config]


class Account(PluginConfig):
    token: Secret = Field(Secret(""), description="its token")


class Sample(PluginConfig):
    token: Secret = Field(description="the token")
    limit: int = Field(5, gt=0, description="a number")
    mode: Literal["a", "b"] = Field("a", description="a word")
    names: tuple[str, ...] = Field((), description="texts")
    own_env: str = Field("", description="not a companion of anything")
    spare: str | None = Field("x", description="null is a value of its own")
    accounts: dict[str, Account] = Field({}, description="by name")
    more: tuple[Account, ...] | None = Field(None, description="in a list")
    nested: Account = Field(default_factory=Account, description="inside")

    @field_validator("limit")
    @classmethod
    def _no_thirteen(cls, value: int) -> int:
        if value == 13:
            raise ValueError("thirteen brings bad luck")
        return value


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(text: str, **env: str) -> Config:
        (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
        return load_config(home=tmp_path, env=env)

    return load


def problems(config: Config, model: type[BaseModel] = Sample) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config.section("channels", "x", model)
    assert caught.value.__cause__ is None
    assert CANARY not in repr(caught.value)
    return str(caught.value).splitlines()


def section(text: str) -> str:
    return "channels:\n  x:\n" + "".join(f"    {line}\n" for line in text.splitlines())


def test_a_section_becomes_the_model(load: Load) -> None:
    config = load(section("token: abc\nlimit: ${N}\nnames: [a]\nspare:"), N="1")
    sample = config.section("channels", "x", Sample)
    assert sample.token.get_secret_value() == "abc"
    assert (sample.limit, sample.names, sample.spare) == (1, ("a",), None)
    assert config.channels["x"]["limit"] == "1"  # the raw section stays as it is
    assert config.section("channels", "x", Sample) == sample


class Empty(PluginConfig):
    size: int = Field(3, description="a number")


@pytest.mark.parametrize(
    "kind", ["providers", "channels", "tools", "hooks", "compactors"]
)
def test_every_kind_has_sections(load: Load, kind: str) -> None:
    config = load(f"{kind}: {{x: {{size: 4}}, y: }}")
    assert config.section(kind, "x", Empty).size == 4  # type: ignore[arg-type]  # a str
    assert config.section(kind, "y", Empty).size == 3  # type: ignore[arg-type]  # a str
    assert config.section(kind, "z", Empty).size == 3  # type: ignore[arg-type]  # a str
    assert Config().section(kind, "x", Empty).size == 3  # type: ignore[arg-type]  # a str


def test_secrets_from_variables(load: Load) -> None:
    config = load(
        section(
            "token_env: TOKEN\nlimit_env: LIMIT\nown_env: TOKEN\n"
            "accounts: {a: {token_env: A}}\nmore: [{token_env: B}]\n"
            "nested: {token_env: C}"
        ),
        TOKEN=CANARY,
        LIMIT="7",
        A="secret-of-a",
        B="secret-of-b",
        C="secret-of-c",
    )
    sample = config.section("channels", "x", Sample)
    assert sample.token.get_secret_value() == CANARY
    assert (sample.limit, sample.own_env) == (7, "TOKEN")
    assert sample.accounts["a"].token.get_secret_value() == "secret-of-a"
    assert sample.more
    assert sample.more[0].token.get_secret_value() == "secret-of-b"
    assert sample.nested.token.get_secret_value() == "secret-of-c"
    assert config.redactor.scrub(f"{CANARY} secret-of-a") == "*** ***"


@pytest.mark.parametrize("place", ["relative", "absolute", "home"])
def test_secrets_from_files(
    load: Load, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = load("").home
    (home / "credentials").mkdir(parents=True)
    (home / "credentials" / "x.token").write_text(f"{CANARY}\n")
    monkeypatch.setenv("HOME", str(home))
    root = {"relative": "", "absolute": f"{home}/", "home": "~/"}[place]
    config = load(section(f"token_file: {root}credentials/x.token\nlimit: 1"))

    sample = config.section("channels", "x", Sample)

    assert sample.token.get_secret_value() == CANARY
    assert config.redactor.scrub(f"so {CANARY}!") == "so ***!"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "x.token': No such file or directory, or set 'token'"),
        ("", "the file 'x.token' is empty; write the value there, or set 'token'"),
        (" \n", "is empty"),
        (b"\xff\xfe\x00", "it is not UTF-8 text"),
        ("folder", "is not a regular file"),
    ],
)
def test_files_without_a_secret(
    load: Load, content: str | bytes | None, problem: str
) -> None:
    file = load("").home / "x.token"
    file.parent.mkdir(parents=True, exist_ok=True)
    if content == "folder":
        file.mkdir()
    elif content is not None:
        file.write_bytes(content.encode() if isinstance(content, str) else content)

    (line,) = problems(load(section("token_file: x.token\nlimit: 1")))

    assert line.startswith("config.yaml:3: channels.x.token_file: ")
    assert problem in line


def test_a_value_that_is_given_comes_before_its_variable(load: Load) -> None:
    config = load(section("token: direct\ntoken_env: NOT_SET"))
    token = config.section("channels", "x", Sample).token
    assert token.get_secret_value() == "direct"


@pytest.mark.parametrize("env", [{}, {"TOKEN": ""}])
def test_an_unset_variable_is_an_error_that_names_both(
    load: Load, env: dict[str, str]
) -> None:
    assert problems(load(section("limit: 1\ntoken_env: TOKEN"), **env)) == [
        "config.yaml:4: channels.x.token_env: the variable 'TOKEN' is not set; "
        "export it, or set 'token'"
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("limit: 1", "config.yaml:2: channels.x.token: is required; set it, or name a "
         "variable in 'token_env'"),
        ("token: a\nlimit: x", "config.yaml:4: channels.x.limit: must be a valid "
         "integer, unable to parse string as an integer"),
        ("token: a\nlimit: 0", "channels.x.limit: must be greater than 0"),
        ("token: a\nlimit: 13", "channels.x.limit: thirteen brings bad luck"),
        ("token: a\nmode: c", "channels.x.mode: must be 'a' or 'b'"),
        ("token: a\nnames: b", "channels.x.names: must be a list"),
        ("token: a\nlimti: 1", "config.yaml:4: channels.x.limti: unknown key; "
         "did you mean 'limit'?"),
        ("token: a\nzzz: 1", "config.yaml:4: channels.x.zzz: unknown key; "
         "known: "
         "accounts, limit, mode, more, names, nested, own_env, spare, token"),
        ("token: a\nzzz_env: A", "channels.x.zzz_env: unknown key"),
        ("token: a\naccounts:\n  a:\n    tokn: b", "config.yaml:6: "
         "channels.x.accounts.a.tokn: unknown key; did you mean 'token'?"),
        ("token: a\naccounts: {a: 5}", "channels.x.accounts.a: must be a mapping"),
    ],
)  # fmt: skip
def test_errors_name_the_place_and_the_remedy(
    load: Load, text: str, problem: str
) -> None:
    (line,) = problems(load(section(text)))
    assert problem in line


def test_all_problems_of_a_section_are_told_at_once(load: Load) -> None:
    lines = problems(load(section("token_env: NO\nlimit: x\nmode: c\nqqq: 1")))
    assert [line.partition(": ")[0] for line in lines] == [
        "config.yaml:3",
        "config.yaml:6",
        "config.yaml:4",
        "config.yaml:5",
    ]


class Careless(PluginConfig):
    """A model that would show what it was given."""

    token: Secret = Field(description="the token")
    password: str = Field("", description="another secret, as plain text")

    @field_validator("password")
    @classmethod
    def _check(cls, value: str) -> str:
        raise ValueError(f"bad password {value!r}")


@pytest.mark.parametrize(
    "text",
    [
        f"token: [{CANARY}]",
        f"token: {{a: {CANARY}}}",
        f"token: a\npassword: {CANARY}",
        f"token: a\npassword: [{CANARY}]",
        f"token: {CANARY}\npassword: {CANARY}",
        "token: a\npassword_env: SECRET",
    ],
)
def test_no_error_shows_a_secret(load: Load, text: str) -> None:
    problems(load(section(text), SECRET=CANARY), Careless)


@pytest.mark.parametrize(
    "text",
    [
        f"channels: {{x: {{token: {CANARY}, limit: x}}}}\nsession: 5",
        f"providers: {{x: {{api_key: {CANARY}}}}}\nagents: {{list: [{{}}]}}",
        f"channels: [{CANARY}]\nproviders: {{x: {CANARY}}}",
        f"agents: {CANARY}",
        f"session: {{dm_scope: {CANARY}, max_cached: {CANARY}, fsync: [{CANARY}]}}",
        "session: {max_cached: '${SECRET}'}\nhooks: {x: {token: '${SECRET}'}}",
    ],
)
def test_no_error_of_the_core_shows_a_secret(load: Load, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text, SECRET=CANARY)
    assert CANARY not in repr(caught.value)


def test_nothing_that_is_printed_shows_a_secret(load: Load) -> None:
    config = load(
        "providers:\n  p: {api_key: %s, base_url: 'https://u:%s@host/?key=%s'}\n"
        "channels:\n  c: {accounts: {a: {bot_token: %s}}, token_env: T, n: 1}\n"
        "tools:\n  profile: coding\n  t: {headers: [{Authorization: 'Bearer %s'}]}\n"
        "hooks:\n  h: {password: 12345678, token: '', cookie: true, text: 'a %s b'}\n"
        % ((CANARY,) * 6),
        T="secret-of-the-environment",
    )
    shown = config.redacted()
    assert shown["providers"] == {
        "p": {"api_key": "***", "base_url": "https://u:***@host/?key=***"}
    }
    assert shown["channels"]["c"] == {
        "accounts": {"a": {"bot_token": "***"}},
        "token_env": "T",
        "n": 1,
    }
    assert shown["tools"]["t"] == {"headers": [{"Authorization": "***"}]}
    assert shown["tools"]["profile"] == "coding"
    assert shown["hooks"]["h"] == {
        "password": "***",
        "token": "",
        "cookie": True,
        "text": "a *** b",
    }
    assert shown["agents"]["defaults"]["max_tokens"] == 4096
    for text in (repr(config), str(config), f"{config}", repr(shown)):
        assert CANARY not in text
        assert "12345678" not in text
    assert config.redactor.scrub("secret-of-the-environment 12345678") == "*** ***"
    assert config.redactor.scrub(CANARY) == "***"


def test_a_secret_field_of_any_name_is_remembered(load: Load) -> None:
    class Odd(PluginConfig):
        word: Secret = Field(description="its name tells nothing")
        words: tuple[Secret, ...] = Field((), description="several")

    config = load(section(f"word: {CANARY}\nwords: [another-{CANARY}]"))
    assert config.redactor.scrub(CANARY) == CANARY
    odd = config.section("channels", "x", Odd)
    assert config.redactor.scrub(f"{CANARY} another-{CANARY}") == "*** ***"
    assert CANARY not in repr(odd)


def test_a_choice_of_models_is_left_to_pydantic(load: Load) -> None:
    class Small(PluginConfig):
        small: int = Field(description="a number")

    class Large(PluginConfig):
        large: int = Field(description="a number")

    class Choice(PluginConfig):
        one: Small | Large = Field(description="either")
        many: dict[str, Small | Large] = Field({}, description="by name")

    config = load(section("one: {large: 1}\nmany: {a: {small: 2}, b: {large: 3}}"))
    choice = config.section("channels", "x", Choice)
    assert choice.one == Large(large=1)
    assert choice.many == {"a": Small(small=2), "b": Large(large=3)}


def test_a_model_that_takes_anything_may(load: Load) -> None:
    class Open(BaseModel, extra="allow"):
        size: int = 1

    config = load(section("size: 2\nother: 3"))
    assert config.section("channels", "x", Open).model_extra == {"other": 3}
