"""Every command that a person or CI runs; `nox -l` lists them.

Needs Python 3.11 and nox alone: uv is used when it is there. `nox -R -s NAME` runs
a session again without installing first.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["tests", "lint", "types", "docs"]

#: Folders of the distributions, the core first; a new plugin is found by itself.
DISTS = [
    pyproject.parent.as_posix()
    for pattern in ("core", "plugins/*", "skills")
    for pyproject in sorted(Path().glob(f"{pattern}/pyproject.toml"))
]
KINDS = ("tool", "channel", "provider", "hook")

BROWSING = ("playwright>=1.50",)
BUILDING = ("build", "editables", "hatchling", "twine")
DOCUMENTING = ("mkdocs-material",)
LINTING = ("codespell", "import-linter", "ruff")
TESTING = (
    *("hypothesis", "openai>=3", "pytest>=9", "schemathesis>=4", "trio"),
    "websockets>=15",
)
TYPING = ("mypy", "types-PyYAML")

CONSTRAINTS = Path(".ci", "constraints.txt")
UNCONSTRAINED = {"PIP_CONSTRAINT": None, "UV_CONSTRAINT": None}
if os.environ.get("CI") == "true":
    os.environ["PIP_CONSTRAINT"] = os.environ["UV_CONSTRAINT"] = str(
        CONSTRAINTS.resolve()
    )

each_dist = nox.parametrize(
    "dist", [nox.param(folder, id=Path(folder).name) for folder in DISTS]
)


def install_workspace(session: nox.Session, *requirements: str) -> None:
    """Install every dist in place, and what the session needs besides.

    One shared build environment: with a private one for each dist pip would need
    minutes for a workspace of many dists.
    """
    session.install("editables", "hatchling")
    editables = [argument for folder in DISTS for argument in ("-e", folder)]
    session.install("--no-build-isolation", *editables, *requirements)


def folders_for(dist: str) -> list[str]:
    """Return the core, the libraries of ours that a dist depends on, and the dist."""
    needed = nox.project.load_toml(f"{dist}/pyproject.toml")["project"]["dependencies"]
    names = {
        nox.project.load_toml(f"{f}/pyproject.toml")["project"]["name"]: f
        for f in DISTS
    }
    ours = [
        f for name, f in names.items() if any(n.startswith(f"{name}>") for n in needed)
    ]
    return list(dict.fromkeys(("core", *ours, dist)))


def build_wheels(session: nox.Session, *folders: str) -> list[str]:
    """Return the paths of wheels that were built from folders just now."""
    target = Path(session.create_tmp(), "wheels")
    shutil.rmtree(target, ignore_errors=True)
    session.install("pip")
    sources = [f"./{folder}" for folder in folders]
    session.run("pip", "wheel", "-q", "--no-deps", "-w", str(target), *sources)
    return sorted(map(str, target.glob("*.whl")))


def run_own_tests(session: nox.Session, dist: str) -> None:
    """Run the tests of one dist against what is installed."""
    session.install("rustyclaw[testing]", *TESTING)
    session.run("pytest", f"{dist}/tests", *session.posargs)


# --- Use it -------------------------------------------------------------------


@nox.session
def gateway(session: nox.Session) -> None:
    """Install everything, start a gateway and talk to it; `-- -m "hi"` only asks once.

    Its state is in `.nox/home`, unless RUSTYCLAW_HOME says otherwise.
    """
    install_workspace(session)
    home = os.environ.get("RUSTYCLAW_HOME", str(Path(".nox", "home").resolve()))
    command = ("rustyclaw", "agent", "--serve", *session.posargs)
    session.run(*command, env={"RUSTYCLAW_HOME": home})


# --- Change it ----------------------------------------------------------------


@nox.session
def tests(session: nox.Session) -> None:
    """Run the whole default suite: all dists in place, a process for each core.

    Tests of web pages need /usr/bin/chromium, and are skipped without it.
    """
    install_workspace(session, *TESTING, *BROWSING, "pytest-xdist>=3.7")
    spread = ("-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder")
    session.run("pytest", *spread, *session.posargs)  # those of `tests` take longest


@nox.session
def lint(session: nox.Session) -> None:
    """Check format, style, layers and spelling; `-- fix` mends what it can."""
    session.install("-e", "core", *LINTING)
    if session.posargs == ["fix"]:
        session.run("ruff", "check", "--fix", ".")
        session.run("ruff", "format", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("lint-imports")
    session.run("codespell")


@nox.session
def types(session: nox.Session) -> None:
    """Check types strictly, once for each dist."""
    install_workspace(session, *TESTING, *TYPING)
    for folder in DISTS:
        (package,) = Path(folder, "src").iterdir()
        session.run("mypy", "-p", package.name)


@nox.session
def reference(session: nox.Session) -> None:
    """Rewrite what the docs repeat of the code: line counts, config tables."""
    session.install("-e", "core", "-e", "plugins/server")
    session.run("python", "docs/reference.py")


# --- Prove it -----------------------------------------------------------------


@nox.session(reuse_venv=False)
@each_dist
def isolated(session: nox.Session, dist: str) -> None:
    """Test wheels of the core and one dist, with nothing else around them."""
    session.install(*build_wheels(session, *folders_for(dist)))
    session.run("pip", "check")
    run_own_tests(session, dist)


@nox.session(reuse_venv=False)
@each_dist
def lowest(session: nox.Session, dist: str) -> None:
    """Test one dist with the oldest dependencies that it claims to work with."""
    folders = folders_for(dist)
    wheels = build_wheels(session, *folders)
    tables = [nox.project.load_toml(f"{folder}/pyproject.toml") for folder in folders]
    ranges = [r for table in tables for r in table["project"]["dependencies"]]
    session.install("uv")
    session.run(
        *("uv", "pip", "install", "--python", f"{session.bin}/python"),
        *("--resolution", "lowest-direct", *wheels, *ranges),
        env=UNCONSTRAINED,
    )
    run_own_tests(session, dist)


@nox.session
def template(session: nox.Session) -> None:
    """Bake every kind of plugin, install it into a fresh venv, run its tests."""
    core, scaffold = build_wheels(session, "core", "plugins/scaffold")
    session.install("--force-reinstall", core, scaffold, "ruff", *TYPING)
    folder = Path(session.create_tmp(), "baked").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    for kind in KINDS:
        session.run("rustyclaw", "new", kind, f"my_{kind}", "--output", str(folder))
        plugin = folder / f"rustyclaw-my-{kind}"
        python = str(plugin / ".venv" / "bin" / "python")
        session.run("python", "-m", "venv", str(plugin / ".venv"))
        session.run(
            *(python, "-m", "pip", "install", "-q", core, f"{plugin}[test]"),
            external=True,
        )
        with session.chdir(plugin):
            session.run(python, "-m", "pytest", external=True)
            session.run("mypy", "--python-executable", python, "src", "tests")
            session.run("ruff", "format", "--check", ".")
            session.run("ruff", "check", ".")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation strictly, into build/site."""
    session.install(*DOCUMENTING)
    quiet = {"NO_MKDOCS_2_WARNING": "1"}
    session.run("mkdocs", "build", "--strict", "-f", "docs/mkdocs.yml", env=quiet)


@nox.session
def build(session: nox.Session) -> None:
    """Build sdist and wheel of every dist into dist/; wheels come from the sdists."""
    session.install(*BUILDING)
    shutil.rmtree("dist", ignore_errors=True)
    for folder in DISTS:
        session.run("python", "-m", "build", "--no-isolation", "-o", "dist", folder)
    session.run("twine", "check", "--strict", *map(str, Path("dist").iterdir()))


@nox.session(reuse_venv=False)
def bench(session: nox.Session) -> None:
    """Measure built wheels against a floor; `-- --json` prints JSON.

    The floor of the server is a bare uvicorn with `websockets`.
    """
    session.install(*build_wheels(session, *DISTS), "websockets>=15")
    session.run("python", "tests/bench/run.py", *session.posargs)


@nox.session
def autobahn(session: nox.Session) -> None:
    """Run Autobahn's WebSocket suite against the server; needs a CPython 2.7.

    `-- ours wsproto` names what is tested; see tests/autobahn/echo.py.
    """
    session.install(*build_wheels(session, "core", "plugins/server"), "websockets")
    session.install("virtualenv==20.21.1")  # the last one that makes such venvs
    old = Path(session.create_tmp(), "python2.7").resolve()
    if not (old / "bin" / "wstest").exists():
        session.run("virtualenv", "-q", "-p", "python2.7", str(old))
        pip = str(old / "bin" / "pip")
        pinned = ("install", "-q", "autobahntestsuite==25.10.1")
        session.run(pip, *pinned, external=True, env=UNCONSTRAINED)
    wstest = str(old / "bin" / "wstest")
    session.run("python", "tests/autobahn/run.py", wstest, *session.posargs)


@nox.session
def constraints(session: nox.Session) -> None:
    """Rewrite .ci/constraints.txt with what resolves today."""
    os.environ.update(dict.fromkeys(UNCONSTRAINED, ""))
    groups = (BROWSING, BUILDING, DOCUMENTING, LINTING, TESTING, TYPING)
    everything = [requirement for group in groups for requirement in group]
    install_workspace(session, *everything, "nox", "pip", "uv")
    frozen = session.run("pip", "freeze", "--exclude-editable", silent=True)
    header = "# Written by `nox -s constraints`; CI installs exactly these versions.\n"
    CONSTRAINTS.write_text(header + str(frozen))
