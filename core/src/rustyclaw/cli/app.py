"""The table of commands; what a command needs is imported when it is used."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from rustyclaw import __version__
from rustyclaw.cli.output import STYLE
from rustyclaw.errors import ConfigError, PluginError, RustyclawError

#: Command -> where it is, and its line in the help.
_COMMANDS = {
    "onboard": ("onboard:onboard", "Set up home, config and workspace."),
    "agent": ("agent:agent", "Talk to the assistant; with -m once."),
    "gateway": ("gateway:gateway", "Serve all channels until stopped."),
    "status": ("inspect:status", "Show how things stand."),
    "doctor": ("inspect:doctor", "Find what is wrong, and say what to do."),
    "plugins": ("inspect:plugins", "List, allow and deny plugins."),
    "config": ("config:app", "Show, check and change the configuration."),
    "sessions": ("admin:sessions", "List, show, reset and delete conversations."),
    "pairing": ("admin:pairing", "Let unknown senders in, or not."),
    "agents": ("admin:agents", "List and add agents."),
}


class _Commands(TyperGroup):
    """Knows each command by name and help; imports only the one that is used."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        for name, (_, text) in _COMMANDS.items():
            self.commands[name] = TyperCommand(name, help=text)

    def list_commands(self, ctx: Any) -> list[str]:
        from rustyclaw.discovery import discover

        catalog = discover("commands")
        for (_, name), found in {**catalog.plugins, **catalog.conflicts}.items():
            text = getattr(found, "summary", "(several plugins; see `doctor`)")
            self.commands.setdefault(name, TyperCommand(name, help=text))
        return list(self.commands)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.commands:
            self.list_commands(ctx)
        name, _, rest = super().resolve_command(ctx, args)
        return name, name and _load(name), rest


def _load(name: str) -> Any:
    if name in _COMMANDS:
        module, _, attribute = _COMMANDS[name][0].partition(":")
        target = getattr(import_module(f"rustyclaw.cli.{module}"), attribute)
    else:
        from rustyclaw.config import load_config
        from rustyclaw.discovery import discover
        from rustyclaw.loading import Loader

        loader = Loader(load_config(), discover("commands"))
        try:
            target = loader.create("commands", name, typer.Typer)
        except PluginError as exc:
            raise ConfigError(str(exc)) from exc  # like a usage error: exit code 2
    if isinstance(target, typer.Typer):
        return typer.main.get_command(target)
    single = typer.Typer(**STYLE)
    single.command(name)(target)
    return typer.main.get_command(single)


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"rustyclaw {__version__}")
        raise typer.Exit


app = typer.Typer(cls=_Commands, **STYLE | {"add_completion": True})


@app.callback()
def _options(
    config: Annotated[str, typer.Option("--config", "-c", metavar="PATH")] = "",
    home: Annotated[str, typer.Option(metavar="PATH", help="State folder.")] = "",
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
    version: Annotated[
        bool, typer.Option("--version", "-V", is_eager=True, callback=_say_version)
    ] = False,
) -> None:
    """A personal assistant made of plugins."""
    # By way of the environment the choice also reaches what plugins bring.
    names = ("RUSTYCLAW_CONFIG", "RUSTYCLAW_HOME", "RUSTYCLAW_LOG_LEVEL")
    values = (config, home, "debug" if verbose else "")
    os.environ |= {n: v for n, v in zip(names, values, strict=True) if v}


def run(args: list[str]) -> int:
    """Run one command; return the exit code of the process."""
    try:
        main = typer.main.get_command(app).main
        code = main(args or ["--help"], prog_name="rustyclaw", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except Exception as exc:
        if os.environ.get("RUSTYCLAW_DEBUG") == "1":
            raise
        return _explain(exc)


def _explain(exc: BaseException) -> int:
    """Print one line for each problem; return the exit code."""
    while isinstance(exc, BaseExceptionGroup):  # from a task group
        exc = exc.exceptions[0]
    text, code = str(exc), 2 if isinstance(exc, ConfigError) else 1
    if message := getattr(exc, "format_message", None):  # typer's own; usage errors
        where = getattr(getattr(exc, "ctx", None), "command_path", "rustyclaw")
        text, code = f"{message()} See `{where} --help`", 2
    elif not isinstance(exc, RustyclawError):
        text = f"{type(exc).__name__}: {exc}; RUSTYCLAW_DEBUG=1 shows where"
    for line in text.splitlines():
        print(f"error: {line}", file=sys.stderr)
    return code
