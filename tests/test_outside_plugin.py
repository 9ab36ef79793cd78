"""A plugin outside of the repository, written only from ``docs/plugins/writing.md``.

It is built into a wheel and unpacked like one, so that its metadata is what counts.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "plugins" / "writing.md"
BLOCK = re.compile(r'^```\w+ title="([^"]+)"\n(.*?)^```', re.MULTILINE | re.DOTALL)
CHAT = """
import sys
from pathlib import Path
import anyio
from rustyclaw import Gateway, RunEnded, ToolEnded
from rustyclaw.testing import FakeProvider, call

async def main():
    script = [[*call("roll", dice=2), *call("roll", dice=1000)], "done"]
    plugins = {"providers.fake": FakeProvider(script=script)}
    config = {"agents": {"defaults": {"model": "fake/fake"}}}
    home = Path(sys.argv[1])
    async with Gateway(config, home=home, plugins=plugins, channels=False) as gateway:
        async for event in gateway.run("roll"):
            if isinstance(event, ToolEnded):
                print(event.result.is_error, event.result.text)

anyio.run(main)
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Write, build and install the plugin of the page; return where it is."""
    project, site = tmp_path / "rustyclaw-dice", tmp_path / "site"
    project.mkdir()
    for name, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        (project / name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", site]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    (wheel,) = site.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    return site


def run(site: Path, *arguments: str | Path) -> str:
    env = {**os.environ, "PYTHONPATH": str(site), "RUSTYCLAW_HOME": str(site / "home")}
    done = subprocess.run(
        [sys.executable, *arguments],
        env=env,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout


def dice(site: Path) -> list[dict[str, Any]]:
    rows = json.loads(run(site, "-m", "rustyclaw", "plugins", "list", "--json"))
    return [row for row in rows if row["name"] == "dice"]


def test_a_plugin_from_the_docs_adds_a_tool_and_a_guard(site: Path) -> None:
    assert {(row["kind"], row["state"]) for row in dice(site)} == {
        ("tools", "enabled"),
        ("hooks", "enabled"),
    }
    allowed, refused = run(site, "-c", CHAT, site / "home").splitlines()
    assert re.fullmatch(r"False \d \d", allowed)
    assert refused == "True not allowed: at most 100 dice in one roll"

    for part in site.glob("rustyclaw_dice*"):  # what `pip uninstall` does
        shutil.rmtree(part) if part.is_dir() else part.unlink()
    assert dice(site) == []
    answers = run(site, "-c", CHAT, site / "home").splitlines()
    assert answers == ["True there is no tool 'roll' here"] * 2
