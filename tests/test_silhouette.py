"""Every plugin has one silhouette, and the house keeps its shape."""

from __future__ import annotations

import ast
import fnmatch
import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import rustyclaw
import rustyclaw.testing

ROOT = Path(__file__).parents[1]
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
DISTS = [ROOT / "core", *PLUGINS, ROOT / "skills"]
TOP_LEVEL = {
    *(".ci", ".gitignore", "CHANGELOG.md", "LICENSE", "README.md", "core", "docs"),
    *("noxfile.py", "plugin-template", "plugins", "pyproject.toml", "skills", "tests"),
}
GROUPS = {"channels", "commands", "compactors", "hooks", "providers", "tools"}
#: What plugins share: imported by those that depend on it, without entry points.
LIBRARIES = {"egress", "http"}
#: What the kit can prove.
CONTRACTED = {"channels", "hooks", "providers", "tools"}

TABLE_HEAD = "| key | type | default | meaning |\n|---|---|---|---|"

MAJOR, MINOR = rustyclaw.__version__.split(".")[:2]
PIN = f"rustyclaw>={MAJOR}.{MINOR},<{MAJOR}.{int(MINOR) + 1}"

each_plugin = pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)


def project(folder: Path) -> dict[str, Any]:
    with (folder / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)


def package(plugin: Path) -> Path:
    return plugin / "src" / f"rustyclaw_{plugin.name.replace('-', '_')}"


def entry_points(plugin: Path) -> Iterator[tuple[str, str, str]]:
    """Yield kind, name and value of each entry point."""
    for group, entries in project(plugin)["project"].get("entry-points", {}).items():
        for name, value in entries.items():
            yield group.removeprefix("rustyclaw."), name, value


def imports(folder: Path) -> Iterator[tuple[str, str | None]]:
    """Yield module and name of every import below a folder; no name if it is whole."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((alias.name, None) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                yield from ((node.module or "", alias.name) for alias in node.names)


def visible(folder: Path) -> set[str]:
    """Return what is in a folder and not ignored by git."""
    lines = (ROOT / ".gitignore").read_text().split()
    ignored = [".git", *(line.rstrip("/") for line in lines)]
    names = (path.name for path in folder.iterdir())
    return {n for n in names if not any(fnmatch.fnmatch(n, i) for i in ignored)}


# --- Plugins --------------------------------------------------------------------


@each_plugin
def test_tree(plugin: Path) -> None:
    expected = {"README.md", "pyproject.toml", "src", "tests"}
    if "custom" in project(plugin)["tool"]["hatch"].get("build", {}).get("hooks", {}):
        expected.add("hatch_build.py")

    assert visible(plugin) == expected
    assert visible(plugin / "src") == {package(plugin).name}
    assert (package(plugin) / "py.typed").is_file()
    assert list(plugin.glob("tests/test_*.py"))
    if any(kind in CONTRACTED for kind, _, _ in entry_points(plugin)):
        contracts = (plugin / "tests" / "test_contract.py").read_text()
        assert re.search(r"^class Test\w+\(\w+Contract\):", contracts, re.MULTILINE)


@each_plugin
def test_pyproject(plugin: Path) -> None:
    table = project(plugin)
    fields = table["project"]

    assert fields["name"] == f"rustyclaw-{plugin.name}"
    assert fields["dynamic"] == ["version"]
    assert 0 < len(fields["description"]) <= 80
    assert (fields["readme"], fields["license"]) == ("README.md", "MIT")
    assert fields["requires-python"] == ">=3.11"
    assert PIN in fields["dependencies"]
    assert table["build-system"]["build-backend"] == "hatchling.build"
    assert set(table) == {"build-system", "project", "tool"}
    assert set(table["tool"]) == {"hatch"}, "tool tables belong into the root"
    version = table["tool"]["hatch"]["version"]["path"]
    assert (plugin / version).resolve() == Path(rustyclaw.__file__).resolve()


@each_plugin
def test_entry_points(plugin: Path) -> None:
    found = list(entry_points(plugin))

    assert bool(found) != (plugin.name in LIBRARIES)
    for kind, name, value in found:
        assert kind in GROUPS
        assert re.fullmatch(r"[a-z][a-z0-9_]*(\.[a-z]+)?", name)
        assert value.partition(".")[0].partition(":")[0] == package(plugin).name


@each_plugin
def test_package_init_is_only_a_docstring(plugin: Path) -> None:
    tree = ast.parse((package(plugin) / "__init__.py").read_text())

    assert ast.get_docstring(tree)
    for node in tree.body[1:]:
        code = ast.unparse(node)
        assert code.startswith(("from __future__", "__all__ =")), code


@each_plugin
def test_only_public_names_are_imported(plugin: Path) -> None:
    public = {"rustyclaw": rustyclaw.__all__}
    kit = {**public, "rustyclaw.testing": rustyclaw.testing.__all__}

    for folder, offered in ((plugin / "src", public), (plugin / "tests", kit)):
        for module, name in imports(folder):
            top = module.partition(".")[0]
            if top == "rustyclaw":
                assert module in offered, f"{module} is not for plugins"
                assert name in offered[module], f"{name} is not in {module}.__all__"
            elif top.startswith("rustyclaw_"):
                libraries = {f"rustyclaw_{name}" for name in LIBRARIES}
                ours = {package(plugin).name, *libraries}
                assert top in ours, "a plugin imports no other plugin"


@each_plugin
def test_dependencies_are_what_is_imported(plugin: Path) -> None:
    home = packages_distributions()
    tops = {module.partition(".")[0] for module, _ in imports(plugin / "src")}
    foreign = tops - sys.stdlib_module_names - {package(plugin).name}
    imported = {normal(dist) for top in foreign for dist in home.get(top, [top])}
    fields = project(plugin)["project"]
    extras = fields.get("optional-dependencies", {}).values()
    declared = {
        normal(re.split(r"[<>=!~;\[ ]", requirement)[0])
        for requirements in (fields["dependencies"], *extras)
        for requirement in requirements
    }

    assert imported | {"rustyclaw"} == declared


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@each_plugin
def test_readme(plugin: Path) -> None:
    text = (plugin / "README.md").read_text(encoding="utf-8")
    without_code = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ .+", without_code, re.MULTILINE)

    assert headings[0] == f"# rustyclaw-{plugin.name}"
    wanted = ["## Install", "## Configuration", "## Example"]
    assert [heading for heading in headings if heading in wanted] == wanted
    assert f"pip install rustyclaw-{plugin.name}" in text


@each_plugin
def test_readme_lists_every_key_of_the_config(plugin: Path) -> None:
    text = (plugin / "README.md").read_text(encoding="utf-8")
    section = text.partition("\n## Configuration\n")[2].partition("\n## ")[0]
    tables = section.split("| key | type | default | meaning |\n|---|---|---|---|\n")[
        1:
    ]
    rows = "\n".join(table.partition("\n\n")[0] for table in tables)
    documented = re.findall(r"^\| `(\w+)` \|", rows, re.MULTILINE)
    models = []
    for _, _, value in entry_points(plugin):
        module, _, attribute = value.partition(":")
        target: Any = importlib.import_module(module)
        target = getattr(target, attribute) if attribute else target
        model = getattr(target, "Config", None)
        if model and model not in models:  # several plugins may share one
            models.append(model)

    assert documented == [key for model in models for key in model.model_fields]


# --- The house ------------------------------------------------------------------


def test_top_level() -> None:
    assert visible(ROOT) == TOP_LEVEL


def test_readme_names_every_distribution() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    for folder in DISTS:
        link = f"[{project(folder)['project']['name']}]("
        assert f"{link}{folder.relative_to(ROOT).as_posix()}/README.md)" in readme


def test_bundles_name_only_our_distributions() -> None:
    bundles = project(ROOT / "core")["project"]["optional-dependencies"]
    ours = {project(folder)["project"]["name"] for folder in DISTS}

    assert set(bundles["starter"]) <= ours


def test_changelog() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    unreleased = text.partition("\n## [Unreleased]\n")[2].partition("\n## ")[0]
    entries = re.findall(r"^- (.*)", unreleased, re.MULTILINE)
    dists = {project(folder)["project"]["name"] for folder in DISTS} | {"house"}

    assert entries
    for entry in entries:
        dist = re.match(r"`([\w-]+)`: \S", entry)
        assert dist, f"begin with the distribution in backticks: {entry}"
        assert dist[1] in dists


def test_constraints_have_neither_addresses_nor_hashes() -> None:
    lines = (ROOT / ".ci" / "constraints.txt").read_text().splitlines()

    for line in lines:
        assert re.fullmatch(r"#.*|[\w.-]+==[\w.+!]+", line), line


#: In parts, so that this file does not name them either.
HOSTS = [
    *(
        "pypi" + ".org",
        "python" + "hosted.org",
        "registry." + "npmjs",
        "crates" + ".io",
    ),
    *("deb." + "debian", "proxy." + "golang", "repo1." + "maven", "files.python" + "h"),
]


def test_no_file_names_a_package_registry() -> None:
    pattern = re.compile("|".join(map(re.escape, HOSTS)), re.IGNORECASE)

    for path in files(ROOT):
        text = path.read_text(encoding="utf-8", errors="ignore")
        found = pattern.search(text)
        assert not found, f"{path.relative_to(ROOT)} names {found and found[0]!r}"


def files(folder: Path) -> Iterator[Path]:
    for name in sorted(visible(folder)):
        path = folder / name
        if path.is_dir():
            yield from files(path)
        else:
            yield path
