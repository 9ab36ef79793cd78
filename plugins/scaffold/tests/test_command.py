"""Behaviour of ``rustyclaw new``."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest
from rustyclaw_scaffold.command import app
from typer.testing import CliRunner, Result


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


@pytest.mark.parametrize("kind", ["tool", "channel", "provider", "hook"])
def test_writes_a_plugin(kind: str, tmp_path: Path, home: Path) -> None:
    result = run(kind, "new_kid", "--output", str(tmp_path))

    assert result.exit_code == 0, result.output
    folder = tmp_path / "rustyclaw-new-kid"
    assert f"created rustyclaw-new-kid, a {kind} plugin" in result.output
    assert "rustyclaw plugins allow new_kid" in result.output
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert list(project["entry-points"]) == [f"rustyclaw.{kind}s"]
    for module in folder.rglob("*.py"):
        ast.parse(module.read_text())
    assert not any(home.iterdir()), "cookiecutter left something in the home folder"


def test_fills_in_the_description(tmp_path: Path) -> None:
    run("tool", "clock", "--output", str(tmp_path), "--description", "Tells the time")

    readme = (tmp_path / "rustyclaw-clock" / "README.md").read_text()
    assert "Tells the time" in readme


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Weather", "is no plugin name"),
        ("two words", "is no plugin name"),
        ("1st", "is no plugin name"),
        ("../up", "is no plugin name"),
        ("trailing_", "is no plugin name"),
        ("x" * 25, "is no plugin name"),
        ("rustyclaw_weather", "repeats the prefix"),
    ],
)
def test_refuses_a_name(
    name: str, reason: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    result = run("tool", name, "--output", str(tmp_path / "new"))

    said = capfd.readouterr().err.strip().splitlines()
    assert result.exit_code == 2
    assert len(said) == 1
    assert said[0].startswith("error: ")
    assert reason in said[0]
    assert not list((tmp_path / "new").glob("*"))


@pytest.mark.parametrize("text", ['say "hi"', "back\\slash", "x" * 73])
def test_refuses_a_text_that_would_break_the_files(
    text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    result = run("tool", "x", "--output", str(tmp_path / "new"), "--description", text)

    assert result.exit_code == 2
    assert "does not fit; use up to 72 characters" in capfd.readouterr().err


def test_refuses_to_overwrite(tmp_path: Path) -> None:
    assert run("tool", "clock", "--output", str(tmp_path)).exit_code == 0

    result = run("tool", "clock", "--output", str(tmp_path))

    assert result.exit_code == 2
    assert "already exists; remove it or use `--output`" in result.output


def test_refuses_an_output_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    result = run("tool", "clock", "--output", str(tmp_path / "file"))

    assert result.exit_code == 2
    assert len(result.output.splitlines()) == 1
