"""A broken plugin is a row in `doctor`, never a traceback at start."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rustyclaw import Gateway, PluginError, RunEnded
from rustyclaw.discovery import discover
from rustyclaw.hooks import HookFault, Hooks
from rustyclaw.hookspecs import llm_input
from rustyclaw.testing import (
    BROKEN,
    FakeProvider,
    imported,
    install_broken,
    sample_arguments,
)

FATAL = [name for name, sample in BROKEN.items() if sample.stage != "run"]
REFUSED = [name for name, sample in BROKEN.items() if sample.stage == "register"]
FAULTY = ["slow_hook", "blocking_hook"]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a folder where all samples are installed."""
    folder = tmp_path / "site"
    folder.mkdir()
    install_broken(folder)
    return folder


@pytest.fixture
def here(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Install all samples into this very process."""
    monkeypatch.syspath_prepend(site)
    yield site
    for module in [name for name in sys.modules if name.startswith("broken_")]:
        del sys.modules[module]


def rustyclaw(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line where all samples are installed."""
    paths = [str(site), os.environ.get("PYTHONPATH", "")]
    home = site.parent / "home"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return subprocess.run(
        [sys.executable, "-m", "rustyclaw", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**environ, "RUSTYCLAW_HOME": str(home)},
    )


def gateway(home: Path, *, without: tuple[str, ...] = (), **plugins: Any) -> Gateway:
    """Return a gateway that loads the samples, and no other installed plugin."""
    return Gateway(
        {
            "agents": {"defaults": {"model": "fake/fake"}},
            "plugins": {
                "allow": [name for name in BROKEN if name not in without],
                "budget_seconds": 0.2,
                **plugins,
            },
        },
        home=home,
        channels=False,
        plugins={"providers.fake": FakeProvider(default="still here")},
    )


async def answer(running: Gateway) -> str:
    """Return what the gateway says to a word."""
    events = [event async for event in running.run("hello")]
    assert isinstance(events[-1], RunEnded)
    return events[-1].result.text


def rows(found: Any) -> Iterator[str]:
    """Yield each innermost object of a JSON document, as text."""
    children = found.values() if isinstance(found, dict) else found
    if isinstance(found, dict) and not any(
        isinstance(c, dict | list) for c in children
    ):
        yield json.dumps(found, ensure_ascii=False)
    elif isinstance(found, dict | list):
        for child in children:
            yield from rows(child)
    else:
        yield str(found)


# --- The samples themselves -----------------------------------------------------


def test_the_samples_look_installed_and_nothing_imports_them(here: Path) -> None:
    catalog = discover()
    for name, sample in BROKEN.items():
        place = catalog.conflicts if sample.dists else catalog.plugins
        assert (sample.kind, name) in place
    assert imported(here) == []


@pytest.mark.parametrize("name", REFUSED)
def test_a_hook_plugin_that_does_not_fit_is_refused(name: str, site: Path) -> None:
    plugin = runpy.run_path(str(site / f"broken_{name}.py"))["Plugin"]()
    assert BROKEN[name].says in str(Hooks().register({name: plugin})[name])
    assert imported(site) == [name]


@pytest.mark.parametrize("name", FAULTY)
async def test_a_hook_plugin_that_behaves_badly_is_reported(
    name: str, site: Path
) -> None:
    faults: list[HookFault] = []
    hooks = Hooks(budget_seconds=0.2, on_fault=faults.append)
    plugin = runpy.run_path(str(site / f"broken_{name}.py"))["Plugin"]()
    assert hooks.register({name: plugin}) == {}
    await hooks.apply(llm_input, **sample_arguments("llm_input"))
    assert [fault.plugin for fault in faults] == [name]
    assert BROKEN[name].says in faults[0].reason


# --- The gateway ----------------------------------------------------------------


async def test_the_gateway_starts_and_answers(here: Path, tmp_path: Path) -> None:
    async with gateway(tmp_path / "home", without=("slow_import",)) as running:
        assert await answer(running) == "still here"
        assert set(running.hooks.plugins_on("llm_input")) == set(FAULTY)
        assert set(running.hooks.fault_counts) == set(FAULTY)


@pytest.mark.parametrize("name", FATAL)
async def test_a_required_plugin_that_is_broken_stops_the_start(
    name: str, here: Path, tmp_path: Path
) -> None:
    with pytest.raises((PluginError, ExceptionGroup)) as refused:
        async with gateway(
            tmp_path / "home", without=("slow_import",), required=[name]
        ):
            raise AssertionError("it has started")
    error: BaseException = refused.value
    while isinstance(error, ExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, PluginError)
    message = str(error)
    assert repr(name) in message
    assert BROKEN[name].says in message
    assert "plugins.required" in message, "the remedy is not said"
    assert "\n" not in message


@pytest.mark.slow
async def test_a_slow_import_is_no_hindrance(here: Path, tmp_path: Path) -> None:
    others = tuple(name for name in BROKEN if name != "slow_import")
    async with gateway(
        tmp_path / "home", without=others, required=["slow_import"]
    ) as running:
        assert await answer(running) == "still here"


# --- The command line -----------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [("--help",), ("plugins", "list"), ("status",), ("config", "--help")]
)
def test_looking_imports_no_plugin(arguments: tuple[str, ...], site: Path) -> None:
    process = rustyclaw(site, *arguments)
    assert process.returncode == 0, process.stderr
    assert "Traceback" not in process.stderr
    assert imported(site) == []


def test_the_list_shows_each_without_importing_any(site: Path) -> None:
    process = rustyclaw(site, "plugins", "list", "--json")
    assert process.returncode == 0, process.stderr
    listed = list(rows(json.loads(process.stdout)))
    for name, sample in BROKEN.items():
        mine = [row for row in listed if f'"{name}"' in row]
        assert len(mine) == max(1, len(sample.dists)), name
        if sample.stage == "discover":
            assert all(sample.says in row for row in mine)
    assert imported(site) == []


@pytest.mark.slow
def test_doctor_explains_each_and_survives(site: Path) -> None:
    process = rustyclaw(site, "doctor", "--json")
    assert "Traceback" not in process.stderr
    found = list(rows(json.loads(process.stdout)))
    for name, sample in BROKEN.items():
        if name not in FAULTY:
            assert any(name in row and sample.says in row for row in found), name


@pytest.mark.slow
async def test_doctor_remembers_what_went_wrong_in_a_run(
    here: Path, tmp_path: Path
) -> None:
    async with gateway(tmp_path / "home", without=("slow_import",)) as running:
        await answer(running)
    process = rustyclaw(here, "doctor", "--json")
    found = list(rows(json.loads(process.stdout)))
    for name in FAULTY:
        assert any(name in row and BROKEN[name].says in row for row in found), name
