"""`probe` asks what takes a key, and says who did not answer, where and why."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from rustyclaw import ProviderError
from rustyclaw_http import provider as module
from rustyclaw_http.config import ProviderConfig
from rustyclaw_http.testing.server import Answer, FakeVendor

from .conftest import KEY, Acme, AcmeProvider

JSON = {"content-type": "application/json"}
LISTED = Answer.json({"data": [{"id": "acme-1"}, {"id": "acme-2"}]})


async def failure(provider: AcmeProvider) -> ProviderError:
    with pytest.raises(ProviderError) as failed:
        await provider.probe()
    assert KEY not in str(failed.value)
    return failed.value


async def test_asks_with_the_key_and_closes(acme: Acme, vendor: FakeVendor) -> None:
    vendor.script(LISTED, Answer.json({"models": [{"name": "one"}]}))
    provider = acme()

    assert await provider.probe() == "lists 2 models"
    assert await provider.probe() == "lists 1 model"
    assert [r.target for r in vendor.requests] == ["/v1/models"] * 2
    assert vendor.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert [r.connection for r in vendor.requests] == [1, 2]


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (Answer.json({"error": "Invalid API key"}, status=401), "auth", ["401"]),
        (Answer.json({"error": f"bad {KEY}"}, status=403), "auth", ["403"]),
        (Answer.json({"error": "billing_not_active"}, status=429), "billing", ["top"]),
        (Answer.json({"data": []}), "model_not_found", ["has no model"]),
        (Answer.json({"welcome": "here"}), "format", ["no", "list of models", "URL"]),
        (Answer.json([]), "model_not_found", ["has no model"]),
        (Answer.json({}, status=503), "timeout", ["503"]),
        (Answer(headers=JSON, chunks=[b"{"], end="reset"), "timeout", ["URL"]),
        (Answer(status=200, end="hang", delay_seconds=3), "timeout", ["URL"]),
    ],
)
async def test_failures(
    answer: Answer, kind: str, words: list[str], acme: Acme, vendor: FakeVendor
) -> None:
    vendor.default = answer

    error = await failure(acme())

    assert error.kind == kind, str(error)
    for word in words:
        assert word.replace("URL", vendor.url) in str(error)


async def test_the_address_is_named(acme: Acme) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"

        error = await failure(acme(base_url=url))

    assert error.kind == "timeout"
    assert "cannot be reached" in str(error)
    assert f"at {url}; check the network" in str(error)


async def test_it_has_a_deadline(
    acme: Acme, vendor: FakeVendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.2)
    vendor.default = Answer(end="hang", delay_seconds=60)

    error = await failure(acme(idle_timeout_seconds=60))

    assert error.kind == "timeout"
    assert str(error).endswith(f"did not answer within 0.2 s at {vendor.url}")
    await vendor.requests[0].left.wait()


@pytest.mark.parametrize(
    ("fields", "env", "lacks"),
    [
        ({}, {}, "`providers.acme.api_key_env` or ACME_API_KEY or ACME_KEY"),
        ({}, {"ACME_KEY": "k"}, ""),
        ({"api_key": "k"}, {}, ""),
        ({"base_url": "https://x.example"}, {"ACME_KEY": "k"}, "has no key"),
    ],
)
async def test_what_the_settings_lack(
    fields: dict[str, Any],
    env: dict[str, str],
    lacks: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in AcmeProvider.key_variables:
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    provider = AcmeProvider(ProviderConfig.model_validate(fields))

    problem = provider.problem()

    assert lacks in problem
    assert bool(problem) == bool(lacks)
    if problem:
        assert (await failure(provider)).kind == "auth"


def test_an_address_may_be_missing() -> None:
    class Elsewhere(AcmeProvider):
        default_base_url = None

    provider = Elsewhere(ProviderConfig.model_validate({"api_key": "k"}))
    assert "set `providers.acme.base_url`" in provider.problem()
