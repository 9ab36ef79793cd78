"""Vendors without a network: each key answers as a test has scripted it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from rustyclaw import (
    GatewayEvent,
    ModelInfo,
    ModelRequest,
    Notice,
    PluginConfig,
    Secret,
    TranscriptPolicy,
)
from rustyclaw.testing import Bot, FakeProvider
from rustyclaw_failover.config import FailoverConfig
from rustyclaw_failover.provider import FailoverProvider

KEYS = {"a": [{"api_key": "secret-key-one"}, {"api_key": "secret-key-two"}]}


class VendorConfig(PluginConfig):
    """The section of a vendor."""

    api_key: Secret = Secret("own-key")


class Vendor(FakeProvider):
    """A vendor; derive one for each name.

    :cvar scripts: Key -> what it answers, one item for each call; then "NAME KEY".
    :cvar asked: Key and request of all calls.
    """

    Config = VendorConfig
    default_model = "large"
    name: ClassVar[str]
    scripts: ClassVar[dict[str, list[Any]]]
    asked: ClassVar[list[tuple[str, ModelRequest]]]
    opened: ClassVar[int]
    windows: ClassVar[Mapping[str, int]]

    def __init__(self, config: Any = None) -> None:
        super().__init__(config, default=self._answer)
        type(self).opened += 1

    @classmethod
    def keys(cls) -> list[str]:
        """The keys of all calls."""
        return [key for key, _ in cls.asked]

    async def models(self) -> tuple[ModelInfo, ...]:
        """Return what was set up."""
        return tuple(ModelInfo(id=i, context_window=w) for i, w in self.windows.items())

    def _answer(self, request: ModelRequest) -> Any:
        key = self.config.api_key.get_secret_value().removeprefix("secret-key-")
        self.asked.append((key, request))
        script = self.scripts[key]
        return script.pop(0) if script else f"{self.name} {key}"


def vendor(
    name: str, *, policy: TranscriptPolicy | None = None, **windows: int
) -> type[Vendor]:
    """Return a new vendor."""
    fields = {"name": name, "scripts": defaultdict(list), "asked": [], "opened": 0}
    fields["windows"] = windows or {"large": 200_000, "small": 100_000}
    fields["transcript_policy"] = policy or TranscriptPolicy()
    return type(name, (Vendor,), fields)


@dataclass
class House:
    """A gateway whose model is `failover` over the vendors ``a`` and ``b``.

    :ivar now: The clock of the failover provider; move it at will.
    :ivar notices: What those who watch were told.
    """

    home: Path
    now: float = 1_000_000.0
    a: type[Vendor] = field(default_factory=lambda: vendor("a"))
    b: type[Vendor] = field(default_factory=lambda: vendor("b"))
    notices: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    others: dict[str, object] = field(default_factory=dict)

    def open(
        self,
        model: str = "failover",
        agents: Mapping[str, Any] | None = None,
        **section: Any,
    ) -> Bot:
        """Return a bot, not entered."""
        fields = {"models": ["a/large", "b/large"], "keys": KEYS, **section}
        provider = FailoverProvider(FailoverConfig.model_validate(fields))
        provider.clock = lambda: self.now
        bot = Bot(
            self.home,
            plugins={
                "providers.failover": provider,
                "providers.a": self.a,
                "providers.b": self.b,
                **self.others,
            },
            config={"agents": {"defaults": {"model": model, **(agents or {})}}},
        )
        bot.gateway.feed.watch(self._watch)
        return bot

    def _watch(self, seen: GatewayEvent | Notice) -> None:
        if isinstance(seen, Notice) and seen.name != "stopping":
            self.notices.append((seen.name, seen.payload))


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Return a house with two vendors, the first of them with two keys."""
    return House(tmp_path)


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """Return the seconds that core and plugin want to wait; none of them passes."""
    seconds: list[tuple[str, float]] = []

    def sleeper(who: str) -> Callable[[float], Any]:
        async def sleep(delay: float) -> None:
            seconds.append((who, delay))

        return sleep

    monkeypatch.setattr("rustyclaw.agent.model_calls.sleep", sleeper("core"))
    monkeypatch.setattr("rustyclaw_failover.walk.sleep", sleeper("failover"))
    return seconds
