"""The template bakes every kind of plugin, green, in the shape of our own."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import rustyclaw
from rustyclaw_scaffold.command import bake

ROOT = Path(__file__).parents[1]
KINDS = ("tool", "channel", "provider", "hook")
#: What every plugin has; PACKAGE stands for its import name.
SHAPE = {
    "README.md",
    "pyproject.toml",
    "src/PACKAGE/__init__.py",
    "src/PACKAGE/py.typed",
    "tests/test_contract.py",
}

each_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def baked(kind: str, tmp_path: Path) -> Path:
    return bake(kind, f"sample_{kind}", tmp_path, {})


def paths(folder: Path, package: str) -> set[str]:
    return {
        path.relative_to(folder).as_posix().replace(package, "PACKAGE")
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@each_kind
def test_exact_set_of_paths(kind: str, baked: Path) -> None:
    assert baked.name == f"rustyclaw-sample-{kind}"
    assert paths(baked, f"rustyclaw_sample_{kind}") == SHAPE | {
        f"src/PACKAGE/{kind}.py",
        f"tests/test_{kind}.py",
    }


@pytest.mark.parametrize(
    "plugin",
    sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml")),
    ids=lambda path: path.name,
)
def test_our_plugins_have_the_same_shape(plugin: Path) -> None:
    found = paths(plugin, f"rustyclaw_{plugin.name.replace('-', '_')}")

    pyproject = tomllib.loads((plugin / "pyproject.toml").read_text())
    # A library that plugins share brings nothing that the kit could prove.
    is_plugin = "entry-points" in pyproject["project"]
    assert found >= SHAPE - (set() if is_plugin else {"tests/test_contract.py"})
    for path in found - SHAPE - {"hatch_build.py"}:
        assert path.startswith(("src/PACKAGE/", "tests/"))


@each_kind
def test_pins_the_minor_version_of_the_core(baked: Path) -> None:
    project = tomllib.loads((baked / "pyproject.toml").read_text())["project"]
    major, minor = rustyclaw.__version__.split(".")[:2]

    pin = f"rustyclaw>={major}.{minor},<{major}.{int(minor) + 1}"
    assert pin in project["dependencies"]


@each_kind
def test_readme_lists_every_key_of_the_config(
    kind: str, baked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(baked / "src")
    module = importlib.import_module(f"rustyclaw_sample_{kind}.{kind}")
    model = getattr(module, f"Sample{kind.title()}Config")
    readme = (baked / "README.md").read_text()

    assert re.findall(r"^\| `(\w+)` \|", readme, re.MULTILINE) == [*model.model_fields]


@pytest.mark.slow
@each_kind
def test_its_tests_pass(baked: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=baked,
        env={**os.environ, "PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stdout + done.stderr
