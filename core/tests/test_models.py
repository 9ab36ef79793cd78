"""Which model answers, and the life of its provider."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import anyio
import pytest
from importlib_metadata import EntryPoint
from rustyclaw import (
    Finished,
    ModelInfo,
    ModelRequest,
    Notice,
    PluginConfig,
    ProviderError,
    Secret,
    StreamEvent,
)
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


# --- A provider that is made of others ------------------------------------------------


class Lender(FakeProvider):
    """Answers with a model that it is lent: ``lender/b/fake`` is ``b/fake``."""

    default_model = "b"
    settings: dict[str, Any] | None = None
    told = 0

    async def about(self, model: str) -> ModelInfo | None:
        lent = await self.host.open_model(model, "", {})
        return ModelInfo(id=model, context_window=lent.window)

    async def stream(self, request: ModelRequest) -> AsyncIterator[StreamEvent]:
        profile = "second" if self.settings is not None else ""
        spec, settings = request.model, self.settings or {}
        lent = await self.host.open_model(spec, profile, settings)
        self.host.announce("lent", {"model": lent.label})
        async for event in lent.provider.stream(request):
            if isinstance(event, Finished):
                event = replace(event, model=lent.label, thinking="low")
            yield event


class Keyed(Named):
    class Config(PluginConfig):
        api_key: Secret = Secret("own")

    made: ClassVar[list[Keyed]] = []

    def __init__(self, config: Any = None) -> None:
        super().__init__("b")
        self.config = config
        self.made.append(self)


@pytest.fixture
def keyed() -> type[Keyed]:
    class Fresh(Keyed):
        made: ClassVar[list[Keyed]] = []

    return Fresh


async def test_a_provider_is_lent_others(tmp_path: Path, keyed: type[Keyed]) -> None:
    lender, seen = Lender(), []
    plugins: dict[str, object] = {"providers.lender": lender, "providers.b": keyed}
    settings = {"agents": {"defaults": {"model": "lender/b/fake"}}}
    async with Bot(tmp_path, plugins=plugins, config=settings) as bot:
        bot.gateway.feed.watch(seen.append)
        assert await bot.say("hello") == "b"
        assert (bot.last.model, bot.last.thinking) == ("b/fake", "low")
        (notice,) = [n for n in seen if isinstance(n, Notice)]
        assert (notice.name, notice.payload) == ("lent", {"model": "b/fake"})
        assert notice.scope == "operator.read"
        await bot.gateway.models.resolve("b")
        assert len(keyed.made) == 1, "shared with those who use it directly"
        assert lender.host.folder == tmp_path / "providers" / "lender"

        lender.settings = {"api_key": "another"}
        assert await bot.say("hello") == "b"
        assert await bot.say("hello") == "b"
        keys = [one.config.api_key.get_secret_value() for one in keyed.made]
        assert keys == ["own", "another"], (
            "a name of its own, so an instance of its own"
        )
        assert bot.gateway.redact("another") == "***"
    assert [one.closed for one in keyed.made] == [1, 1]
    (path,) = (tmp_path / "agents/main/sessions").glob("*.jsonl")
    answers = map(json.loads, path.read_text().splitlines())
    assert {a["model"] for a in answers if "model" in a} == {"b/fake"}


@pytest.mark.parametrize(
    ("spec", "section", "words"),
    [
        ("lender/lender/b", {}, "cannot use itself"),
        ("lender/b/fake", {"b": {"enabled": False}}, "'b' is disabled"),
        ("lender/gone/x", {}, "try `pip install rustyclaw-gone`"),
        ("lender/b/tiny", {}, "at least 16000 are needed"),
    ],
)
async def test_what_is_not_lent(
    tmp_path: Path, keyed: type[Keyed], spec: str, section: dict[str, Any], words: str
) -> None:
    plugins: dict[str, object] = {"providers.lender": Lender(), "providers.b": keyed}
    settings = {**config(model=spec), "providers": section}
    async with Bot(tmp_path, plugins=plugins, config=settings) as bot:
        await bot.say("hello")
        assert bot.last.error is not None
        assert words in bot.last.error.message
    if section:
        assert not keyed.made


async def test_a_request_says_whose_it_is(tmp_path: Path) -> None:
    settings = {"session": {"compact_keep_recent": 2}}
    async with Bot(tmp_path, config=settings) as bot:
        for number in range(3):
            await bot.say(f"message {number}")
        first, _, third = bot.provider.requests
        assert first.session_key == "agent:main:main"
        assert first.run_id
        assert first.run_id != third.run_id
        assert first.conversation == third.conversation != ""
        await bot.gateway.compact("main")
        await bot.say("after a compaction")
        await bot.gateway.reset("main")
        await bot.say("after a reset")
        asked = bot.provider.requests
    assert asked[3].conversation == first.conversation, "the summary's"
    assert len({r.conversation for r in (first, *asked[-2:])}) == 3
