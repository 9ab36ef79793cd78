"""The redactor: known secrets, secrets by shape, secrets by key."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, strategies as st
from pydantic import BaseModel
from rustyclaw.config import Redactor, Secret, load_config
from rustyclaw.config.secrets import PLACEHOLDER, looks_secret


@pytest.mark.parametrize(
    "key",
    [
        "token", "bot_token", "botToken", "TOKEN", "tokens", "auth_tokens", "secret",
        "client_secret", "clientSecret", "secrets", "password", "passwd", "passphrase",
        "api_key", "apiKey", "apikey", "x-api-key", "api_keys", "private_key",
        "privateKey", "private_key_pem", "credentials", "authorization",
        "Proxy-Authorization", "cookie", "Set-Cookie", "access_key",
        "secret_access_key", "signing_key", "encryption_key", "token_value",
        "service_account_credentials_json",
    ],
)  # fmt: skip
def test_keys_that_look_secret(key: str) -> None:
    assert looks_secret(key)


@pytest.mark.parametrize(
    "key",
    [
        "session_key", "max_tokens", "maxTokens",
        "context_tokens", "token_env", "token_limit",
        "tokenizer", "secret_file", "key", "keyboard", "id", "public_key", "cookie_jar",
        "password_min_length", "name", "", "0",
    ],
)  # fmt: skip
def test_keys_that_do_not_look_secret(key: str) -> None:
    assert not looks_secret(key)


SHAPES = {
    "sk-abcdefghijklmnopqrstuvwx": "***",
    "(sk-ant-api03-abcdefghij_KLMNOP-1234)": "(***)",
    "xoxb-1234567890-abcdefghij": "***",
    "xapp-1-A0123-456-abcdef": "***",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789": "***",
    "github_pat_11ABCDEFG0123456789_abcdef": "***",
    "id AKIAIOSFODNN7EXAMPLE end": "id *** end",
    "AIzaSyA-1234567890abcdefghijklmnopqrstuv": "***",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abc-def_123": "***",
    "123456789:AAEhBOweik9ai2o01mfkjfsl39-fjlkdsf2": "***",
    "https://api.telegram.org/bot123456789:AAEhBOweik9ai2o01mfkjfsl39_fjlkdsf/getMe":
        "https://api.telegram.org/bot***/getMe",
    "Authorization: Bearer abc.def-123456": "Authorization: Bearer ***",
    "authorization: basic dXNlcjpwYXNzd29yZA==": "authorization: basic ***",
    "https://host/p?key=abc&x=1": "https://host/p?key=***&x=1",
    "https://host/p?x=1&access_token=abc#frag": "https://host/p?x=1&access_token=***#frag",
    "wss://host/?token=a%20b": "wss://host/?token=***",
    "postgres://user:p4ss@host/db": "postgres://user:***@host/db",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabcd\n-----END RSA PRIVATE KEY-----\nx":
        "***\nx",
    "a\n-----BEGIN PRIVATE KEY-----\nMIIE": "a\n***",
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), SHAPES.items())
def test_secrets_are_found_by_their_shape(text: str, expected: str) -> None:
    assert Redactor().scrub(text) == expected
    assert Redactor().scrub(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "an ordinary sentence: nothing to hide",
        "risk-management-of-large-projects",
        "task-1234567890abcdefghijkl",
        "2026-01-31T12:30:01.123456",
        "https://host/p?page=2&max_tokens=5",
        "https://host:8080/a@b",
        "the bearer of bad news",
        "sha256:" + "0123456789abcdef" * 4,
        "agent:main:telegram:dm:123456789",
        "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    redactor = Redactor()
    redactor.add("a-known-secret")
    assert redactor.scrub(text) == text


@pytest.mark.parametrize(
    ("secret", "text", "expected"),
    [
        ("hunter2", "it is hunter2, yes hunter2", "it is ***, yes ***"),
        ("hunt", "hunt and hunter", "hunt and hunter"),  # too short
        ("   a   ", "x   a   y", "x***y"),
        ("secret-line\n", "secret-line", "***"),
        ("pass/word&1", f"?q={quote('pass/word&1', safe='')}", "?q=***"),
        ('quo"te\\d', json.dumps({"a": 'quo"te\\d'}), '{"a": "***"}'),
    ],
)
def test_known_secrets(secret: str, text: str, expected: str) -> None:
    redactor = Redactor()
    redactor.add(secret)
    assert redactor.scrub(text) == expected


def test_the_longer_of_two_secrets_goes_first() -> None:
    redactor = Redactor()
    redactor.add("abcdef")
    redactor.add("abcdefghij")
    assert redactor.scrub("abcdefghij abcdef") == "*** ***"


secrets = st.lists(st.text(alphabet=st.sampled_from("ab*?=& :/@\n\"'é1"), min_size=6))


@given(secrets, st.text(), st.data())
def test_a_known_secret_never_survives(
    known: list[str], text: str, data: st.DataObject
) -> None:
    redactor = Redactor()
    for secret in known:
        redactor.add(secret)
    pieces = data.draw(st.lists(st.sampled_from([*known, text, "a", "*", "***"])))
    scrubbed = redactor.scrub("".join(pieces))
    assert not [secret for secret in known if secret in scrubbed]


@given(st.recursive(st.text(min_size=6), lambda x: st.lists(x, min_size=1)))
def test_what_stands_below_a_secret_key_is_learned(value: object) -> None:
    redactor = Redactor()
    redactor.learn({"x": [{"api_key": value}]}, {})

    def texts(value: object) -> list[str]:
        if isinstance(value, list):
            return [text for item in value for text in texts(item)]
        return [str(value)]

    assert all(text not in redactor.scrub(f"<{text}>") for text in texts(value))


def test_what_is_learned_and_what_is_not() -> None:
    redactor = Redactor()
    redactor.learn(
        {
            "token_env": "NAME",
            "other_env": 5,
            "cookie": True,
            "password": 12345678,
            "text": "ordinary",
            "field": Secret("typed-secret"),
        },
        {"NAME": "value-of-name"},
    )
    assert redactor.scrub("value-of-name 12345678 typed-secret") == "*** *** ***"
    assert redactor.scrub("NAME ordinary True") == "NAME ordinary True"


def test_a_section_may_call_a_field_keys() -> None:
    class Ring(BaseModel):
        keys: dict[str, list[Secret]]

    redactor = Redactor()
    redactor.learn(Ring(keys={"front": [Secret("open-sesame")]}), {})
    assert redactor.scrub("say open-sesame") == f"say {PLACEHOLDER}"


def test_values_are_scrubbed_at_any_depth() -> None:
    redactor = Redactor()
    redactor.add("known-secret")
    value = {
        "list": [{"token": "x", "n": 1}, ("a known-secret", None, 1.5, True)],
        "password": {"deep": ["x"]},
        "api_key": "",
        "secret": None,
        "token": False,
        "pin_password": 0,
        "max_tokens": 4096,
    }
    before = json.dumps(value)
    assert redactor.scrub_value(value) == {
        "list": [{"token": PLACEHOLDER, "n": 1}, ["a ***", None, 1.5, True]],
        "password": PLACEHOLDER,
        "api_key": "",
        "secret": None,
        "token": False,
        "pin_password": PLACEHOLDER,
        "max_tokens": 4096,
    }
    assert json.dumps(value) == before
    assert redactor.scrub_value("known-secret") == PLACEHOLDER


def test_threads_may_add_and_scrub() -> None:
    redactor = Redactor()
    names = [f"secret-number-{n}" for n in range(200)]

    def work(part: list[str]) -> None:
        for name in part:
            redactor.add(name)
            assert redactor.scrub(name) == PLACEHOLDER

    threads = [threading.Thread(target=work, args=(names[n::8],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(redactor.scrub(name) == PLACEHOLDER for name in names)


@pytest.mark.parametrize(
    "text",
    [
        "1" * 200_000,
        "a" * 200_000,
        "sk-" * 60_000,
        "-----BEGIN " * 20_000,
        "-----BEGIN PRIVATE KEY-----" * 5_000,
        "?" * 200_000,
        "?a_" * 60_000,
        "://" * 60_000,
        "://a:" * 40_000,
        "bearer " * 30_000,
        "eyJ" + "eyJaaaaaaaa." * 15_000,
    ],
)
def test_hostile_text_is_scrubbed_in_time(text: str) -> None:
    started = time.monotonic()
    Redactor().scrub(text)
    assert time.monotonic() - started < 5  # quadratic would be minutes


def test_keys_in_the_environment_are_known_though_no_config_names_them(
    tmp_path: Path,
) -> None:
    env = {"ACME_API_KEY": "key-of-acme", "SHELL": "/bin/bash", "NO_TOKEN": "yes"}
    config = load_config(home=tmp_path, env=env)

    said = "key-of-acme uses /bin/bash, yes"
    assert config.redactor.scrub(said) == f"{PLACEHOLDER} uses /bin/bash, yes"
