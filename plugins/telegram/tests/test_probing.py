"""Bots are asked who they are while another process polls with the same token."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from rustyclaw import ChannelError
from rustyclaw_telegram import probing
from rustyclaw_telegram.channel import TelegramChannel
from rustyclaw_telegram.testing import TOKEN, FakeTelegram

Make = Callable[..., TelegramChannel]
WORK = "777:another-Token"


async def failure(channel: TelegramChannel) -> ChannelError:
    with pytest.raises(ChannelError) as failed:
        await channel.probe()
    assert TOKEN not in str(failed.value)
    return failed.value


async def test_says_who_the_bot_is_and_leaves_no_trace(
    make: Make, telegram: FakeTelegram, tmp_path: Path
) -> None:
    telegram.say("hello")

    assert await make().probe() == "@claw_bot"

    assert {call.method for call in telegram.calls} == {"getMe", "getWebhookInfo"}
    assert telegram.waiting()
    assert not [*tmp_path.rglob("telegram.db")]


async def test_several_bots(make: Make, telegram: FakeTelegram) -> None:
    telegram.add_bot(WORK, "work_bot")
    channel = make(accounts={"work": {"token": WORK}})

    said = await channel.probe()

    assert said == "account 'default': @claw_bot; account 'work': @work_bot"
    telegram.revoke(WORK)
    error = await failure(channel)
    assert str(error).startswith("account 'work': telegram, getMe (401)")


@pytest.mark.parametrize("webhook", [False, True])
async def test_a_webhook_in_the_way(
    webhook: bool, make: Make, telegram: FakeTelegram
) -> None:
    telegram.set_webhook(url="https://elsewhere.example")
    ours = {"webhook_url": "https://x.example", "webhook_secret": "s" * 16}

    said = await make(**(ours if webhook else {})).probe()

    assert ("with a webhook of somebody else" in said) == (not webhook)


async def test_wrong_token(make: Make, telegram: FakeTelegram) -> None:
    telegram.revoke()

    error = await failure(make())

    assert error.permanent
    assert "the token is not valid (any more): ask BotFather" in str(error)


async def test_unreachable(make: Make) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"

        error = await failure(make(base_url=url))

    assert not error.permanent
    assert f"at {url}; check the network" in str(error)


async def test_silence(
    make: Make, telegram: FakeTelegram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "_SECONDS", 0.2)
    telegram.trouble("getMe", "hang")

    with anyio.fail_after(5):
        error = await failure(make())

    assert f"no answer within 0.2 s at {telegram.url}" in str(error)
