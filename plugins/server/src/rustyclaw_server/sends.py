"""What became of messages that clients sent through a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from rustyclaw import Sent


class Sending:
    """A message on its way; ``done`` says that it has arrived or failed."""

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.sent: Sent | None = None
        self.error: str | None = None


class Sends:
    """Messages that somebody waits for, by their id."""

    def __init__(self) -> None:
        self._waiting: dict[str, Sending] = {}

    def expect(self, message_id: str) -> Sending:
        """Return what will tell of a message; the same for all who ask."""
        return self._waiting.setdefault(message_id, Sending())

    def resolve(self, message_id: str, sent: Sent | None, error: str | None) -> None:
        """Note that a platform took a message, or refused it."""
        if sending := self._waiting.get(message_id):
            sending.sent, sending.error = sent, error
            sending.done.set()

    def forget(self, message_id: str) -> None:
        """Wait for a message no longer."""
        self._waiting.pop(message_id, None)
