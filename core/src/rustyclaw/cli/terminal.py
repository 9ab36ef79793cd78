"""What the commands print, how one ends, and the one that lasts: the gateway.

Nothing here needs typer, which would stay in memory for as long as that runs.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rustyclaw import __version__
from rustyclaw.errors import ConfigError, RustyclawError

if TYPE_CHECKING:
    from rustyclaw.config import Config
    from rustyclaw.gateway import Gateway


def finish(command: Callable[[], object]) -> int:
    """Call a command and say what went wrong; return the exit code of the process."""
    try:
        code = command()
        return code if isinstance(code, int) else 0
    except KeyboardInterrupt:
        return 130
    except Exception as exc:
        if os.environ.get("RUSTYCLAW_DEBUG") == "1":
            raise
        text, code = str(exc), 2 if isinstance(exc, ConfigError) else 1
        if message := getattr(exc, "format_message", None):  # typer's own
            text, code = f"{message()} See `--help`.", 2
        elif not isinstance(exc, RustyclawError):
            text = f"{type(exc).__name__}: {text}; RUSTYCLAW_DEBUG=1 shows where"
        for line in text.splitlines():
            print(f"error: {clean(line)}", file=sys.stderr)
        return code


def clean(text: object) -> str:
    """Return text from outside with what a terminal would obey made visible."""
    kept = "\n\t\u200c\u200d"  # the last two join letters, and emoji
    return "".join(
        c if c.isprintable() or c in kept else ascii(c)[1:-1] for c in str(text)
    )


def start(level: str | None = "warning") -> Config:
    """Load the config and set up the log, for a command that runs plugins."""
    from rustyclaw.config import load_config
    from rustyclaw.logs import configure_logs

    config = load_config()
    change = {"level": level} if level else {}
    configure_logs(config.logging.model_copy(update=change), config.redactor)
    for warning in config.warnings:
        print(f"warning: {clean(warning)}", file=sys.stderr)
    return config


def greeting(gateway: Gateway) -> str:
    """Return what a person is told of a gateway that has started."""
    states = [f"{name} {c.state}" for name, c in gateway.channels.items()]
    ready = ", ".join(states) or "no channel is configured"
    head = f"rustyclaw {__version__} is ready: {ready}"
    return "\n".join(map(clean, (head, *gateway.banner)))


def leave(reason: str) -> None:
    """End a process that was a gateway, or begin it anew if it stopped for that.

    :param reason: Why the gateway has stopped.
    """
    if reason == "restart":
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, "-m", "rustyclaw", *sys.argv[1:]])  # noqa: S606 - this very program
    if reason == "failed":  # the log says what
        sys.exit(1)


def show(rows: Any, as_json: bool, columns: str = "") -> None:
    """Print facts as JSON, or the named ones of each row as a table."""
    if as_json:
        print(json.dumps(rows, indent=2, default=str))
        return
    from rich.console import Console
    from rich.table import Column, Table

    names = [Column(name, overflow="fold") for name in columns.split()]
    table = Table(*names, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(_cell(row[name]) for name in columns.split()))
    console = Console(
        width=None if sys.stdout.isatty() else 1000,
        color_system=None if "NO_COLOR" in os.environ else "auto",
        markup=False,
        emoji=False,
    )
    console.print(table)


def _cell(fact: object) -> str:
    if isinstance(fact, float):  # seconds since the epoch
        return f"{datetime.fromtimestamp(fact):%Y-%m-%d %H:%M}"
    if isinstance(fact, list | tuple):
        return clean(", ".join(fact))
    return "" if fact is None else clean(fact)


def serve() -> None:
    """Be ``rustyclaw gateway``: serve all channels until somebody stops it."""
    gc.disable()  # what a start makes stays; to look through it is a tenth of the start
    import anyio

    from rustyclaw.gateway import Gateway

    async def announce(gateway: Gateway) -> None:
        with anyio.move_on_after(1 if gateway.channels else 0.01):  # to connect
            await gateway.stop_requested()
            return  # it has failed already
        print(greeting(gateway), flush=True)

    async def run() -> str:
        async with Gateway(start(level=None)) as gateway:
            gc.enable()
            gateway.spawn(announce, gateway)
            await gateway.serve()
            return gateway.stop_reason

    leave(anyio.run(run))
