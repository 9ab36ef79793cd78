"""``rustyclaw onboard``: from nothing to an assistant that answers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import anyio
from typer import Abort, Option

import rustyclaw as rc
from rustyclaw.cli.admin import plugins_allow, seed, settings_file
from rustyclaw.cli.remote import is_served
from rustyclaw.cli.terminal import clean
from rustyclaw.cli.wizard import Chosen, Wizard
from rustyclaw.config import home_dir
from rustyclaw.config.edit import edit_config, replace_config
from rustyclaw.config.source import read_file
from rustyclaw.discovery import discover
from rustyclaw.errors import PluginNotFound

_HEADER = """\
# The settings of rustyclaw; `rustyclaw config schema` describes all there are.
# The model is `provider` or `provider/model`. Only plugins in plugins.allow are
# used; `rustyclaw plugins allow NAME` adds one that was installed later.
"""
_ALLOW = "--allow-installed/--no-allow-installed"


def onboard(
    provider: Annotated[str, Option(help="Plugin that has the model.")] = "",
    model: Annotated[str, Option(help="One of its models; default: its own.")] = "",
    api_key_env: Annotated[str, Option(help="Variable with the API key.")] = "",
    api_key_file: Annotated[str, Option(help="File with the API key.")] = "",
    base_url: Annotated[str, Option(help="Instead of the vendor's address.")] = "",
    channel: Annotated[str, Option(help="Chat platform to set up, too.")] = "",
    token_env: Annotated[str, Option(help="Variable with its token.")] = "",
    token_file: Annotated[str, Option(help="File with its token.")] = "",
    allow_installed: Annotated[
        bool | None, Option(_ALLOW, help="Write plugins.allow; default: if new.")
    ] = None,
    skip_tests: Annotated[bool, Option("--skip-tests", help="Ask no vendor.")] = False,
    non_interactive: Annotated[bool, Option("--non-interactive")] = False,
) -> None:
    """Set up home, config, a model and a chat platform; safe to repeat.

    All is tried out before anything is written. What the file says besides stays.
    """
    # What the environment lays over the file is for today; the file is for good.
    env = {k: v for k, v in os.environ.items() if not k.startswith("RUSTYCLAW_")}
    path = settings_file()
    text = read_file(path) if os.path.lexists(path) else ""
    config = rc.load_config(path, home=home_dir(), env=env, text=text)
    wizard = Wizard(config, asks=not non_interactive, tests=not skip_tests)
    try:
        key = {"api_key_env": api_key_env, "api_key_file": api_key_file}
        chosen = [wizard.provider(provider, {**key, "base_url": base_url})]
        model = wizard.model(chosen[0], model)
        token = {"token_env": token_env, "token_file": token_file}
        if platform := wizard.channel(channel, token):
            chosen.append(platform)
    except (Abort, KeyboardInterrupt):
        print("\nnothing was changed")
        raise
    _write(config, chosen, model, allow_installed)
    seed()
    for part in chosen:
        if part.name not in discover(part.kind).names(part.kind):
            print(PluginNotFound(part.kind[:-1], part.name))
    _say_what_is_next(config, chosen)


def _write(
    config: rc.Config, chosen: list[Chosen], model: str, allow: bool | None
) -> None:
    """Write the secrets, and then the config that names their files."""
    path, is_new = config.path, not os.path.lexists(config.path)
    was = b"" if is_new else path.read_bytes()
    put, drop = list[tuple[tuple[str, ...], Any]](), list[tuple[str, ...]]()
    if config.agents.defaults.model != model:
        put.append((("agents", "defaults", "model"), model))
    for part in chosen:
        place, before = (part.kind, part.name), getattr(config, part.kind)
        old = before.get(part.name) or {}
        if part.secret:
            file = part.section[f"{part.secret_key}_file"]
            _keep(config.home / file, part.secret)
        if part.name not in before and not part.section:
            put.append((place, {}))
        changed = {k: v for k, v in part.section.items() if old.get(k) != v}
        put += [((*place, key), value) for key, value in changed.items()]
        drop += [(*place, key) for key in old if key not in part.section]
    if config.plugins.allow is None and (is_new if allow is None else allow):
        names = {plugin.name for plugin in discover().plugins.values()}
        names |= {part.name for part in chosen}
        put.append((("plugins", "allow"), sorted(names)))
    if put or drop:
        if is_new:
            replace_config(path, _HEADER)
        edit_config(path, drop=drop, put=put)
    for part in chosen:
        plugins_allow(part.name)
    print(f"{path} is {'left as it is' if path.read_bytes() == was else 'written'}")


def _keep(file: Path, secret: str) -> None:
    """Write a secret that nobody else can read, all of it or nothing."""
    new = file.with_name(f".{file.name}.new")
    try:
        for folder in (file.parent.parent, file.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.parent.chmod(0o700)
        new.unlink(missing_ok=True)
        with open(new, "x", encoding="utf-8", opener=_private) as stream:
            stream.write(f"{secret}\n")
        new.replace(file)
    except OSError as exc:
        problem = f"cannot write {str(file)!r}: {exc.strerror}"
        raise rc.StorageError(problem) from None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)


def _say_what_is_next(config: rc.Config, chosen: list[Chosen]) -> None:
    agent = config.agent(config.default_agent_id)
    if agent.model:
        print(f"agent {agent.id!r} keeps a model of its own: {clean(agent.model)}")
    *_, last = chosen
    if last.kind == "channels":
        print("next, type: rustyclaw gateway")
        if last.is_secretive and last.section.get("dm_policy", "pairing") == "pairing":
            print("then write to your bot; it answers with a code, and you type:")
            print(f"rustyclaw pairing approve {last.name} CODE")
    else:
        print("next, type: rustyclaw agent")
    if anyio.run(is_served, config.home):
        print("a gateway runs: start it anew, so that it knows")
