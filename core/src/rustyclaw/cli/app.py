"""The table of commands; each is imported when it is used."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Annotated, Any

from typer import Abort, Option, Typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from rustyclaw.cli import say_version
from rustyclaw.cli.terminal import finish
from rustyclaw.discovery import discover
from rustyclaw.errors import ConfigError, PluginError

#: Command -> its module, and its line in the help. What a group can do are the
#: functions of that module whose names begin with the group's.
_COMMANDS = {
    "onboard": ("onboard", "Set up home, config and workspace."),
    "agent": ("agent", "Talk to the assistant; with -m once."),
    "gateway": ("admin", "Serve all channels until stopped."),
    "status": ("admin", "Show how things stand."),
    "doctor": ("doctor", "Find what is wrong, and what to do about it."),
    "plugins": ("admin", "List, allow and deny plugins."),
    "config": ("admin", "Show, check and change the configuration."),
    "sessions": ("admin", "List, show, reset and delete conversations."),
    "pairing": ("admin", "Let unknown senders in, or not."),
    "agents": ("admin", "List and add agents."),
    "approvals": ("admin", "Answer questions; see what is allowed for always."),
}
#: Groups to which plugins add: ``gateway.stop`` becomes ``rustyclaw gateway stop``.
_EXTENDABLE = {"gateway"}
#: Help is plain, as rich would take 200 ms to import.
_STYLE: dict[str, Any] = {
    "rich_markup_mode": None,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}
Json = Annotated[bool, Option("--json", help="Print JSON.")]


class _Commands(TyperGroup):
    """Knows all commands by name and help; imports the one that is used."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        for name, (_, text) in _COMMANDS.items():
            self.commands[name] = TyperCommand(name, help=text)

    def list_commands(self, ctx: Any) -> list[str]:
        found = discover("commands")
        for (_, name), plugin in {**found.plugins, **found.conflicts}.items():
            if "." in name:  # it belongs to the group before the dot
                continue
            text = getattr(plugin, "summary", "offered twice; see `rustyclaw doctor`")
            self.commands.setdefault(name, TyperCommand(name, help=text))
        return list(self.commands)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.commands:
            self.list_commands(ctx)
        name, _, rest = super().resolve_command(ctx, args)
        return name, name and _load(name), rest


class _Extended(TyperGroup):
    """A group to which plugins add; each is imported when it is used."""

    def list_commands(self, ctx: Any) -> list[str]:
        prefix = f"{ctx.info_name}."
        names = discover("commands").names("commands")
        return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]

    def get_command(self, ctx: Any, name: str) -> Any:
        if name not in self.list_commands(ctx):
            return None
        try:
            return get_command(_of_plugin(f"{ctx.info_name}.{name}"))
        except ConfigError as exc:  # the others are there all the same
            problem = exc

        def refuse() -> None:
            raise problem

        return TyperCommand(name, callback=refuse, help=str(problem))


def _of_plugin(name: str) -> Any:
    from rustyclaw.config import load_config
    from rustyclaw.loading import Loader

    try:
        loader = Loader(load_config(), discover("commands"))
        return loader.create("commands", name, Typer)
    except PluginError as exc:
        raise ConfigError(str(exc)) from exc  # exit code 2, like wrong usage


def _load(name: str) -> Any:
    if name not in _COMMANDS:
        return get_command(_of_plugin(name))
    module, text = _COMMANDS[name]
    command = Typer(help=text, add_completion=False, **_STYLE)
    things = vars(import_module(f"rustyclaw.cli.{module}"))
    for attribute, thing in things.items():
        if attribute.startswith(f"{name}_"):
            command.command(attribute.removeprefix(f"{name}_"))(thing)
    if name in _EXTENDABLE:
        command.callback(cls=_Extended, invoke_without_command=True)(things[name])
    elif name in things:
        command.command(name)(things[name])
    return get_command(command)


app = Typer(cls=_Commands, **_STYLE)


@app.callback()
def _options(
    config: Annotated[str, Option("-c", "--config", metavar="PATH")] = "",
    home: Annotated[str, Option(metavar="PATH", help="State folder.")] = "",
    verbose: Annotated[bool, Option("-v", "--verbose", help="Log more.")] = False,
    version: Annotated[bool, Option("-V", "--version", callback=say_version)] = False,
) -> None:
    """A personal assistant made of plugins."""
    # Through the environment the choice also reaches what plugins bring.
    level = "debug" if verbose else ""
    chosen = {"CONFIG": config, "HOME": home, "LOG_LEVEL": level}
    os.environ |= {f"RUSTYCLAW_{name}": v for name, v in chosen.items() if v}


def run(args: list[str]) -> int:
    """Run one command; return the exit code of the process."""
    main = get_command(app).main

    def command() -> object:
        try:
            return main(args or ["-h"], "rustyclaw", standalone_mode=False)
        except Abort:
            return 130

    return finish(command)
