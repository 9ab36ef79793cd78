"""Tries providers and channels out, each with a deadline, and says what answered."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio

import rustyclaw as rc
from rustyclaw.cli.remote import ask_gateway
from rustyclaw.discovery import discover
from rustyclaw.interfaces import Connected
from rustyclaw.loading import FALLBACK_PROVIDER, Loader

BASES: dict[str, Any] = {"providers": rc.Provider, "channels": rc.Channel}
_SECONDS = 10.0
#: A model that was not loaded yet takes its time to say a word.
_ANSWER_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a provider or a channel made of its settings."""

    kind: str
    name: str
    works: bool
    text: str
    milliseconds: int

    def __str__(self) -> str:
        """Return the one line that people read."""
        text = f"{self.kind[:-1]} {self.name!r} {self.text}"
        if self.works:
            return f"{text} ({self.milliseconds} ms)"
        return self.text if self.name in self.text else text


class Trial:
    """One provider or channel, with the settings that a config gives it.

    :raises PluginError: It is not installed, or the settings are not valid.
    """

    def __init__(self, kind: str, name: str, config: rc.Config, loader: Loader) -> None:
        self.kind, self.name, self._scrub = kind, name, config.redactor.scrub
        self._section: Mapping[str, Any] = getattr(config, kind).get(name, {})
        self.plugin: Connected = loader.create(kind, name, BASES[kind])

    def lack(self) -> str:
        """Return what the settings lack, or an empty text."""
        try:
            return self._scrub(self.plugin.problem())
        except Exception as exc:  # it is code of a plugin
            return self._scrub(f"{self.kind[:-1]} {self.name!r} is broken: {exc!r}")

    async def probe(self) -> Answer:
        """Ask the plugin itself; what a channel keeps goes into no folder of ours."""
        with TemporaryDirectory(prefix="rustyclaw-") as folder:
            if isinstance(self.plugin, rc.Channel):
                self.plugin.folder = Path(folder)
            return await self._answer(self.plugin.probe, _SECONDS)

    async def models(self) -> Sequence[rc.ModelInfo]:
        """Return the models that a provider tells; none if it fails."""
        provider: Any = self.plugin
        with suppress(Exception), anyio.move_on_after(_SECONDS):  # code of a plugin
            async with provider:
                return tuple(await provider.models())
        return ()

    async def one_word(self, model: str) -> Answer:
        """Have a model say a word: a key may be valid and yet buy nothing."""
        provider: Any = self.plugin
        message = rc.Message.user("Are you there? Answer with one word.")
        request = rc.ModelRequest(
            model=model, system="", messages=(message,), max_tokens=64
        )

        async def ask() -> str:
            async with provider, aclosing(provider.stream(request)) as events:
                async for _ in events:
                    return f"answers as {model}"
            raise rc.ProviderError(f"model {model!r} said nothing")

        return await self._answer(ask, _ANSWER_SECONDS)

    async def _answer(
        self, ask: Callable[[], Awaitable[str]], seconds: float
    ) -> Answer:
        started, works, text = time.perf_counter(), False, ""
        try:
            with anyio.move_on_after(seconds) as deadline:
                text, works = await ask(), True
            if deadline.cancelled_caught:
                text = f"did not answer within {seconds:g} s"
        except Exception as exc:  # it is code of a plugin
            known = isinstance(exc, rc.RustyclawError)
            text = str(exc) if known else f"{type(exc).__name__}: {exc}"
            refused = str(getattr(exc, "kind", "")).startswith("auth")
            if refused or getattr(exc, "permanent", False):
                text += "".join(f"; it is from {place}" for place in self._sources())
        return Answer(
            kind=self.kind,
            name=self.name,
            works=works,
            text=" ".join(self._scrub(text).split()),
            milliseconds=round((time.perf_counter() - started) * 1000),
        )

    def _sources(self) -> Iterator[str]:
        """Yield where the secrets of the settings come from."""
        found = list(_companions(self._section))
        yield from found
        names = getattr(self.plugin, "key_variables", ())
        if not found and not self._section.get("api_key"):
            yield from (f"the variable {n!r}" for n in names if n in os.environ)


def _companions(section: Mapping[str, Any]) -> Iterator[str]:
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from _companions(value)
        elif key.endswith(("_env", "_file")):
            means = "variable" if key.endswith("_env") else "file"
            yield f"the {means} {value!r}"


def in_use(config: rc.Config, loader: Loader) -> list[tuple[str, str]]:
    """Return the providers and channels that a gateway would use, as kind and name."""
    agents = config.agents.list or (config.agents.defaults,)
    models = [a.model or config.agents.defaults.model for a in agents]
    first = next(iter(loader.enabled("providers")), FALLBACK_PROVIDER)
    named = [(model or first).split("/")[0] for model in models]
    configured = loader.enabled("providers") if config.providers else []
    channels = [("channels", name) for name in loader.enabled("channels")]
    providers = dict.fromkeys([*named, *configured])
    return [*(("providers", name) for name in providers), *channels]


async def probe_all(config: rc.Config, serves: bool) -> list[Answer]:
    """Try out all that is in use, at the same time.

    What cannot be made, or lacks something, is left to the other checks.

    :param serves: A gateway runs: what does not promise to leave it alone is not
        tried.
    """
    loader, answers = Loader(config, discover()), dict[Trial, Answer | None]()
    for place in in_use(config, loader):
        with suppress(rc.RustyclawError):
            trial = Trial(*place, config, loader)
            leaves_it_alone = type(trial.plugin).probe is not Connected.probe
            if (leaves_it_alone or not serves) and not trial.lack():
                answers[trial] = None

    async def try_out(trial: Trial) -> None:
        answers[trial] = await trial.probe()

    async with anyio.create_task_group() as group:
        for trial in answers:
            group.start_soon(try_out, trial)
    return [answer for answer in answers.values() if answer is not None]


def running_channels() -> Iterator[tuple[bool, str]]:
    """Yield how each channel of the running gateway is: whether it is well, a line.

    :raises NotServed: The gateway cannot be asked.
    """
    for name, facts in ask_gateway("channels.status")["channels"].items():
        accounts = [(k, v) for k, v in facts.items() if isinstance(v, Mapping)]
        told = [f"channel {name!r} of the running gateway is {facts.get('state')}"]
        told += [f"{key} {_told(account)}" for key, account in accounts]
        errors = [row.get("error") for _, row in accounts]
        error = facts.get("lastError") or next(filter(None, errors), "")
        is_well = bool(facts.get("connected")) and not error
        yield is_well, "; ".join([*told, *filter(None, [facts.get("lastError")])])


def _told(facts: Mapping[str, Any]) -> str:
    """Return facts as words; what is the time of something, as how long ago."""
    words = []
    for key, value in facts.items():
        if isinstance(value, float) and value > 1e9:
            value = f"{max(0.0, time.time() - value):.0f} s ago"
        words.append(f"{key} {value}")
    return ", ".join(words)
