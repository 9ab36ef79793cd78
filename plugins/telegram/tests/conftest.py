"""A Bot API server on this machine, and a channel that speaks to it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from rustyclaw import Inbound
from rustyclaw_telegram import receiving
from rustyclaw_telegram.channel import TelegramChannel
from rustyclaw_telegram.config import TelegramConfig
from rustyclaw_telegram.testing import FakeTelegram

Make = Callable[..., TelegramChannel]


class Box:
    """An inbox that keeps what it was given; ``error`` is raised instead, once."""

    def __init__(self) -> None:
        self.messages: list[Inbound] = []
        self.error: Exception | None = None
        self.hold: anyio.Event | None = None

    async def accept(self, message: Inbound) -> bool:
        if self.hold is not None:
            await self.hold.wait()
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        known = {m.source for m in self.messages}
        self.messages.append(message)
        return message.source not in known

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.messages]


@pytest.fixture
def telegram() -> Iterator[FakeTelegram]:
    with FakeTelegram() as fake:
        yield fake


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait long for a second try."""

    def pause(self: Any) -> float:
        return 0.01

    monkeypatch.setattr(receiving.Backoff, "pause", pause)


@pytest.fixture
def make(telegram: FakeTelegram, tmp_path: Path) -> Make:
    def make_channel(**settings: Any) -> TelegramChannel:
        channel = TelegramChannel(TelegramConfig(**telegram.settings(**settings)))
        channel.folder = tmp_path / "channels" / "telegram"
        return channel

    return make_channel


@asynccontextmanager
async def running(channel: TelegramChannel, box: Box) -> AsyncGenerator[None]:
    """Run a channel for the length of a block."""
    with anyio.fail_after(20):
        async with channel, anyio.create_task_group() as group:
            group.start_soon(channel.run, box)
            yield
            group.cancel_scope.cancel()


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so; the test's deadline ends what never comes."""
    with anyio.fail_after(10):
        while not condition():
            await anyio.sleep(0.005)
