"""Channels that stop and start while the gateway runs, and messages of our own."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from rustyclaw import Busy, Capabilities, ChannelError, Inbox, Outbound, Sent, Target
from rustyclaw.testing import Bot, FakeChannel

ALICE = Target(channel="fake", chat_id="alice")


class Watched(FakeChannel):
    """Counts how often it is entered, and is slow to leave."""

    capabilities = Capabilities(text_limit=4096)  # what is sent twice arrives twice

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.entered = 0, 0
        self.leaving: Callable[[], Awaitable[None]] = checkpoint

    async def __aenter__(self) -> Any:
        self.inside += 1
        self.entered += 1
        assert self.inside == 1, "it is entered while it still leaves"
        return await super().__aenter__()

    async def __aexit__(self, *exc_info: object) -> None:
        await self.leaving()
        self.inside -= 1
        await super().__aexit__(*exc_info)


async def state(bot: Bot, wanted: str) -> None:
    with anyio.fail_after(5):
        while bot.gateway.channels["fake"].state != wanted:
            await checkpoint()


async def test_a_channel_stops_and_starts(tmp_path: Path) -> None:
    channel, before = Watched(), time.time()
    async with Bot(tmp_path, channel=channel) as bot:
        await state(bot, "connected")
        status, delivery = bot.gateway.channels["fake"], bot.gateway.deliveries["fake"]
        await bot.channel.deliver("one")
        assert await bot.reply() == "one"
        since = status.since
        assert since is not None
        assert status.last_sent is not None
        assert before <= since <= status.last_sent <= time.time()

        await delivery.stop()
        assert (status.state, channel.inside) == ("stopped", 0)
        await delivery.stop()  # once more changes nothing
        await bot.channel.deliver("two")  # nobody is there to hear it
        await anyio.wait_all_tasks_blocked()
        assert channel.pending

        delivery.start()
        delivery.start()
        assert await bot.reply() == "two"
        assert (status.state, channel.entered) == ("connected", 2)
        assert status.since is not None
        assert status.since >= since
    assert status.state == "stopped"


async def test_it_is_started_again_only_when_it_has_left(tmp_path: Path) -> None:
    channel, may_leave = Watched(), anyio.Event()
    channel.leaving = may_leave.wait
    async with Bot(tmp_path, channel=channel) as bot:
        await state(bot, "connected")
        delivery = bot.gateway.deliveries["fake"]
        async with anyio.create_task_group() as group:
            group.start_soon(delivery.stop)
            await anyio.wait_all_tasks_blocked()
            delivery.start()  # it is still there
            assert channel.inside == 1
            may_leave.set()
        await delivery.stop()
        delivery.start()
        await state(bot, "connected")
        assert channel.entered == 2


async def test_a_channel_that_breaks_as_it_leaves_is_stopped(tmp_path: Path) -> None:
    async def break_it() -> None:
        raise ZeroDivisionError("oh")

    channel = Watched()
    channel.leaving = break_it
    async with Bot(tmp_path, channel=channel) as bot:
        await state(bot, "connected")
        await bot.gateway.deliveries["fake"].stop()
        status = bot.gateway.channels["fake"]
        assert (status.state, status.error) == ("stopped", "")


async def test_a_send_in_progress_ends_and_the_rest_waits(tmp_path: Path) -> None:
    class Slow(Watched):
        def __init__(self) -> None:
            super().__init__()
            self.sending, self.go_on = anyio.Event(), anyio.Event()

        async def send(self, target: Target, message: Outbound) -> Sent:
            self.sending.set()
            await self.go_on.wait()
            return await super().send(target, message)

    channel = Slow()
    async with Bot(tmp_path, channel=channel) as bot:
        await state(bot, "connected")
        gateway, delivery = bot.gateway, bot.gateway.deliveries["fake"]
        await gateway.post(ALICE, Outbound(text="one"), "main")
        await channel.sending.wait()
        await gateway.post(ALICE, Outbound(text="two"), "main")
        async with anyio.create_task_group() as group:
            group.start_soon(delivery.stop)
            await anyio.wait_all_tasks_blocked()
            assert channel.inside == 1
            channel.go_on.set()
        assert [p.text for p in channel.posted] == ["one"]
        delivery.start()
        assert [await bot.reply(), await bot.reply()] == ["one", "two"]
        assert await gateway.state.journal.troubles() == []


async def test_a_failed_channel_need_not_wait_to_be_tried(tmp_path: Path) -> None:
    class Broken(Watched):
        works = False

        async def run(self, inbox: Inbox) -> None:
            if not self.works:
                raise ChannelError("the token is wrong")
            await super().run(inbox)

    channel = Broken()
    async with Bot(tmp_path, channel=channel) as bot:
        await state(bot, "failed")
        assert bot.gateway.channels["fake"].error == "the token is wrong"
        channel.works = True
        with anyio.fail_after(0.9):  # the first pause is a second
            bot.gateway.deliveries["fake"].start()
            await state(bot, "connected")
        assert bot.gateway.channels["fake"].error == ""


async def test_a_failed_channel_can_be_stopped(tmp_path: Path) -> None:
    class Broken(Watched):
        async def run(self, inbox: Inbox) -> None:
            raise ChannelError("the token is wrong")

    async with Bot(tmp_path, channel=Broken()) as bot:
        await state(bot, "failed")
        await bot.gateway.deliveries["fake"].stop()
        assert bot.gateway.channels["fake"].state == "stopped"


async def test_a_webhook_of_a_stopped_channel_is_not_accepted(tmp_path: Path) -> None:
    async with Bot(tmp_path) as bot:
        await state(bot, "connected")
        message = await bot.channel.deliver("hi")
        await bot.reply()
        await bot.gateway.deliveries["fake"].stop()
        with pytest.raises(Busy, match="channel 'fake' is stopped"):
            await bot.gateway.accept(message)


async def test_a_gateway_with_a_stopped_channel_drains(tmp_path: Path) -> None:
    async with Bot(tmp_path) as bot:
        await state(bot, "connected")
        await bot.gateway.deliveries["fake"].stop()
        await bot.gateway.post(ALICE, Outbound(text="later", id="x"), "main")
    async with Bot(tmp_path) as bot:
        assert await bot.reply() == "later"


async def test_a_status_of_its_own_is_empty_by_default() -> None:
    assert FakeChannel().status() == {}


# --- Messages that answer none ------------------------------------------------------


async def test_messages_without_an_id_are_all_sent(tmp_path: Path) -> None:
    async with Bot(tmp_path) as bot:
        for text in ("one", "two", "three"):
            await bot.gateway.post(ALICE, Outbound(text=text), "main")
        assert [await bot.reply() for _ in range(3)] == ["one", "two", "three"]


async def test_a_message_with_a_known_id_is_sent_once(tmp_path: Path) -> None:
    sent: list[str] = []
    for _ in range(2):
        async with Bot(tmp_path) as bot:
            for _ in range(2):
                await bot.gateway.post(ALICE, Outbound(text="one", id="job:1"), "main")
            await bot.gateway.post(ALICE, Outbound(text="end"), "main")
            while (text := await bot.reply()) != "end":
                sent.append(text)
    assert sent == ["one"]


async def test_a_message_to_nowhere_is_refused(tmp_path: Path) -> None:
    async with Bot(tmp_path) as bot:
        gone = Target(channel="gone", chat_id="1")
        with pytest.raises(ChannelError, match="no channel 'gone' is open") as refused:
            await bot.gateway.post(gone, Outbound(text="hi"), "main")
        assert refused.value.permanent


# --- Stopping the gateway ----------------------------------------------------------


@pytest.mark.parametrize(
    ("wishes", "reason"),
    [
        (["restart"], "restart"),
        (["restart", "again"], "restart"),
        (["restart", "signal"], "signal"),
        (["signal", "restart"], "signal"),
    ],
)
async def test_the_first_wish_to_stop_counts_but_a_signal_outdoes_it(
    tmp_path: Path, wishes: list[str], reason: str
) -> None:
    async with Bot(tmp_path) as bot:
        assert bot.gateway.stop_reason == ""
        for wish in wishes:
            bot.gateway.request_stop(wish)
        assert not bot.gateway.draining
        assert await bot.gateway.stop_requested() == reason
        await bot.gateway.stop("closed")
        assert (bot.gateway.stop_reason, bot.gateway.draining) == (reason, True)
