"""``rustyclaw onboard``: from nothing to an assistant that answers."""

from __future__ import annotations

import os
from typing import Annotated, Any

import yaml
from typer import Option, confirm, prompt

from rustyclaw.cli.admin import seed, settings_file
from rustyclaw.discovery import discover
from rustyclaw.errors import PluginNotFound

_HEADER = """\
# The settings of rustyclaw; `rustyclaw config schema` describes all there are.
# The model is `provider` or `provider/model`. Only plugins in plugins.allow are
# used; `rustyclaw plugins allow NAME` adds one that was installed later.
"""


def onboard(
    provider: Annotated[str, Option(help="Plugin that has the model.")] = "",
    model: Annotated[str, Option(help="One of its models; default: its own.")] = "",
    api_key_env: Annotated[str, Option(help="Variable with the API key.")] = "",
    allow_installed: Annotated[bool, Option(help="Write plugins.allow.")] = True,
    non_interactive: Annotated[bool, Option("--non-interactive")] = False,
) -> None:
    """Set up the home folder, a config file and a workspace; safe to repeat."""
    path, asks = settings_file(), not non_interactive
    if path.exists() and not (asks and confirm(f"{path} exists; write it anew?")):
        print(f"{path} is left as it is")
    else:
        installed = discover()
        names = installed.names("providers") or ["offline"]
        provider = provider or names[0]
        if asks:
            provider = prompt(f"provider ({', '.join(names)})", provider)
        key = f"{provider.upper().replace('-', '_')}_API_KEY"
        key = api_key_env or (key if key in os.environ else "")
        if asks:
            key = prompt("variable with its key", key, show_default=bool(key))
            model = prompt("model", model, show_default=bool(model))
            allow_installed = confirm("use only the plugins of today?", allow_installed)
        settings: dict[str, Any] = {
            "agents": {"defaults": {"model": f"{provider}/{model}".rstrip("/")}},
            "providers": {provider: {"api_key_env": key} if key else {}},
        }
        if allow_installed:
            allowed = {p.name for p in installed.plugins.values()} | {provider}
            settings["plugins"] = {"allow": sorted(allowed)}
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(_HEADER + yaml.safe_dump(settings, sort_keys=False))
        print(f"{path} is written")
        if provider not in installed.names("providers"):
            print(PluginNotFound("provider", provider))
    seed()
    print("next, type: rustyclaw agent")
