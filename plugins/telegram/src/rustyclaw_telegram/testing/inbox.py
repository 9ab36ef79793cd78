"""An inbox that keeps what it is given, and how to run a channel in a test."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
from rustyclaw import Channel, Inbound


class Box:
    """An inbox.

    :ivar error: Raised instead of taking the next message.
    :ivar hold: Nothing is taken before this is set.
    :ivar then: What happens when a message was taken.
    """

    def __init__(self) -> None:
        self.messages: list[Inbound] = []
        self.error: Exception | None = None
        self.hold: anyio.Event | None = None
        self.then: Callable[[], Awaitable[None]] | None = None

    async def accept(self, message: Inbound) -> bool:
        """Take a message."""
        if self.hold is not None:
            await self.hold.wait()
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        known = {known.source for known in self.messages}
        self.messages.append(message)
        if self.then is not None:
            await self.then()
        return message.source not in known

    @property
    def texts(self) -> list[str]:
        """What the messages say."""
        return [message.text for message in self.messages]


@asynccontextmanager
async def running(channel: Channel, box: Box) -> AsyncGenerator[None]:
    """Run a channel for the length of a block."""
    with anyio.fail_after(20):
        async with channel, anyio.create_task_group() as group:
            group.start_soon(channel.run, box)
            yield
            group.cancel_scope.cancel()


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so.

    :raises TimeoutError: It does not become so.
    """
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - it changes in other threads
            await anyio.sleep(0.005)
