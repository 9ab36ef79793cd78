"""``rustyclaw doctor``: one line for each check, and what to do about it."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated, Any

import anyio
from typer import Exit, Option, Typer

import rustyclaw as rc
from rustyclaw.cli.admin import in_state
from rustyclaw.cli.app import Json
from rustyclaw.cli.probes import BASES, Trial, in_use, probe_all, running_channels
from rustyclaw.cli.remote import NotServed, is_served
from rustyclaw.cli.terminal import clean, show
from rustyclaw.discovery import discover
from rustyclaw.hooks import Hooks
from rustyclaw.loading import Loader

_BASES: dict[str, Any] = {
    **BASES,
    "tools": (rc.Tool, rc.Toolset),
    "hooks": object,
    "compactors": rc.Compactor,
    "commands": Typer,
}
_MARKS = {"enabled": "ok", "new": "--", "conflict": "!!"}
Deep = Annotated[bool, Option("--deep", help="Ask vendors and platforms, too.")]
Fix = Annotated[bool, Option("--fix", help="Mend what can be mended.")]


def doctor(fix: Fix = False, deep: Deep = False, as_json: Json = False) -> None:
    """Check everything. What is marked !! needs mending; its line says how."""
    checks = [{"mark": mark, "text": text} for mark, text in _checks(fix)]
    checks += _deep_checks() if deep else ()
    if as_json:
        show(checks, as_json)
    for check in () if as_json else checks:
        print(clean(f"[{check['mark']}] {check['text']}"))
    if any(check["mark"] == "!!" for check in checks):
        raise Exit(1)


def _checks(fix: bool) -> Iterator[tuple[str, str]]:
    yield "ok", f"rustyclaw {rc.__version__}, python {platform.python_version()}"
    try:
        config = rc.load_config()
        yield "ok", f"config {config.path}"
        yield from (("--", warning) for warning in config.warnings)
        yield from _check_plugins(config)
        yield from _check_files(config, fix)
        for plugin, hook, reason, count in in_state(lambda s: s.faults()):
            yield "--", f"plugin {plugin!r}, hook {hook!r}: {reason}; {count} times"
        for channel, state, error in in_state(lambda s: s.journal.troubles()):
            yield "--", f"a reply on channel {channel!r} is {state}: {error}"
        runs = anyio.run(is_served, config.home)
        yield "--", f"a gateway is {'running' if runs else 'not running'}"
    except rc.RustyclawError as exc:
        yield from (("!!", line) for line in str(exc).splitlines())


def _deep_checks() -> Iterator[dict[str, Any]]:
    """Try out what is in use; facts of each for programs, beside mark and text."""
    try:
        config = rc.load_config()
        serves = anyio.run(is_served, config.home)
        for answer in anyio.run(probe_all, config, serves):
            mark = "ok" if answer.works else "!!"
            yield {"mark": mark, "text": str(answer), "probe": asdict(answer)}
        for is_well, text in running_channels() if serves else ():
            yield {"mark": "ok" if is_well else "!!", "text": text}
    except NotServed:
        text = "the running gateway cannot be asked; its log says how its channels are"
        yield {"mark": "--", "text": text}
    except rc.RustyclawError as exc:
        yield {"mark": "!!", "text": str(exc)}


def _check_plugins(config: rc.Config) -> Iterator[tuple[str, str]]:
    """Import and construct all that is enabled; tell what that in use lacks."""
    loader, hooks = Loader(config, discover()), dict[str, object]()
    for kind, base in _BASES.items():
        for name in loader.enabled(kind):
            with suppress(rc.PluginError):  # it is then among the failures
                plugin = loader.create(kind, name, base)
                hooks |= {name: plugin} if kind == "hooks" else {}
    for kind, name in in_use(config, loader):
        with suppress(rc.PluginError):
            if lack := Trial(kind, name, config, loader).lack():
                yield "!!", lack
    for name, refused in Hooks().register(hooks).items():
        loader.fail("hooks", name, refused)
    for name in config.plugins.required:
        with suppress(rc.PluginError):
            loader.require([name])
    for failure in loader.failures.values():
        yield "!!", f"{failure}; or run `rustyclaw plugins deny {failure.plugin}`"
    for status in loader.statuses():
        if mark := _MARKS.get(status.state):
            of = f"{status.kind[:-1]} {status.name!r} ({status.dist} {status.version})"
            said = f"{of}: {status.state}{status.reason and f', {status.reason}'}"
            yield "--" if status.reason and mark == "ok" else mark, said


def _check_files(config: rc.Config, fix: bool) -> Iterator[tuple[str, str]]:
    home, sessions = config.home, in_state(lambda s: s.sessions.list())
    yield "ok", f"{len(sessions)} sessions in {home}"
    for path in home.glob("agents/*/sessions/*.bad-*"):
        yield "--", f"a transcript was damaged; {path} has a copy of the damaged parts"
    private = [config.path, *home.glob("state.db*"), *home.glob("credentials/**/*")]
    for path in (home, home / "credentials", *private):
        if path.exists() and (mode := path.stat().st_mode & 0o777) & 0o077:
            if fix:
                path.chmod(mode & 0o700)
            said = "closed now" if fix else "run `rustyclaw doctor --fix`"
            yield "ok" if fix else "!!", f"{path} was open to others ({mode:o}); {said}"
