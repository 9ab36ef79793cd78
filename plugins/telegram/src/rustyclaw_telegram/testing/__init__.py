"""A Bot API server for tests, on a real socket of this machine.

::

    with FakeTelegram() as telegram:
        channel = TelegramChannel(TelegramConfig(**telegram.settings()))
        telegram.say("hello", sender=55)
        ...
        assert telegram.shown(55) == ["hello back"]

It keeps what Telegram keeps (updates until they are confirmed, messages with their
edits) and refuses what Telegram refuses, in its words. Source:
https://core.telegram.org/bots/api. It runs in threads, for any event loop.
"""

from __future__ import annotations

from rustyclaw_telegram.testing.fake import TOKEN, USERNAME, Call, FakeTelegram, Shown
from rustyclaw_telegram.testing.inbox import Box, running, until

__all__ = [
    "TOKEN",
    "USERNAME",
    "Box",
    "Call",
    "FakeTelegram",
    "Shown",
    "running",
    "until",
]
