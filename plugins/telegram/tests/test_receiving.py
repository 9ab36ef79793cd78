"""The way in: what is confirmed, what comes again, and what goes wrong."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from rustyclaw import Audio, Busy, ChannelError, File, Image, Inbound, StorageError
from rustyclaw_telegram import receiving
from rustyclaw_telegram.channel import TelegramChannel
from rustyclaw_telegram.config import TelegramConfig
from rustyclaw_telegram.store import Store
from rustyclaw_telegram.testing import TOKEN, Box, FakeTelegram, running, until

Make = Callable[..., TelegramChannel]
GROUP = {"id": -1001, "type": "supergroup", "title": "House"}


class Small(Box):
    """An inbox that takes one message, and then takes its time."""

    is_full = False

    async def accept(self, message: Inbound) -> bool:
        if self.messages:
            self.is_full = True
            await anyio.sleep_forever()
        return await super().accept(message)


async def test_messages_arrive_in_order_and_are_confirmed(
    make: Make, telegram: FakeTelegram
) -> None:
    for text in ("one", "two", "three"):
        telegram.say(text)
    box = Box()
    async with running(make(), box):
        await until(lambda: not telegram.waiting())

    assert box.texts == ["one", "two", "three"]
    (first, *_) = telegram.made("getUpdates")
    assert first.params["allowed_updates"] == ["message"]


@pytest.mark.parametrize(
    "error", [StorageError("the disk is full"), Busy("the gateway drains")]
)
async def test_what_was_not_accepted_comes_again(
    make: Make, telegram: FakeTelegram, error: Exception
) -> None:
    box = Box()
    box.error = error
    telegram.say("hello")
    async with running(make(), box):
        await until(lambda: not telegram.waiting())

    assert box.texts == ["hello"]


async def test_a_restart_loses_and_repeats_nothing(
    make: Make, telegram: FakeTelegram
) -> None:
    telegram.say("one")
    telegram.say("two")
    first, second = Small(), Box()
    async with running(make(), first):
        await until(lambda: first.is_full)  # stopped while "two" is not accepted yet
    assert first.texts == ["one"]
    async with running(make(), second):
        await until(lambda: not telegram.waiting())
    assert second.texts == ["two"]


async def test_after_a_week_of_silence_the_numbers_begin_anew(
    make: Make, telegram: FakeTelegram, tmp_path: Path
) -> None:
    bot = TOKEN.partition(":")[0]
    store = Store(clock=lambda: time.time() - 7 * 86_400)
    await store.open(tmp_path / "channels" / "telegram" / "telegram.db")
    await store.keep_offset(bot, 9_000_000)
    await store.close()
    telegram.renumber(100)
    telegram.say("I am back")
    box = Box()
    async with running(make(), box):
        await until(lambda: not telegram.waiting())
    assert box.texts == ["I am back"]


async def test_an_update_that_cannot_be_read_blocks_nothing(
    make: Make, telegram: FakeTelegram
) -> None:
    telegram.push({"message": {"message_id": "no"}})
    telegram.say("hello")
    box = Box()
    async with running(make(), box):
        await until(lambda: not telegram.waiting())
    assert box.texts == ["hello"]


async def test_updates_without_ids_are_not_asked_for_without_a_pause(
    make: Make, telegram: FakeTelegram, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[object] = []

    def pause(self: object) -> float:
        pauses.append(self)
        return 0.01

    monkeypatch.setattr(receiving.Backoff, "pause", pause)
    telegram.push({"message": {}, "update_id": None})
    channel = make()
    async with running(channel, Box()):
        await until(lambda: len(pauses) > 2)
        assert "no update has an id" in channel.status()["default"]["error"]


# --- Trouble --------------------------------------------------------------------------


async def test_a_stalled_poll_is_begun_anew(
    make: Make, telegram: FakeTelegram, monkeypatch: pytest.MonkeyPatch
) -> None:
    longest = TelegramConfig.model_fields["poll_seconds"].metadata[-1].le
    assert longest + receiving.GRACE_SECONDS < 120
    monkeypatch.setattr(receiving, "GRACE_SECONDS", 0.1)
    telegram.trouble("getUpdates", "hang")
    telegram.trouble("getUpdates", "slow")
    telegram.say("hello")
    box, channel = Box(), make()
    before = time.time()
    async with running(channel, box):
        await until(lambda: "no answer" in str(channel.status()["default"]))
        assert "last_poll" not in channel.status()["default"]
        await until(lambda: box.messages)
        await until(lambda: channel.status()["default"].get("last_poll", 0) >= before)
        assert channel.status()["default"]["state"] == "polling"
        assert channel.status()["default"]["bot"] == "@claw_bot"


async def test_what_passes_is_waited_out(make: Make, telegram: FakeTelegram) -> None:
    telegram.refuse("getMe", 502, "Bad Gateway")
    telegram.trouble("getMe", "reset")
    telegram.trouble("getUpdates", "garbage")
    telegram.trouble("getUpdates", "reset")
    telegram.trouble("getUpdates", "reset-after")
    telegram.refuse("getUpdates", 500, "Internal Server Error")
    telegram.refuse(
        "getUpdates", 429, "Too Many Requests: retry after 0", retry_after=0
    )
    telegram.say("hello")
    box, channel = Box(), make()
    async with running(channel, box):
        await until(lambda: not telegram.waiting())
        assert channel.status()["default"].get("error") is None
    assert box.texts == ["hello"]


async def test_retry_after_is_honoured(
    make: Make, telegram: FakeTelegram, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    sleep = anyio.sleep

    async def noted(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    monkeypatch.setattr(receiving.anyio, "sleep", noted)
    telegram.refuse("getUpdates", 429, "Too Many Requests", retry_after=17)
    async with running(make(), Box()):
        while 17 not in slept:
            await sleep(0.005)


async def test_another_poller(make: Make, telegram: FakeTelegram) -> None:
    text = "Conflict: terminated by other getUpdates request"
    telegram.refuse("getUpdates", 409, text, times=3)
    telegram.say("hello")
    states: set[str] = set()
    box, channel = Box(), make()
    async with running(channel, box):

        def arrived() -> bool:
            status = channel.status()["default"]
            states.add(f"{status['state']} {status.get('error', '')}")
            return bool(box.messages)

        await until(arrived)
    assert any("conflict" in s and "somebody else polls" in s for s in states)


async def test_a_webhook_that_is_in_the_way_is_removed(
    make: Make, telegram: FakeTelegram
) -> None:
    telegram.set_webhook(url="https://old.example/hook")
    telegram.say("hello")
    box = Box()
    async with running(make(), box):
        await until(lambda: box.messages)
    (call,) = telegram.made("deleteWebhook")
    assert call.params == {"drop_pending_updates": False}


async def test_a_token_that_is_not_valid_stops_with_a_clear_error(
    make: Make, telegram: FakeTelegram
) -> None:
    telegram.revoke()
    channel = make()
    async with channel:
        with anyio.fail_after(10), pytest.raises(ChannelError) as failure:
            await channel.run(Box())
    assert "ask BotFather for a new one" in str(failure.value)
    assert TOKEN not in str(failure.value)
    assert channel.status()["default"]["state"] == "stopped"


async def test_one_bad_token_does_not_stop_the_other_account(
    make: Make, telegram: FakeTelegram
) -> None:
    second = "777:another-Token_of-a-bot"
    telegram.add_bot(second, "other_bot")
    telegram.revoke()
    telegram.say("hello", token=second)
    box, channel = Box(), make(accounts={"work": {"token": second}})
    async with running(channel, box):
        await until(lambda: box.messages)
        await until(lambda: channel.status()["default"]["state"] == "stopped")
        assert channel.status()["work"]["state"] == "polling"
    assert box.messages[0].target.account_id == "work"
    assert box.messages[0].source.startswith("telegram:work:")


async def test_no_log_line_shows_the_token(
    make: Make, telegram: FakeTelegram, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    telegram.trouble("getMe", "reset")
    telegram.trouble("getUpdates", "garbage")
    telegram.say("hello")
    box = Box()
    async with running(make(), box):
        await until(lambda: box.messages)
    assert caplog.records
    for record in caplog.records:
        assert TOKEN.partition(":")[2] not in record.getMessage()


async def test_a_proxy_is_used(make: Make, telegram: FakeTelegram) -> None:
    telegram.say("hello")
    box = Box()
    channel = make(base_url="http://api.invalid", proxy=telegram.url)
    async with running(channel, box):
        await until(lambda: not telegram.waiting())
    assert box.texts == ["hello"]


async def test_a_user_name_that_allows_nobody_is_said(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    channel = make(allow_from=["55", "*", "@owner"], group_allow_from=["-1001"])
    async with running(channel, Box()):
        await until(lambda: caplog.records)
    assert caplog.messages == [
        "allow_from: '@owner' allows nobody; write the number that is the id"
    ]


# --- Files ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"photo": [{"file_id": "f", "file_size": 4}]},
            Image(data=b"\xff\xd8\xff\xe0", media_type="image/jpeg"),
        ),
        (
            {"voice": {"file_id": "f", "mime_type": "audio/ogg"}},
            Audio(data=b"\xff\xd8\xff\xe0", media_type="audio/ogg"),
        ),
        (
            {"document": {"file_id": "f", "mime_type": "image/png"}},
            Image(data=b"\xff\xd8\xff\xe0", media_type="image/png"),
        ),
        (
            {"document": {"file_id": "f", "file_name": "../a.pdf"}},
            File(
                data=b"\xff\xd8\xff\xe0",
                media_type="application/octet-stream",
                name="../a.pdf",
            ),
        ),
    ],
)
async def test_a_file_is_fetched(
    make: Make, telegram: FakeTelegram, fields: dict[str, Any], expected: Any
) -> None:
    telegram.files["f"] = ("photos/file 1.jpg", b"\xff\xd8\xff\xe0")
    telegram.say(caption="look", **fields)
    box = Box()
    async with running(make(), box):
        await until(lambda: box.messages)
    assert box.messages[0].media == (expected,)
    assert box.texts == ["look"]


def picture(telegram: FakeTelegram, number: int, **fields: Any) -> None:
    telegram.files[f"f{number}"] = (f"{number}.jpg", b"%d" % number)
    photo = [{"file_id": f"f{number}"}]
    telegram.say(media_group_id="7", photo=photo, **fields)


def pictures(box: Box) -> list[bytes]:
    return [b"".join(item.data for item in message.media) for message in box.messages]


async def test_an_album_is_one_message(make: Make, telegram: FakeTelegram) -> None:
    telegram.say("before")
    picture(telegram, 1, caption="two")
    box = Box()
    async with running(make(), box):
        await until(lambda: telegram.made("getUpdates"))
        picture(telegram, 2)
        telegram.say("after")
        await until(lambda: not telegram.waiting())
    assert box.texts == ["before", "two", "after"]
    assert pictures(box) == [b"", b"12", b""]


async def test_a_picture_that_comes_after_a_crash_is_not_lost(
    make: Make, telegram: FakeTelegram
) -> None:
    picture(telegram, 1)
    picture(telegram, 2)
    box = Box()
    box.then = anyio.sleep_forever  # accepted, and killed before that was noted
    async with running(make(), box):
        await until(lambda: box.messages)
    picture(telegram, 3)
    again = Box()
    async with running(make(), again):
        await until(lambda: not telegram.waiting())
    assert pictures(box) == [b"12"]
    assert pictures(again) == [b"12", b"3"]  # the inbox knows the first one
    assert again.messages[0].source == box.messages[0].source


@pytest.mark.parametrize(
    ("size", "path", "note"),
    [
        (4, "a.jpg", "over 3 bytes"),  # as the message says
        (0, "a.jpg", "could not be fetched"),  # the message lied
        (1, "../../etc/passwd", "could not be fetched"),
        (1, "/var/lib/a.jpg", "could not be fetched"),
        (1, None, "could not be fetched"),
    ],
)
async def test_a_file_that_is_not_to_be_had_is_named(
    make: Make, telegram: FakeTelegram, size: int, path: str | None, note: str
) -> None:
    if path is not None:
        telegram.files["f"] = (path, b"1234")
    telegram.say(caption="look", photo=[{"file_id": "f", "file_size": size}])
    box = Box()
    async with running(make(max_media_bytes=3), box):
        await until(lambda: not telegram.waiting())
    assert box.messages[0].media == ()
    assert box.texts[0].startswith("look\n(a photo is missing here: ")
    assert note in box.texts[0]


@pytest.mark.parametrize(
    ("settings", "chat", "fetched"),
    [
        ({"group_policy": "open", "require_mention": False}, GROUP, True),
        ({"group_policy": "open"}, GROUP, False),
        ({"require_mention": False}, GROUP, False),
        ({"dm_policy": "disabled"}, None, False),
        ({"dm_policy": "open"}, None, False),
        ({"dm_policy": "open", "allow_from": ["*"]}, None, True),
        ({}, None, True),  # who was paired is not known here
    ],
)
async def test_no_file_is_fetched_for_who_is_not_served(
    make: Make,
    telegram: FakeTelegram,
    settings: dict[str, Any],
    chat: dict[str, Any] | None,
    fetched: bool,
) -> None:
    telegram.files["f"] = ("a.jpg", b"1")
    telegram.say(chat=chat, photo=[{"file_id": "f"}])
    box = Box()
    async with running(make(**settings), box):
        await until(lambda: box.messages)
    assert bool(telegram.made("getFile")) == fetched
    assert bool(box.messages[0].media) == fetched
