"""A gateway that a test chats with: ``assert await bot.say("hi") == "hi"``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rustyclaw.gateway import Gateway
from rustyclaw.runs import RunEnded, RunEvent, RunResult
from rustyclaw.testing.fakes import FakeChannel, FakeProvider

if TYPE_CHECKING:
    from rustyclaw.approvals import Operator


def make_gateway(
    home: Path,
    *,
    provider: FakeProvider | None = None,
    plugins: Mapping[str, object] | None = None,
    config: Mapping[str, Any] | None = None,
    channels: bool = False,
    approver: Operator | None = None,
) -> Gateway:
    """Return a gateway, not entered, with a fake model and no installed plugin.

    :param home: Its state; made if it does not exist.
    :param provider: The model; by default one that repeats what it is told.
    :param plugins: Plugin objects by kind and name: ``{"tools.roll": Roll()}``.
    :param config: Its configuration; without a model, ``fake/fake`` is used.
    :param channels: Start the channels among ``plugins``.
    """
    sections = dict(config or {})
    agents = dict(sections.get("agents", {}))
    agents["defaults"] = {"model": "fake/fake", **agents.get("defaults", {})}
    return Gateway(
        {**sections, "agents": agents},
        home=home,
        channels=channels,
        plugins={"providers.fake": provider or FakeProvider(), **(plugins or {})},
        approver=approver,
        discover=False,
    )


class Bot:
    """A running gateway with a fake model, and a fake channel to hear from it.

    :param home: The gateway's state.
    :param script: What the model answers, as `FakeProvider` takes it.
    :param provider: The model, instead of a script.
    :param channel: The fake channel, if it shall be a special one.
    :ivar channel: The fake channel; ``deliver`` through it, then `reply`.
    :ivar events: The events of the last `say`.
    """

    def __init__(
        self,
        home: Path,
        *,
        script: Sequence[Any] | None = None,
        provider: FakeProvider | None = None,
        channel: FakeChannel | None = None,
        plugins: Mapping[str, object] | None = None,
        config: Mapping[str, Any] | None = None,
        approver: Operator | None = None,
    ) -> None:
        self.provider = provider or FakeProvider(script=script)
        self.channel = channel or FakeChannel()
        self.events: list[RunEvent] = []
        self.gateway = make_gateway(
            home,
            provider=self.provider,
            plugins={"channels.fake": self.channel, **(plugins or {})},
            config=config,
            channels=True,
            approver=approver,
        )

    async def __aenter__(self) -> Self:
        await self.gateway.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.gateway.__aexit__(exc_type, exc, traceback)

    async def say(self, text: str, *, session: str = "main") -> str:
        """Say something and return the answer; ``last`` and ``events`` tell more."""
        self.events = []
        async for event in self.gateway.run(text, session=session):
            self.events.append(event)
        return self.last.text

    async def reply(self, *, timeout_seconds: float = 5.0) -> str:
        """Return the next text that arrives on the fake channel."""
        return (await self.channel.next_sent(timeout_seconds=timeout_seconds)).text

    @property
    def last(self) -> RunResult:
        """How the last `say` ended.

        :raises LookupError: Nothing was said yet, or the run has no end.
        """
        for event in reversed(self.events):
            if isinstance(event, RunEnded):
                return event.result
        raise LookupError("no run has ended; `await bot.say(...)` first")
