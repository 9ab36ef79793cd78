"""What is enabled, how it is loaded, and what a broken plugin costs: a row."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rustyclaw import (
    ConfigError,
    Gateway,
    PluginConfig,
    PluginError,
    Provider,
    Tool,
    ToolContext,
    ToolResult,
    Toolset,
    tool,
)
from rustyclaw.config.load import parse_config
from rustyclaw.config.source import Source
from rustyclaw.discovery import Catalog, discover
from rustyclaw.loading import Loader
from rustyclaw.testing import (
    BROKEN,
    Bot,
    FakeProvider,
    imported,
    install_broken,
    make_gateway,
)

FILES = {
    "good.py": """
from rustyclaw import PluginConfig, tool, Toolset
class GoodConfig(PluginConfig):
    word: str = "hello"
    token: str = ""
class Good(Toolset):
    Config = GoodConfig
    def tools(self):
        return []
class Bad(Toolset):
    def __init__(self, config=None):
        raise SystemExit("no\\nway")
provider = channel = hook = object()
""",
    "good-1.2.dist-info/METADATA": "Metadata-Version: 2.1\nName: rustyclaw-good\n"
    "Version: 1.2\nSummary: A good one.\n",
    "good-1.2.dist-info/entry_points.txt": "[rustyclaw.tools]\ngood = good:Good\n"
    "bad = good:Bad\n[rustyclaw.channels]\ngood = good:channel\n"
    "[rustyclaw.providers]\ngood = good:provider\n"
    "[other.group]\nalien = nowhere:at_all\n",
    "headless-1.0.dist-info/entry_points.txt": "[rustyclaw.hooks]\n"
    "headless = good:hook\n",
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "site"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(folder)
    yield folder
    for name in [n for n in sys.modules if n == "good" or n.startswith("broken_")]:
        del sys.modules[name]


def loader_of(
    site: Path, config: dict[str, Any] | None = None, **extra: object
) -> Loader:
    source = Source(path=site / "config.yaml", home=site, env={})
    named = {name.replace("__", "."): plugin for name, plugin in extra.items()}
    found = discover()
    ours = {"rustyclaw-good", "?", *(d for b in BROKEN.values() for d in b.dists)}
    catalog = Catalog(
        [
            plugin
            for plugins in (
                [(p,) for p in found.plugins.values()] + [*found.conflicts.values()]
            )
            for plugin in plugins
            if plugin.dist in ours or "broken" in plugin.dist
        ]
    )
    return Loader(parse_config(json.dumps(config or {}), source), catalog, named)


def states(loader: Loader) -> dict[str, str]:
    return {f"{s.kind}.{s.name}": s.state for s in loader.statuses()}


# --- What is enabled ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, {"tools.good": "enabled", "channels.good": "available"}),
        ({"channels": {"good": {}}}, {"channels.good": "enabled"}),
        ({"channels": {"good": {"enabled": False}}}, {"channels.good": "available"}),
        ({}, {"providers.good": "enabled"}),
        ({"providers": {"x": {}}}, {"providers.good": "available"}),
        ({"tools": {"good": {"enabled": False}}}, {"tools.good": "available"}),
        ({"plugins": {"deny": ["good"]}}, {"tools.good": "denied"}),
        ({"plugins": {"deny": ["rustyclaw-good"]}}, {"tools.bad": "denied"}),
        ({"plugins": {"allow": []}}, {"tools.good": "new", "tools.bad": "new"}),
        (
            {"plugins": {"allow": ["good"]}},
            {"tools.good": "enabled", "tools.bad": "new"},
        ),
        ({"plugins": {"allow": ["rustyclaw-good"]}}, {"tools.bad": "enabled"}),
        ({"plugins": {"allow": ["good"], "deny": ["good"]}}, {"tools.good": "denied"}),
    ],
)
def test_states(site: Path, config: dict[str, Any], expected: dict[str, str]) -> None:
    found = states(loader_of(site, config))
    assert {name: found[name] for name in expected} == expected
    assert "good" not in sys.modules, "nothing is imported to know that"


def test_a_row_tells_all(site: Path) -> None:
    row = next(s for s in loader_of(site).statuses() if s.kind == "tools")
    assert (row.dist, row.version, row.summary) == (
        "rustyclaw-good",
        "1.2",
        "A good one.",
    )


def test_metadata_that_is_damaged_stops_nobody(site: Path) -> None:
    rows = {row.name: row.kind for row in loader_of(site).statuses()}
    assert rows["good"] == "tools"
    # The oldest importlib-metadata that we support leaves it out.
    assert rows.get("headless", "hooks") == "hooks"


def test_a_plugin_that_is_not_allowed_is_not_imported(site: Path) -> None:
    loader = loader_of(site, {"plugins": {"allow": []}})
    with pytest.raises(PluginError, match="plugins allow good"):
        loader.load("tools", "good")
    assert "good" not in sys.modules


def test_objects_are_plugins_and_come_first(site: Path) -> None:
    mine = Toolset()
    loader = loader_of(site, tools__good=mine, tools__mine=mine)
    assert loader.enabled("tools") == ["good", "mine", "bad"]
    assert loader.create("tools", "good", Toolset) is mine
    assert "good" not in sys.modules


# --- Loading -----------------------------------------------------------------------


def test_a_plugin_gets_its_section(site: Path) -> None:
    loader = loader_of(site, {"tools": {"good": {"word": "hi"}}})
    assert loader.create("tools", "good", (Tool, Toolset)).config.word == "hi"


@pytest.mark.parametrize(
    ("kind", "name", "says"),
    [
        ("tools", "bad", "could not be constructed: SystemExit: no; way"),
        ("channels", "good", "which is no Tool or Toolset"),
        ("tools", "ghost", "try `pip install rustyclaw-ghost`"),
    ],
)
def test_what_cannot_be_created_is_an_error_of_one_line(
    site: Path, kind: str, name: str, says: str
) -> None:
    loader = loader_of(site)
    for _ in range(2):
        with pytest.raises(PluginError) as failure:
            loader.create(kind, name, (Tool, Toolset))
        assert says in str(failure.value)
        assert "\n" not in str(failure.value)
        assert loader.failures[kind, name] is failure.value


def test_a_wrong_section_names_the_key(site: Path) -> None:
    loader = loader_of(site, {"tools": {"good": {"word": [], "token": {}}}})
    with pytest.raises(PluginError, match=r"tools\.good\.word.*tools\.good\.token"):
        loader.create("tools", "good", Toolset)


def test_a_failure_holds_no_secret(site: Path) -> None:
    class Teller(Toolset):
        class Config(PluginConfig):
            token: str

        def __init__(self, config: Any = None) -> None:
            raise ValueError(f"bad token {config.token}")

    config = {"tools": {"teller": {"token": "canary-1234567"}}}
    loader = loader_of(site, config, tools__teller=Teller)
    with pytest.raises(PluginError, match=r"bad token \*\*\*"):
        loader.create("tools", "teller", Toolset)


@pytest.mark.parametrize("name", [n for n, b in BROKEN.items() if b.kind == "tools"])
def test_broken_samples(site: Path, name: str) -> None:
    if name == "slow_import":
        pytest.skip("it takes two seconds; tests/test_broken_plugins.py has it")
    install_broken(site)
    loader = loader_of(site)
    with pytest.raises(PluginError, match=BROKEN[name].says):
        loader.create("tools", name, (Tool, Toolset))
    assert imported(site) == ([] if BROKEN[name].stage == "discover" else [name])
    assert states(loader)[f"tools.{name}"] in ("failed", "conflict")


# --- Required ----------------------------------------------------------------------


class Wanting(FakeProvider):
    """A provider that cannot do without a key."""

    class Config(PluginConfig):
        api_key: str


@pytest.mark.parametrize(
    ("name", "config", "says"),
    [
        ("ghost", {}, "required plugin 'ghost' is not installed"),
        ("bad", {}, "no; way"),
        ("good", {"plugins": {"deny": ["good"]}}, "is denied"),
        ("wanting", {}, "api_key"),
        ("off", {"tools": {"off": {"enabled": False}}}, None),
    ],
)
def test_required(
    site: Path, name: str, config: dict[str, Any], says: str | None
) -> None:
    extra: dict[str, Any] = {"providers__wanting": Wanting, "tools__off": Toolset()}
    loader = loader_of(site, config, **extra)
    for tool_name in loader.enabled("tools"):
        with loader.tolerating("tools", tool_name):
            loader.create("tools", tool_name, (Tool, Toolset))
    if says is None:
        loader.require([name])
        return
    with pytest.raises(PluginError) as failure:
        loader.require([name])
    assert says in str(failure.value)
    assert f"take {name!r} out of plugins.required" in str(failure.value)
    assert "\n" not in str(failure.value)


def test_a_required_channel_must_be_configured(site: Path) -> None:
    loader = loader_of(
        site, {"tools": {"good": {"enabled": False}}, "providers": {"x": {}}}
    )
    with pytest.raises(PluginError, match="is not enabled in the config"):
        loader.require(["good"])


async def test_a_required_plugin_stops_the_start_in_plain_words(tmp_path: Path) -> None:
    gateway = Gateway({"plugins": {"required": ["ghost"]}}, home=tmp_path)
    with pytest.raises(PluginError, match=r"^required plugin 'ghost' is not installed"):
        async with gateway:
            raise AssertionError("it must not start")


async def test_a_required_channel_with_a_wrong_section_stops_the_start(
    tmp_path: Path,
) -> None:
    from rustyclaw.testing import FakeChannel

    gateway = make_gateway(
        tmp_path,
        channels=True,
        plugins={"channels.x": FakeChannel},
        config={"channels": {"x": {"no": 1}}, "plugins": {"required": ["x"]}},
    )
    with pytest.raises(PluginError, match=r"channels\.x\.no"):
        async with gateway:
            raise AssertionError("it must not start")


class Guard:
    """A hook plugin with a setting."""

    class Config(PluginConfig):
        limit: int = 1

    def __init__(self, config: Config) -> None:
        self.config = config


@pytest.mark.parametrize("serving", [True, False])
async def test_a_hook_plugin_with_a_wrong_section_stops_the_start(
    serving: bool, tmp_path: Path
) -> None:
    gateway = make_gateway(
        tmp_path,
        channels=serving,
        plugins={"hooks.guard": Guard},
        config={"hooks": {"guard": {"limit": "many"}}},
    )
    with pytest.raises(PluginError, match=r"hooks\.guard\.limit: must be"):
        async with gateway:
            raise AssertionError("it must not start")


# --- The gateway goes on without ------------------------------------------------------


@tool
async def hello() -> str:
    """Say hello."""
    return "hello"


class Nameless(Tool):
    """Has no name."""

    async def run(self, params: Any, context: ToolContext) -> ToolResult:
        return ToolResult()


class Raising(Toolset):
    def tools(self) -> Any:
        raise KeyError("tools")


class Leaving(Toolset):
    def tools(self) -> Any:
        sys.exit("goodbye")


class Unready(Provider):
    default_model = "x"

    def __init__(self, config: Any = None) -> None:
        raise RuntimeError("not today")

    def stream(self, request: Any) -> Any:
        raise NotImplementedError


async def test_broken_plugins_never_stop_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken: dict[str, object] = {
        "tools.nameless": Nameless,
        "tools.raising": Raising,
        "tools.leaving": Leaving,
        "tools.number": 42,
        "tools.nothing": None,
        "hooks.empty": object(),
        "hooks.cls": Nameless,
        "channels.number": 42,
        "providers.unready": Unready,
    }
    plugins = {"tools.hello": hello, **broken}
    async with Bot(tmp_path, plugins=plugins) as bot:
        assert await bot.say("hi") == "hi"
        assert [t.name for t in bot.gateway.tools] == ["hello"]
        failed = {f"{k}.{n}" for k, n in bot.gateway.loader.failures}
        assert failed == set(broken) - {"providers.unready"}
        await bot.gateway.state.sessions.patch("main", model="unready/x")
        await bot.say("hi")
        assert bot.last.error is not None
        assert "not today" in bot.last.error.message
    assert "'raising' could not be used: KeyError" in caplog.text


async def test_the_second_tool_of_a_name_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plugins = {"tools.one": hello, "tools.two": hello}
    async with Bot(tmp_path, plugins=plugins) as bot:
        assert bot.gateway.tools.owner("hello") == "one"
    assert "tool 'hello' of plugin 'two' is already offered by plugin 'one'" in (
        caplog.text
    )


async def test_a_toolset_with_a_tool_too_many_brings_none(tmp_path: Path) -> None:
    @tool
    async def other() -> str:
        """Say something else."""
        return "else"

    class Both(Toolset):
        def tools(self) -> list[Tool]:
            return [other(), hello()]

    async with Bot(tmp_path, plugins={"tools.a": hello, "tools.b": Both()}) as bot:
        assert [t.name for t in bot.gateway.tools] == ["hello"]
        assert ("tools", "b") in bot.gateway.loader.failures


def test_a_config_that_is_wrong_is_no_plugin_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="drain_seconds"):
        Gateway({"gateway": {"drain_seconds": "long"}}, home=tmp_path)
