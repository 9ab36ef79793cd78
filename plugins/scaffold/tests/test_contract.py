"""What the command line expects of a command: a typer app, cheap to import."""

from __future__ import annotations

import subprocess
import sys

import typer
from rustyclaw_scaffold.command import app


def test_the_entry_point_is_a_typer_app() -> None:
    assert isinstance(app, typer.Typer)


def test_the_import_is_cheap() -> None:
    script = "import sys, rustyclaw_scaffold.command; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert not {"cookiecutter", "jinja2", "requests"} & set(done.stdout.split())
