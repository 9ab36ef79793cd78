"""What ``onboard`` asks, and how it tries the answers out; it writes nothing."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import requires
from typing import Any

import anyio
from typer import Abort, prompt

import rustyclaw as rc
from rustyclaw.cli.probes import Answer, Trial
from rustyclaw.cli.terminal import clean, show
from rustyclaw.config.load import config_from
from rustyclaw.discovery import discover
from rustyclaw.loading import FALLBACK_PROVIDER, Loader

#: So many models are shown; more would push the question off the screen.
_MOST_MODELS = 20
#: How a variable with the secret is called where the plugin does not say it.
_VARIABLES = {"api_key": ("{}_API_KEY",), "token": ("{}_BOT_TOKEN", "{}_TOKEN")}


@dataclass(kw_only=True)
class Chosen:
    """A provider or a channel as it is to stand in the config.

    :param secret_key: Which of its settings is its secret.
    :param section: All of its section; a typed secret is not in it.
    :param secret: What was typed, for the file that the section names.
    :param trial: It as it was tried out; ``None``: it could not be, or was not to be.
    """

    kind: str
    name: str
    secret_key: str
    section: dict[str, Any] = field(default_factory=dict)
    secret: str = ""
    trial: Trial | None = None

    def take(self, means: str, value: str) -> None:
        """Let the secret be in a ``variable`` or a ``file``, ``typed``, or nowhere."""
        self.secret = value if means == "typed" else ""
        for ending in ("", "_env", "_file"):
            self.section.pop(self.secret_key + ending, None)
        if means == "variable":
            self.section[f"{self.secret_key}_env"] = value
        elif means in ("file", "typed"):
            kept = f"credentials/{self.name}.{self.secret_key}"
            self.section[f"{self.secret_key}_file"] = value if means == "file" else kept

    @property
    def is_secretive(self) -> bool:
        """Whether its section says where its secret is."""
        return any(key.startswith(self.secret_key) for key in self.section)


class Wizard:
    """Asks, or takes what the command line said.

    :param asks: Somebody is there to answer.
    :param tests: Vendors and platforms may be asked.
    """

    def __init__(self, config: rc.Config, *, asks: bool, tests: bool) -> None:
        self._config, self._asks, self._tests = config, asks, tests

    def provider(self, name: str, given: Mapping[str, str]) -> Chosen:
        """Return the provider to use, which works.

        :param given: The options that go into its section.
        """
        installed = discover("providers").names("providers")
        old = (self._config.agents.defaults.model or "").partition("/")[0]
        first = FALLBACK_PROVIDER if FALLBACK_PROVIDER in installed else ""
        default = old or next(filter(None, [first, *installed]), FALLBACK_PROVIDER)
        return self._plugin("providers", "api_key", name, default, given)

    def channel(self, name: str, given: Mapping[str, str]) -> Chosen | None:
        """Return the channel to use; ``None``: none is wanted."""
        if not name and not (self._asks and discover("channels").plugins):
            return None
        old = next(iter(self._config.channels), "none")
        return self._plugin("channels", "token", name, old, given)

    def model(self, chosen: Chosen, model: str) -> str:
        """Return the model to use, as the config names it; it has said a word."""
        old, _, kept = (self._config.agents.defaults.model or "").partition("/")
        model = model or ("" if old != chosen.name or self._asks else kept)
        while True:
            if self._asks and not model:
                model = self._choose(chosen.trial, kept if old == chosen.name else "")
            spec = f"{chosen.name}/{model}".rstrip("/")
            if chosen.trial is None:
                return spec
            word = partial(chosen.trial.one_word, model or _default_model(chosen.trial))
            if self._outcome(spec, word) != "again":
                return spec
            model = ""

    def _choose(self, trial: Trial | None, kept: str) -> str:
        """Return one of the models that a provider has, or another that was typed."""
        if trial is None:
            return str(prompt("model, if not its own", kept)).strip()
        infos, default = anyio.run(trial.models), kept or _default_model(trial)
        ids = list(dict.fromkeys([default, *(info.id for info in infos)]))
        windows = {info.id: f"{info.context_window // 1000}k" for info in infos}
        for number, id in enumerate(ids[:_MOST_MODELS], 1):
            print(clean(f"{number:>4}  {id}  {windows.get(id, '')}".rstrip()))
        if len(ids) > _MOST_MODELS:
            print(f"      and {len(ids) - _MOST_MODELS} more; any may be named")
        answer = str(prompt("model, by number or name", default)).strip()
        by_number = answer.isdecimal() and 0 < int(answer) <= len(ids)
        return ids[int(answer) - 1] if by_number else answer

    # --- One plugin -----------------------------------------------------------------

    def _plugin(
        self, kind: str, secret_key: str, name: str, old: str, given: Mapping[str, str]
    ) -> Chosen | Any:
        """Return one that works, or is to stand there although it does not.

        :returns: ``None`` for the name ``none``.
        """
        name, plugin = self._named(kind, name, old)
        chosen = Chosen(kind=kind, name=name, secret_key=secret_key)
        chosen.section |= getattr(self._config, kind).get(name) or {}
        self._take(chosen, given)
        again = False
        while name != "none":
            self._find_secret(chosen, plugin, given, again)
            if plugin is None or not self._tests:
                return chosen
            try:
                chosen.trial = self._trial(chosen)
                outcome = self._outcome(f"{kind[:-1]} {name}", chosen.trial.probe)
            except rc.PluginError as exc:  # its settings are not valid
                outcome = self._failed(str(exc))
            if outcome == "skip":
                chosen.trial = None  # nor is its model worth a question
            if outcome != "again":
                return chosen
            again = True
        return None

    def _named(self, kind: str, name: str, old: str) -> tuple[str, Any]:
        """Return a name and what it names: ``None`` if that is not installed."""
        while True:
            if not name and self._asks:
                self._list(kind)
            name = name or (prompt(kind[:-1], old).strip() if self._asks else old)
            try:
                return name, None if name == "none" else self._class(kind, name)
            except rc.PluginError as exc:
                asked = self._tests or self._asks
                if not asked or self._failed(str(exc)) == "skip":
                    return name, None
            name = ""

    def _class(self, kind: str, name: str) -> Any:
        """Return what an entry point names, whatever the config allows."""
        config = config_from({}, home=self._config.home, env={})
        return Loader(config, discover(kind)).load(kind, name)

    def _trial(self, chosen: Chosen) -> Trial:
        """Return the plugin with its settings, whatever the config allows.

        :raises PluginError: They are not valid.
        """
        kind, name, section = chosen.kind, chosen.name, dict(chosen.section)
        if chosen.secret:  # it is in no file yet
            section[chosen.secret_key] = chosen.secret
        home, content = self._config.home, {kind: {name: section}}
        config = config_from(content, home=home, env=os.environ)
        return Trial(kind, name, config, Loader(config, discover(kind)))

    # --- Its secret -----------------------------------------------------------------

    def _take(self, chosen: Chosen, given: Mapping[str, str]) -> None:
        """Put into a section what the command line says."""
        if chosen.section.get("enabled") is False:
            chosen.section["enabled"] = True
        for option, value in given.items():
            if value and option == "base_url":
                chosen.section[option] = value
            elif value:
                chosen.take("file" if option.endswith("_file") else "variable", value)

    def _find_secret(
        self, chosen: Chosen, plugin: Any, given: Mapping[str, str], again: bool
    ) -> None:
        """Ask where a secret is, if the plugin has one and nobody has said it."""
        key, section = chosen.secret_key, chosen.section
        fields = getattr(getattr(plugin, "Config", None), "model_fields", {key: None})
        if again and "base_url" in fields:
            old = section.pop("base_url", "")
            text = f"address{old and f' [{old}]'} (`-`: the vendor's)"
            new = prompt(text, old or "-", show_default=False).strip()
            section |= {"base_url": new} if new != "-" else {}
        said = any(v for option, v in given.items() if option != "base_url")
        if key not in fields or (said and not again):
            return
        upper = re.sub(r"\W", "_", chosen.name).upper()
        guesses = [name.format(upper) for name in _VARIABLES[key]]
        names = list(getattr(plugin, "key_variables", ()) or guesses)
        found = next((name for name in names if name in os.environ), "")
        if self._asks:
            self._ask_for_secret(chosen, found or names[0], bool(found), again)
        elif found and not chosen.is_secretive:
            chosen.take("variable", found)

    def _ask_for_secret(
        self, chosen: Chosen, variable: str, is_set: bool, again: bool
    ) -> None:
        needs_none = False
        with suppress(rc.PluginError):  # the lack of it makes them invalid
            needs_none = not self._trial(chosen).lack()
        ways = ["typed", "variable", "none"]
        default = "variable" if is_set else "none" if needs_none else "typed"
        if chosen.is_secretive:
            ways, default = ["kept", *ways], default if again else "kept"
        what = chosen.secret_key.replace("_", " ")
        way = _pick(f"where is the {what}", ways, default)
        if way == "variable":
            chosen.take(way, prompt(f"variable with the {what}", variable).strip())
        elif way == "typed":
            hidden = sys.stdin.isatty()  # a pipe shows nothing anyway
            chosen.take(way, prompt(f"the {what}", hide_input=hidden).strip())
        elif way == "none":
            chosen.take(way, "")

    # --- Talking --------------------------------------------------------------------

    def _list(self, kind: str) -> None:
        """Show what is installed, and name what could be."""
        found = discover(kind)
        rows = [{"name": p.name, "what": p.summary} for p in found.plugins.values()]
        show(rows, False, "name what")
        pattern = rf"([\w-]+)[^;]*;.*extra == ['\"]{kind}['\"]"
        here = {plugin.dist for plugin in found.plugins.values()}
        could = [
            m[1]
            for m in map(re.compile(pattern).match, requires("rustyclaw") or ())
            if m
        ]
        if missing := sorted({*could} - here):
            print(f"could be installed: {', '.join(missing)}")

    def _outcome(self, what: str, test: Callable[[], Awaitable[Answer]]) -> str:
        """Try something out; return ``ok``, or what somebody wants if it fails."""
        print(clean(f"testing {what} ..."), end=" ", flush=True)
        answer = anyio.run(test)
        if not answer.works:
            print("failed")
            return self._failed(str(answer))
        print(clean(f"ok: {answer.text} ({answer.milliseconds} ms)"))
        return "ok"

    def _failed(self, problem: str) -> str:
        """Say what went wrong; return whether to try it ``again`` or to ``skip`` it.

        :raises RustyclawError: Nobody is there to say it.
        """
        if not self._asks:
            remedy = "nothing was changed; `--skip-tests` asks nobody"
            raise rc.RustyclawError(f"{problem}\n{remedy}")
        print(clean(problem))
        way = _pick("what now", ["again", "skip", "quit"], "again")
        if way == "quit":
            raise Abort
        return way


def _pick(question: str, ways: list[str], default: str) -> str:
    """Return one of several words; its beginning will do."""
    while True:
        answer = str(prompt(f"{question} ({', '.join(ways)})", default)).strip().lower()
        if found := [way for way in ways if answer and way.startswith(answer)]:
            return found[0]


def _default_model(trial: Trial) -> str:
    return str(getattr(trial.plugin, "default_model", ""))
