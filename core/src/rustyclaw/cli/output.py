"""What the commands share: tables, JSON, the log, and text that is safe to print."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rustyclaw.config import Config

#: Help is plain: importing rich for it would take 200 ms. Errors are for `app.run`.
STYLE: dict[str, Any] = {
    "rich_markup_mode": None,
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
#: Terminals obey these, or show a text in another order than it has.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)


def clean(text: object) -> str:
    """Return a text from outside with its control characters made visible."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", str(text))


def start(level: str | None = "warning") -> Config:
    """Load the config, and set up the log, for a command that runs plugins."""
    from rustyclaw.config import load_config
    from rustyclaw.logs import configure

    config = load_config()
    change = {"level": level} if level else {}
    configure(config.logging.model_copy(update=change), config.redactor)
    for warning in config.warnings:
        print(f"warning: {clean(warning)}", file=sys.stderr)
    return config


def show(found: Sequence[Mapping[str, Any]] | Mapping[str, Any], as_json: bool) -> None:
    """Print a list of things, or the facts of one, as a table or as JSON."""
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False, default=str))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table, lines = Table(box=None, pad_edge=False, show_header=False), found.items()
    if not isinstance(found, Mapping):
        table = Table(*(found[0] if found else ["nothing"]), box=None, pad_edge=False)
        lines = [row.values() for row in found]
    for line in lines:
        cells = (", ".join(c) if isinstance(c, list | tuple) else c for c in line)
        table.add_row(*(Text("" if c is None else clean(c)) for c in cells))
    Console(width=None if sys.stdout.isatty() else 1000).print(table)
