"""The documentation tells the truth about the code."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from rustyclaw import hookspecs, load_config
from rustyclaw.discovery import discover
from rustyclaw.loading import Loader
from rustyclaw.markers import kind_of

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    path
    for pattern in (
        "*.md",
        "docs/**/*.md",
        "core/*.md",
        "plugins/*/*.md",
        "skills/*.md",
    )
    for path in ROOT.glob(pattern)
)
SPECS = {
    name: spec
    for name, spec in vars(hookspecs).items()
    if inspect.iscoroutinefunction(spec)
}
FIRST_COMMAND = (
    "python3 -m venv .venv && .venv/bin/pip install -q nox && .venv/bin/nox -s gateway"
)
SECOND_COMMAND = ".venv/bin/nox -s tests"


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """Return the code blocks of a language."""
    pattern = rf"^```{language}\b[^\n]*\n(.*?)^```"
    return re.findall(pattern, text, re.DOTALL | re.MULTILINE)


# --- Hooks ----------------------------------------------------------------------


def hook_sections() -> dict[str, str]:
    """Return the text below each hook's heading, in the order of the page."""
    _, *parts = re.split(r"^### ", read(DOCS / "hooks.md"), flags=re.MULTILINE)
    return {part.partition("(")[0].strip("`"): part for part in parts}


def test_hooks_are_documented_in_the_order_of_the_specs() -> None:
    assert len(SPECS) == 17
    assert list(hook_sections()) == list(SPECS)


@pytest.mark.parametrize("hook", SPECS)
def test_hook_is_documented_as_it_is(hook: str) -> None:
    text = hook_sections()[hook]
    arguments = list(inspect.signature(SPECS[hook]).parameters)
    kind, subject = kind_of(SPECS[hook])
    wording = {
        "transform": f"transform of `{subject}`",
        "guard": f"guard on `{subject}`",
    }

    assert text.startswith(f"`{hook}({', '.join(arguments)})`\n")
    assert f"\n- Kind: {wording.get(kind, kind)}.\n" in text
    assert "\n- Fires " in text
    assert "\n- May change: " in text
    (example,) = blocks(text, "python")
    (function,) = ast.parse(example).body
    assert isinstance(function, ast.AsyncFunctionDef)
    assert function.name == hook
    assert {a.arg for a in function.args.args} <= {"self", *arguments}


@pytest.mark.parametrize("hook", SPECS)
def test_every_hook_has_a_test(hook: str) -> None:
    tests = [*ROOT.glob("core/tests/**/*.py"), *ROOT.glob("tests/**/*.py")]

    assert any(f"def test_hook_{hook}(" in read(path) for path in tests)


# --- What the pages repeat of the code ------------------------------------------


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_line_counts_are_right_within_a_tenth(reference: ModuleType) -> None:
    rows = reference.COUNTED.findall(read(DOCS / "architecture.md"))

    assert rows
    for _, module, _, claimed, _ in rows:
        lines = reference.lines_of(module)
        off = abs(int(claimed) - lines)
        assert off <= lines / 10, f"{module} has {lines}; run `nox -s reference`"


@pytest.mark.parametrize("name", ["cli", "config", "reference/methods"])
def test_tables_are_those_of_today(name: str, reference: ModuleType) -> None:
    page = read(DOCS / f"{name}.md")

    assert page == reference.PAGES[name](page), "run `nox -s reference`"


# --- What guides tell people to configure ----------------------------------------

GUIDES = sorted([*DOCS.glob("providers/*.md"), *DOCS.glob("channels/*.md")])
#: What the variables that guides name may hold, where not anything will do.
VALUES = {
    "TELEGRAM_BOT_TOKEN": "123456:fake-Token",
    "TELEGRAM_WORK_TOKEN": "777:another-Token",
}


@pytest.mark.parametrize("page", GUIDES, ids=lambda p: p.stem)
def test_what_a_guide_configures_can_be_made(page: Path, tmp_path: Path) -> None:
    configs = blocks(read(page), "yaml")

    assert configs, "a guide shows a configuration"
    for text in configs:
        names = re.findall(r"_env: *(\w+)", text)
        env = {name: VALUES.get(name, f"value-of-{name}-is-long") for name in names}
        config = load_config(home=tmp_path, env=env, text=text)
        assert not config.warnings
        loader = Loader(config, discover())
        sections = {"tools": config.tools.model_extra or {}}
        for kind in ("providers", "channels", "hooks", "compactors"):
            sections[kind] = getattr(config, kind)
        made = [
            loader.create(kind, name, object)
            for kind, names in sections.items()
            for name in names
        ]
        assert made, "it has the section of a plugin"


# --- Links and commands ---------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", read(page), flags=re.DOTALL | re.MULTILINE)

    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", target):
            file, _, anchor = target.partition("#")
            linked = (page.parent / file) if file else page
            assert linked.exists(), f"{target} is not there"
            assert not anchor or anchor in anchors(linked), f"{target} has no heading"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)", read(page), re.MULTILINE)
    return {re.sub(r"[^\w-]+", "-", heading.lower()).strip("-") for heading in headings}


def sessions() -> dict[str, str | None]:
    """Return the sessions of the noxfile with their docstrings."""
    return {
        node.name: ast.get_docstring(node)
        for node in ast.parse(read(ROOT / "noxfile.py")).body
        if isinstance(node, ast.FunctionDef)
        and any("nox.session" in ast.unparse(d) for d in node.decorator_list)
    }


def test_every_session_has_a_docstring() -> None:
    assert all(sessions().values())


def test_named_sessions_exist() -> None:
    pages = "\n".join(read(page) for page in [*PAGES, ROOT / ".ci" / "run"])
    named = re.findall(r'nox (?:-R )?-s ((?:"?[a-z]+(?:\([\w-]+\))?"? ?)+)', pages)

    for name in {name for names in named for name in re.findall(r"[a-z]+\b", names)}:
        assert name in {*sessions(), *(p.name for p in ROOT.glob("plugins/*"))}


def test_readme_begins_with_both_commands() -> None:
    assert blocks(read(ROOT / "README.md"), "bash")[:2] == [
        f"{FIRST_COMMAND}\n",
        f"{SECOND_COMMAND}\n",
    ]
    assert {"gateway", "tests"} <= set(sessions())
    assert SECOND_COMMAND in read(ROOT / ".ci" / "run")


@pytest.mark.skipif(
    os.environ.get("RUSTYCLAW_TEST_README") != "1",
    reason="installs everything anew; set RUSTYCLAW_TEST_README=1",
)
def test_first_command_of_the_readme(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    ignored = shutil.ignore_patterns(
        *read(ROOT / ".gitignore").split(), ".git", "*cache"
    )
    shutil.copytree(ROOT, clone, ignore=ignored)
    question = "list the files in the workspace, then write hello.txt with the text hi"

    done = subprocess.run(
        f'{FIRST_COMMAND} -- -m "{question}"',
        shell=True,
        cwd=clone,
        env={k: v for k, v in os.environ.items() if not k.startswith("RUSTYCLAW_")},
        timeout=900,
    )

    assert done.returncode == 0
    (hello,) = clone.glob(".nox/home/agents/main/workspace/hello.txt")
    assert hello.read_text() == "hi"


# --- The plugin that the docs write; test_outside_plugin.py installs it ----------


@pytest.mark.slow
def test_its_tests_pass(tmp_path: Path) -> None:
    titled = r'^```\w+ title="([\w.]+)"\n(.*?)^```'
    for page in ("writing.md", "testing.md"):
        text = read(DOCS / "plugins" / page)
        for name, code in re.findall(titled, text, re.DOTALL | re.MULTILINE):
            with (tmp_path / name).open("a", encoding="utf-8") as file:
                file.write(code)

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stdout + done.stderr
