"""Which model answers, and the life of its provider."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
import pytest
from importlib_metadata import EntryPoint
from rustyclaw import ModelInfo, ProviderError
from rustyclaw.config import config_from
from rustyclaw.discovery import Catalog, Plugin
from rustyclaw.loading import Loader
from rustyclaw.testing import Bot, FakeProvider


class Named(FakeProvider):
    """A provider that says who answers, and how often it was opened and closed."""

    def __init__(self, name: str = "b", *problems: Exception) -> None:
        super().__init__(default=name)
        self.problems = list(problems)
        self.opened = self.closed = 0
        self.stuck = False

    async def __aenter__(self) -> Self:
        self.opened += 1
        if self.stuck:
            await anyio.sleep_forever()
        if self.problems:
            raise self.problems.pop(0)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.closed += 1

    async def models(self) -> Sequence[ModelInfo]:
        return (ModelInfo(id="fake"), ModelInfo(id="tiny", context_window=8_000))


def config(**defaults: Any) -> dict[str, Any]:
    return {"agents": {"defaults": defaults}}


@pytest.mark.parametrize(
    ("model", "label"),
    [
        ("b/large", "b/large"),
        ("b", "b/fake"),
        ("b/org/large:free", "b/org/large:free"),
        (None, "fake/fake"),
    ],
)
async def test_a_model_is_named_by_its_provider(
    tmp_path: Path, model: str | None, label: str
) -> None:
    plugins: dict[str, object] = {"providers.b": Named()}
    async with Bot(tmp_path, plugins=plugins, config=config(model=model)) as bot:
        await bot.say("hello")
        assert bot.last.model == label


async def test_session_then_agent_then_defaults_choose_the_model(
    tmp_path: Path,
) -> None:
    plugins: dict[str, object] = {
        f"providers.{name}": Named(name) for name in ("a", "d", "s")
    }
    agents = {"defaults": {"model": "d"}, "list": [{"id": "main"}]}
    agents["list"] += [{"id": "other", "model": "a"}]  # type: ignore[operator]  # a list
    async with Bot(tmp_path, plugins=plugins, config={"agents": agents}) as bot:
        assert await bot.say("hello") == "d"
        assert await bot.say("hello", session="agent:other:main") == "a"
        await bot.gateway.state.sessions.patch("agent:other:main", model="s")
        assert await bot.say("hello", session="agent:other:main") == "s"


async def test_a_provider_is_opened_once_and_closed_at_the_end(tmp_path: Path) -> None:
    provider = Named()
    plugins: dict[str, object] = {"providers.b": provider}
    async with Bot(tmp_path, plugins=plugins, config=config(model="b")) as bot:
        assert provider.opened == 0, "only when it is needed"
        async with anyio.create_task_group() as group:
            for number in range(5):
                group.start_soon(lambda n: bot.say("hi", session=f"s{n}"), number)
        assert (provider.opened, provider.closed) == (1, 0)
    assert (provider.opened, provider.closed) == (1, 1)


async def test_a_provider_that_did_not_open_is_tried_again(tmp_path: Path) -> None:
    provider = Named("here", ProviderError("no network"), RuntimeError("a bug"))
    plugins: dict[str, object] = {"providers.b": provider}
    async with Bot(tmp_path, plugins=plugins, config=config(model="b")) as bot:
        for words in ("no network", "internal error: a bug"):
            await bot.say("hello")
            assert bot.last.error is not None
            assert bot.last.error.message == words
        assert await bot.say("hello") == "here"


async def test_opening_a_provider_has_a_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rustyclaw.agent.models._OPENING_SECONDS", 0.02)
    provider = Named("here")
    provider.stuck = True
    plugins: dict[str, object] = {"providers.b": provider}
    async with Bot(tmp_path, plugins=plugins, config=config(model="b")) as bot:
        await bot.say("hello")
        assert bot.last.error is not None
        assert bot.last.error.kind == "timeout"
        provider.stuck = False
        assert await bot.say("hello") == "here"
        await anyio.sleep(0.04)
        assert await bot.say("hello") == "here"
        assert (provider.opened, provider.closed) == (2, 0), "it is not for its life"


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("b/tiny", {}),
        ("b", {"agents": {"defaults": {"context_tokens": 9_000}}}),
        ("b", {"session": {"max_context_tokens": 9_000}}),
    ],
)
async def test_a_window_that_is_too_small_is_refused(
    tmp_path: Path, model: str, settings: dict[str, Any]
) -> None:
    agents = {"defaults": {"model": model, **_defaults(settings)}}
    async with Bot(
        tmp_path,
        plugins={"providers.b": Named()},
        config={**settings, "agents": agents},
    ) as bot:
        await bot.say("hello")
        assert bot.last.error is not None
        assert "at least 16000 are needed" in bot.last.error.message
        assert bot.last.error.kind == "provider_error"


def _defaults(settings: dict[str, Any]) -> dict[str, Any]:
    defaults: dict[str, Any] = settings.get("agents", {}).get("defaults", {})
    return defaults


async def test_a_provider_may_leave_in_peace(tmp_path: Path) -> None:
    class Polite(FakeProvider):
        left = False

        async def __aexit__(self, *exc_info: object) -> None:
            await anyio.sleep(0.01)  # says goodbye to its vendor
            self.left = True

    provider = Polite()
    async with Bot(tmp_path, provider=provider) as bot:
        await bot.say("hi")
        assert not provider.left
    assert provider.left


async def test_a_provider_says_what_it_offers(tmp_path: Path) -> None:
    broken = Named("b", ProviderError("no key", provider="b"))
    async with Bot(tmp_path, plugins={"providers.b": broken}) as bot:
        with pytest.raises(ProviderError, match="no key"):
            await bot.gateway.models.of("b")

        assert [info.id for info in await bot.gateway.models.of("b")] == [
            "fake",
            "tiny",
        ]


def test_who_has_configured_nothing_is_served_by_what_needs_no_key() -> None:
    names = ("azure_openai", "offline", "anthropic")
    points = [EntryPoint(name, "x:y", "rustyclaw.providers") for name in names]
    catalog = Catalog([Plugin("providers", p.name, p) for p in points])
    config = config_from({}, home=Path("home"), env={})

    assert Loader(config, catalog).enabled("providers")[0] == "offline"
