"""The contract of a channel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from rustyclaw import Target
from rustyclaw.testing import ChannelContract
from rustyclaw_telegram.channel import TelegramChannel
from rustyclaw_telegram.testing import FakeTelegram


class TestTelegram(ChannelContract):
    target: ClassVar[Target] = Target(channel="telegram", chat_id="55")

    @pytest.fixture
    def channel(
        self, make: Callable[..., TelegramChannel], telegram: FakeTelegram
    ) -> TelegramChannel:
        channel = make()
        channel.platform = telegram  # type: ignore[attr-defined]  # for the two below
        return channel

    async def deliver(self, channel: Any) -> None:
        channel.platform.say("hello")

    def acknowledged(self, channel: Any) -> bool:
        return not channel.platform.waiting()

    def shown(self, channel: Any) -> list[str]:
        return list(channel.platform.shown(55))
