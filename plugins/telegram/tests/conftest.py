"""A Bot API server on this machine, and a channel that speaks to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rustyclaw_telegram import receiving
from rustyclaw_telegram.channel import TelegramChannel
from rustyclaw_telegram.config import TelegramConfig
from rustyclaw_telegram.testing import FakeTelegram

Make = Callable[..., TelegramChannel]


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
