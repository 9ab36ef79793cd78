"""Settings, keys and models, which all providers share."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from rustyclaw import ProviderError
from rustyclaw.testing import ProviderContract
from rustyclaw_http.config import ProviderConfig
from rustyclaw_http.testing.hearing import hear, request
from rustyclaw_http.testing.server import Answer, FakeVendor, Received

from .conftest import KEY, Acme, AcmeProvider

HELLO = Answer.sse({"text": "Hello"}, 0.01, {"text": " world"}, "[DONE]")


class TestAcme(ProviderContract):
    """The base class keeps the contract, so that what is built on it can."""

    failing_request = request(model="none")

    @pytest.fixture
    def provider(self, acme: Acme, vendor: FakeVendor) -> AcmeProvider:
        refusal = Answer.json({"error": "unknown model"}, status=404)
        listed = Answer.json({"data": [{"id": "acme-1"}]})

        def answers(received: Received) -> Answer:
            if received.method == "GET":
                return listed
            return refusal if received.json["model"] == "none" else HELLO

        vendor.default = answers
        return acme()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"base_url": "ftp://x"}, "https://"),
        ({"base_url": "x.example/v1"}, "https://"),
        ({"base_url": "https://x:99999"}, "Port"),
        ({"base_url": "https://user:pass@x"}, "no user"),
        ({"base_url": "https://x/?key=1"}, "api_key"),
        ({"base_url": "http://api.acme.example", "api_key": "k"}, "unencrypted"),
        ({"base_url": "http://8.8.8.8", "api_key": "k"}, "unencrypted"),
        ({"api_key": "a\nb"}, "printable"),
        ({"api_key": "schlüssel"}, "printable"),
        ({"headers": {"x y": "1"}}, "header name"),
        ({"headers": {"x": "a\r\nb: c"}}, "printable"),
        ({"idle_timeout_seconds": 0}, "greater than 0"),
        ({"models": [{"id": ""}]}, "at least 1"),
        ({"apikey": "x"}, "not permitted"),
    ],
)
def test_wrong_settings(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words) as failed:
        ProviderConfig.model_validate(fields)
    assert "schlüssel" not in str(failed.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8000/v1/",
        "http://127.0.0.1:1",
        "http://[::1]:1",
        "http://192.168.1.7:1234",
        "http://gpu:8000",
        "http://gpu.lan:8000",
        "https://api.acme.example/v1",
    ],
)
def test_addresses_that_may_have_a_key(url: str) -> None:
    config = ProviderConfig.model_validate({"base_url": url, "api_key": "k"})
    assert config.base_url == url.rstrip("/")


def test_secrets_do_not_print() -> None:
    fields = {"api_key": KEY, "headers": {"x-key": KEY}, "proxy": f"http://u:{KEY}@p"}
    assert KEY not in repr(ProviderConfig.model_validate(fields))


# --- Keys -----------------------------------------------------------------------


def test_a_key_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_KEY", "second")
    assert AcmeProvider().key() == "second"
    monkeypatch.setenv("ACME_API_KEY", "first")
    assert AcmeProvider().key() == "first"
    assert AcmeProvider().auth_headers() == {"authorization": "Bearer first"}
    config = ProviderConfig.model_validate({"api_key": "configured"})
    assert AcmeProvider(config).key() == "configured"


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://api.acme.example/v2", "first"),
        ("https://elsewhere.example", None),
        ("http://localhost:1", None),
    ],
)
def test_the_key_of_the_environment_stays_with_its_vendor(
    monkeypatch: pytest.MonkeyPatch, url: str, key: str | None
) -> None:
    monkeypatch.setenv("ACME_API_KEY", "first")
    assert AcmeProvider(ProviderConfig(base_url=url)).key() == key


async def test_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACME_API_KEY", raising=False)
    async with AcmeProvider() as provider:
        heard = await hear(provider, request())
    assert heard.error is not None
    assert heard.error.kind == "auth"
    assert str(heard.error) == (
        "provider 'acme' has no key; "
        "set `providers.acme.api_key_env` or ACME_API_KEY or ACME_KEY"
    )


def test_a_vendor_that_needs_none() -> None:
    class Free(AcmeProvider):
        needs_key = False
        default_base_url = "http://localhost:1"
        key_variables = ()

    assert Free().auth_headers() == {}


def test_no_address() -> None:
    class Homeless(AcmeProvider):
        default_base_url = None

    with pytest.raises(ProviderError, match=r"set `providers\.acme\.base_url`"):
        _ = Homeless().base_url


async def test_a_key_of_the_environment_is_masked(
    acme: Acme, vendor: FakeVendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Own(AcmeProvider):
        default_base_url = vendor.url

    monkeypatch.setenv("ACME_API_KEY", "first-of-all")
    body = {"error": {"message": "bad key first-of-all"}}
    vendor.script(Answer.json(body, status=401))
    async with Own() as provider:
        heard = await hear(provider, request())
    assert vendor.requests[0].headers["authorization"] == "Bearer first-of-all"
    assert "first-of-all" not in str(heard.error)


# --- Models ---------------------------------------------------------------------


async def test_models_of_the_config_win() -> None:
    models = [
        {"id": "acme-1", "context_window": 99_000},
        {"id": "acme-x", "context_window": 16_000, "reasoning": True},
    ]
    provider = AcmeProvider(ProviderConfig.model_validate({"models": models}))
    found = {model.id: model for model in await provider.models()}

    assert list(found) == ["acme-1", "acme-2", "acme-x"]
    assert (found["acme-1"].context_window, found["acme-1"].vision) == (99_000, True)
    assert found["acme-x"].reasoning
    assert provider.info("acme-2").context_window == 32_000
    assert provider.info("unheard-of").id == "unheard-of"
