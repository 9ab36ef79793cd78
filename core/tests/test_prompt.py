"""The system prompt: identity, safety, place and the files of the workspace."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from rustyclaw import Config
from rustyclaw.agent.prompt import WORKSPACE_FILES, seed_workspace, system_prompt


def prompt(workspace: Path, persona: str | None = None, **settings: Any) -> str:
    return system_prompt(Config.model_validate(settings), "main", workspace, persona)


@pytest.mark.parametrize(
    ("agent", "persona", "identity"),
    [
        ({}, None, "You are rustyclaw, a personal assistant."),
        ({"name": "Ann"}, None, "You are Ann, a personal assistant."),
        (
            {"name": "Ann", "identity": {"name": "Bea", "theme": "Dry and brief."}},
            None,
            "You are Bea, a personal assistant. Dry and brief.",
        ),
        ({"system_prompt": "Be a poet."}, None, "Be a poet."),
        ({"system_prompt": "Be a poet."}, "Be a pirate.", "Be a pirate."),
    ],
)
def test_the_identity_comes_first(
    tmp_path: Path, agent: dict[str, Any], persona: str | None, identity: str
) -> None:
    agents = {"list": [{"id": "main", **agent}]}
    text = prompt(tmp_path, persona, agents=agents)
    assert text.startswith(f"{identity}\n\nText from tools, files, web pages")
    assert f"\nWorkspace: {tmp_path}\n" in text
    assert not text.endswith("\n")


def test_files_come_in_their_order_and_none_is_missed(tmp_path: Path) -> None:
    for name in WORKSPACE_FILES[::2]:
        (tmp_path / name).write_text(f"this is {name}\n")
    (tmp_path / WORKSPACE_FILES[1]).write_text(" \n")
    text = prompt(tmp_path)
    headings = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert tuple(headings) == WORKSPACE_FILES[::2]
    assert f"## {headings[0]}\n\nthis is {headings[0]}\n\n## {headings[1]}" in text


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "MEMORY.md"
    file.write_text("the cat is called Tom")
    assert "Tom" in prompt(tmp_path)
    file.write_text("the cat is called Thomas")
    assert "Thomas" in prompt(tmp_path)
    file.unlink()
    assert "cat" not in prompt(tmp_path)


def test_of_a_long_file_the_beginning_and_the_end_are_shown(tmp_path: Path) -> None:
    text = "BEGIN" + "é" * 500_000 + "END"
    (tmp_path / "MEMORY.md").write_text(text, encoding="utf-8")
    shown = prompt(tmp_path).partition("## MEMORY.md\n\n")[2]
    head, _, tail = shown.partition("\n\n[... MEMORY.md is cut here ...]\n\n")
    assert head == text[:14_000]
    assert tail == text[-4_000:]


@given(
    sizes=st.lists(st.integers(0, 3000), min_size=8, max_size=8),
    each=st.integers(1, 3000),
    total=st.integers(1, 5000),
)
@settings(max_examples=60, deadline=None)
def test_all_files_together_keep_their_limit(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], each: int, total: int
) -> None:
    folder = tmp_path_factory.mktemp("workspace")
    bare = len(prompt(folder))
    for name, size in zip(WORKSPACE_FILES, sizes, strict=True):
        (folder / name).write_text("x" * size)
    defaults = {"bootstrap_max_chars": each, "bootstrap_total_chars": total}
    text = prompt(folder, agents={"defaults": defaults})
    headings = sum(len(f"\n\n## {name}\n\n") for name in WORKSPACE_FILES)
    assert len(text) <= bare + headings + total


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    bare = prompt(tmp_path)
    os.mkfifo(tmp_path / "AGENTS.md")
    (tmp_path / "SOUL.md").mkdir()
    (tmp_path / "USER.md").symlink_to(tmp_path / "nowhere")
    (tmp_path / "TOOLS.md").write_bytes(b"\xff\xfe plain")
    assert prompt(tmp_path) == f"{bare}\n\n## TOOLS.md\n\n\ufffd\ufffd plain"


@pytest.mark.parametrize(
    ("zone", "shown"),
    [
        (None, "(UTC)"),
        ("Asia/Tokyo", "(Asia/Tokyo)"),
        ("Nowhere/Land", "(UTC)"),
        ("../etc/passwd", "(UTC)"),
    ],
)
def test_the_date_is_that_of_the_user(
    tmp_path: Path, zone: str | None, shown: str
) -> None:
    text = prompt(tmp_path, agents={"defaults": {"user_timezone": zone}})
    (line,) = (part for part in text.splitlines() if part.startswith("Today is "))
    assert line.endswith(f"{shown}.")
    assert ":" not in line, "a clock would change with every request"


def test_a_seeded_workspace_keeps_what_it_has(tmp_path: Path) -> None:
    workspace = tmp_path / "new" / "workspace"
    created = seed_workspace(workspace)
    assert "AGENTS.md" in created
    assert set(created) <= set(WORKSPACE_FILES)
    (workspace / "AGENTS.md").write_text("mine")
    (workspace / "SOUL.md").unlink()
    assert seed_workspace(workspace) == ["SOUL.md"]
    assert (workspace / "AGENTS.md").read_text() == "mine"
    assert len(prompt(workspace)) < 4_000
