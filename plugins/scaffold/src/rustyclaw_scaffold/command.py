"""``rustyclaw new KIND NAME``; cookiecutter is imported only when it runs."""

from __future__ import annotations

import logging
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class Kind(StrEnum):
    """What a plugin can add to rustyclaw."""

    tool = "tool"
    channel = "channel"
    provider = "provider"
    hook = "hook"


@app.command()
def new(
    kind: Annotated[Kind, typer.Argument(help="What the plugin adds.")],
    name: Annotated[str, typer.Argument(help="What users will type: a-z, 0-9, _.")],
    output: Annotated[
        Path, typer.Option(help="Folder to put the plugin's folder into.")
    ] = Path(),
    description: Annotated[
        str | None, typer.Option(help="What it does, in one line.")
    ] = None,
    author: Annotated[str | None, typer.Option(help="Who wrote it.")] = None,
) -> None:
    """Write the files of a new plugin, with tests that pass."""
    answers = {"description": description, "author": author}
    try:
        folder = bake(kind, name, output, {k: v for k, v in answers.items() if v})
    except ValueError as exc:
        if str(exc):
            typer.echo(f"error: {exc}", err=True)
        raise typer.Exit(2) from None
    typer.echo(
        f"created {folder.name}, a {kind} plugin. next:\n"
        f"  cd {folder}\n"
        '  pip install -e ".[test]"\n'
        "  pytest\n"
        f"  rustyclaw plugins allow {name}"
    )


def bake(kind: str, name: str, output: Path, answers: dict[str, str]) -> Path:
    """Fill in the template.

    :param answers: What the template asks besides ``kind`` and ``name``.
    :returns: The new folder.
    :raises ValueError: The folder exists, or an answer does not fit; in the latter
        case the template's own hook has printed why, and the text is empty.
    """
    from cookiecutter import exceptions  # type: ignore[import-untyped]  # has no hints
    from cookiecutter.main import cookiecutter  # type: ignore[import-untyped]  # same

    # Without a handler, logging would repeat on stderr what the hook has said.
    logging.getLogger("cookiecutter").addHandler(logging.NullHandler())
    with TemporaryDirectory() as scratch:  # else it keeps a replay file in ~
        try:
            folder = cookiecutter(
                str(template()),
                no_input=True,
                extra_context={"kind": kind, "name": name, **answers},
                output_dir=str(output),
                default_config={"replay_dir": scratch},
            )
        except exceptions.FailedHookException as exc:
            raise ValueError from exc
        except exceptions.OutputDirExistsException as exc:
            raise ValueError(f"{exc}; remove it or use `--output`") from exc
        except (exceptions.CookiecutterException, OSError) as exc:
            raise ValueError(f"{exc}; choose another `--output`") from exc
    return Path(folder)


def template() -> Path:
    """Return the template: inside the package, or the repository's own."""
    shipped = Path(__file__).with_name("template")
    if shipped.is_dir():
        return shipped
    return Path(__file__).parents[4] / "plugin-template"
