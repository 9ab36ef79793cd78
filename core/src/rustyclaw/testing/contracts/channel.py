"""What every channel must keep."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, ClassVar

import anyio
import pytest
from anyio.abc import TaskGroup

from rustyclaw.errors import StorageError
from rustyclaw.interfaces.channel import Capabilities, Channel, ChannelConfig, Route
from rustyclaw.messages import Inbound, Outbound, Sent, Target
from rustyclaw.testing.contracts.base import (
    Contract,
    check_config,
    check_probe,
    seconds_to_leave,
)


class _Inbox:
    """Holds each message back until ``release``, then takes or refuses it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.messages: list[Inbound] = []
        self.arrived = anyio.Event()
        self.release = anyio.Event()

    async def accept(self, message: Inbound) -> bool:
        self.messages.append(message)
        self.arrived.set()
        await self.release.wait()
        if self.error:
            raise self.error
        return True


class ChannelContract(Contract):
    """What every channel must keep. Define the fixture ``channel``, not entered.

    Override `deliver` and `acknowledged` as well, if the platform of your fixture
    can deliver a message: then the way in is proven, too; and `shown`, if the channel
    shows drafts.

    :cvar target: Where the platform of your fixture takes messages.
    """

    __test__ = False
    target: ClassVar[Target] = Target(channel="test", chat_id="1")

    @pytest.fixture
    def channel(self) -> Channel:
        """Return the channel. REQUIRED."""
        raise NotImplementedError("define the fixture `channel` in your contract class")

    async def deliver(self, channel: Any) -> None:
        """Make the platform deliver one message to the running channel."""

    def acknowledged(self, channel: Any) -> bool:
        """Return whether the platform knows that its message has arrived."""
        raise NotImplementedError

    def shown(self, channel: Any) -> Sequence[str]:
        """Return the texts that the platform shows, drafts included."""
        raise NotImplementedError

    def _gives(self, name: str) -> bool:
        return getattr(type(self), name) is not getattr(ChannelContract, name)

    @asynccontextmanager
    async def _running(
        self, channel: Channel, inbox: _Inbox
    ) -> AsyncIterator[TaskGroup]:
        async def run() -> None:
            with suppress(StorageError):  # the gateway runs it again after a pause
                await channel.run(inbox)

        async with channel, anyio.create_task_group() as group:
            group.start_soon(run)
            with anyio.move_on_after(0.25):  # a busy channel never blocks
                await anyio.wait_all_tasks_blocked()
            yield group
            group.cancel_scope.cancel()

    async def _arrival(self, channel: Channel, inbox: _Inbox, group: TaskGroup) -> bool:
        async def deliver() -> None:
            with suppress(StorageError):  # out of a webhook: the server answers 503
                await self.deliver(channel)

        group.start_soon(deliver)
        with anyio.move_on_after(self.patience_seconds):
            await inbox.arrived.wait()
        return bool(inbox.messages)

    async def _eventually(self, fact: Callable[[], bool], seconds: float) -> bool:
        with anyio.move_on_after(seconds):
            while not fact():  # noqa: ASYNC110  # the platform has no event to offer
                await anyio.sleep(0.01)
        return fact()

    async def test_construction(self, channel: Channel) -> None:
        """If this fails, derive ``Config`` from `ChannelConfig`."""
        check_config(channel)
        assert issubclass(type(channel).Config, ChannelConfig)

    async def test_capabilities(self, channel: Channel) -> None:
        """If this fails, say in ``capabilities`` what the platform can do."""
        assert isinstance(channel.capabilities, Capabilities)
        assert channel.capabilities.text_limit > 0

    async def test_probe(self, channel: Channel) -> None:
        """If this fails, let ``probe`` open, close, and say what answered.

        The settings of your fixture lack nothing, and its platform answers.
        """
        await check_probe(channel, self.patience_seconds, self.prompt_seconds)

    async def test_enter_and_exit(self, channel: Channel) -> None:
        """If this fails, close in ``__aexit__`` what ``__aenter__`` opened."""
        with anyio.fail_after(self.patience_seconds):
            async with channel as entered:
                assert entered is channel, "`__aenter__` returns `self`"

    async def test_run_until_cancelled(self, channel: Channel) -> None:
        """If this fails, receive until cancelled, and let every await be cancelled."""
        ended = False

        async def run() -> None:
            nonlocal ended
            await channel.run(_Inbox())
            ended = True

        async with channel:
            seconds = await seconds_to_leave(run)
        assert not ended, "`run` returned; it must receive until it is cancelled"
        assert seconds < self.prompt_seconds, f"`run` stayed {seconds:.1f} s"

    async def test_accept(self, channel: Channel) -> None:
        """If this fails, hand over whole messages, and acknowledge afterwards.

        What was acknowledged before `Inbox.accept` returned is lost in a crash.
        """
        if not self._gives("deliver"):
            pytest.skip("override `deliver` to prove the way in")
        inbox, knows = _Inbox(), self._gives("acknowledged")
        early, late = False, True
        async with self._running(channel, inbox) as group:
            arrived = await self._arrival(channel, inbox, group)
            if arrived and knows:
                early = await self._eventually(lambda: self.acknowledged(channel), 0.1)
                inbox.release.set()
                late = await self._eventually(
                    lambda: self.acknowledged(channel), self.patience_seconds
                )
        assert arrived, "the message that was delivered did not reach the inbox"
        message = inbox.messages[0]
        assert isinstance(message, Inbound)
        for value in (message.message_id, message.sender.id, message.target.chat_id):
            assert isinstance(value, str), f"an id is not a text: {message}"
            assert value, f"an id is empty: {message}"
        assert not early, "acknowledged before `accept` returned"
        assert late, "not acknowledged after `accept` returned"

    async def test_storage_error(self, channel: Channel) -> None:
        """If this fails, do not acknowledge what `Inbox.accept` refused."""
        if not (self._gives("deliver") and self._gives("acknowledged")):
            pytest.skip("override `deliver` and `acknowledged` to prove the way in")
        inbox = _Inbox(StorageError("the disk is full; free some space"))
        inbox.release.set()
        acknowledged = False
        async with self._running(channel, inbox) as group:
            if arrived := await self._arrival(channel, inbox, group):
                acknowledged = await self._eventually(
                    lambda: self.acknowledged(channel), 0.1
                )
        assert arrived, "the message that was delivered did not reach the inbox"
        assert not acknowledged, "acknowledged what the inbox had refused"

    async def test_send(self, channel: Channel) -> None:
        """If this fails, return `Sent`; the core splits what is over the limit.

        With ``idempotent_send`` the same `Outbound` twice is one message.
        """
        limit = min(channel.capabilities.text_limit, 100_000)
        message = Outbound(text="hello", id="contract-1")
        receipts = []
        async with self._running(channel, _Inbox()):
            with anyio.move_on_after(self.patience_seconds):
                receipts.append(await channel.send(self.target, message))
                receipts.append(await channel.send(self.target, message))
                longest = Outbound(text="x" * limit, id="contract-2")
                receipts.append(await channel.send(self.target, longest))
        assert len(receipts) == 3, "a send took too long"
        assert all(isinstance(sent, Sent) for sent in receipts), receipts
        if channel.capabilities.idempotent_send:
            assert receipts[0] == receipts[1], "the repeated send arrived again"

    async def test_draft(self, channel: Channel) -> None:
        """If this fails, keep one draft, and let `send` take its place.

        The id that `draft` first returns stays; with an empty text a draft vanishes.
        Override `shown` as well to prove what the platform shows in the end.
        """
        if channel.capabilities.draft_seconds is None:
            pytest.skip("`capabilities.draft_seconds` is not set")
        assert channel.capabilities.draft_seconds >= 0
        drafts, target, receipts = list[str | None](), self.target, list[Sent]()
        async with self._running(channel, _Inbox()):
            with anyio.move_on_after(self.patience_seconds):
                for text in ("", "hello", "hello wor"):
                    last = drafts[-1] if drafts else None
                    drafts.append(await channel.draft(target, text, last, None))
                answer = Outbound(text="hello world", id="contract-3", draft=drafts[-1])
                receipts.append(await channel.send(target, answer))
                lone = await channel.draft(target, "never mind", None, None)
                if lone is not None:
                    await channel.draft(target, "", lone, None)
                receipts.append(await channel.send(target, Outbound(text="bye")))
            shown = self.shown(channel) if self._gives("shown") else None
        assert len(receipts) == 2, "a draft or a send took too long"
        assert all(isinstance(sent, Sent) for sent in receipts), receipts
        assert all(isinstance(d, str | None) and d != "" for d in drafts), drafts
        named = list(dict.fromkeys(filter(None, drafts)))
        assert len(named) <= 1, f"one answer got several drafts: {named}"
        assert shown is None or list(shown) == ["hello world", "bye"], shown

    async def test_routes(self, channel: Channel) -> None:
        """If this fails, return `Route` values with an ``async def`` handler."""
        async with channel:
            routes = list(channel.routes())
        for route in routes:
            assert isinstance(route, Route)
            assert route.method.isupper(), route.method
            assert route.path.startswith("/"), route.path
            assert route.max_body_bytes > 0
            assert inspect.iscoroutinefunction(route.handler), route.handler
        keys = [(route.method, route.path) for route in routes]
        assert len(set(keys)) == len(keys), f"a route is there twice: {keys}"
