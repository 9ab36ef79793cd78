"""The way out: drafts, answers that arrive once, files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from rustyclaw import Audio, ChannelError, File, Image, Outbound, StorageError, Target
from rustyclaw_telegram.channel import TelegramChannel
from rustyclaw_telegram.testing import FakeTelegram

Make = Callable[..., TelegramChannel]
AL = Target(channel="telegram", chat_id="55")
TOPIC = Target(channel="telegram", chat_id="-5", chat_type="group", thread_id="4")


def out(text: str = "", **fields: Any) -> Outbound:
    return Outbound(text=text, id="r1", **fields)


async def test_an_answer_is_a_placeholder_that_is_edited(
    make: Make, telegram: FakeTelegram
) -> None:
    async with make() as channel:
        sent = await channel.send(AL, out("**hello**"))

    ((key, message),) = telegram.messages.items()
    assert key == (55, int(sent.message_id or 0))
    assert message.history == ["…", "hello"]
    (edit,) = telegram.made("editMessageText")
    assert edit.params["text"] == "<b>hello</b>"
    assert edit.params["parse_mode"] == "HTML"
    assert edit.params["link_preview_options"] == {"is_disabled": True}


async def test_a_repeated_send_changes_nothing(
    make: Make, telegram: FakeTelegram
) -> None:
    async with make() as channel:
        first = await channel.send(AL, out("hello"))
    async with make() as channel:  # after a restart
        again = await channel.send(AL, out("hello"))

    assert first == again
    assert telegram.shown(55) == ["hello"]


@pytest.mark.parametrize("where", ["reset", "reset-after"])
@pytest.mark.parametrize("method", ["sendMessage", "editMessageText"])
async def test_a_lost_receipt_leaves_at_most_a_placeholder(
    make: Make, telegram: FakeTelegram, method: str, where: Any
) -> None:
    telegram.trouble(method, where)
    async with make() as channel:
        await channel.send(AL, out("hello"))

    texts = telegram.shown(55)
    assert texts.count("hello") == 1
    lost = (method, where) == ("sendMessage", "reset-after")
    assert texts.count("…") == int(lost)


async def test_a_long_answer_goes_on_where_it_was_interrupted(
    make: Make, telegram: FakeTelegram
) -> None:
    text = "\n\n".join(f"{n} " + "word " * 700 for n in range(3))
    async with make() as channel:
        placed = await channel.draft(AL, "0 word", None, None)
        telegram.blocked.add(55)
        with pytest.raises(ChannelError):
            await channel.send(AL, out(text, draft=placed))
        telegram.blocked.clear()
        await channel.send(AL, out(text, draft=placed))
        await channel.send(AL, out(text, draft=placed))

    shown = telegram.shown(55)
    assert [text[0] for text in shown] == ["0", "1", "2"]
    assert telegram.messages[55, int(placed or 0)].text == shown[0]


async def test_marks_that_telegram_cannot_read_are_shown_plainly(
    make: Make, telegram: FakeTelegram
) -> None:
    text = "Bad Request: can't parse entities: Unsupported start tag"
    telegram.refuse("editMessageText", 400, text)
    async with make() as channel:
        await channel.send(AL, out("**hello** <b>"))

    assert telegram.shown(55) == ["hello <b>"]
    assert "parse_mode" not in telegram.made("editMessageText")[1].params


async def test_retry_after_is_waited_out(
    make: Make, telegram: FakeTelegram, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    sleep = anyio.sleep

    async def noted(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    monkeypatch.setattr("rustyclaw_telegram.sending.anyio.sleep", noted)
    for method in ("sendMessage", "editMessageText"):
        telegram.refuse(method, 429, "Too Many Requests: retry after 7", retry_after=7)
    async with make() as channel:
        await channel.send(AL, out("hello"))

    assert slept.count(7) == 2
    assert telegram.shown(55) == ["hello"]


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (403, "Forbidden: bot was blocked by the user"),
        (400, "Bad Request: chat not found"),
        (401, "Unauthorized"),
    ],
)
async def test_a_refusal_is_permanent(
    make: Make, telegram: FakeTelegram, status: int, text: str
) -> None:
    telegram.refuse("sendMessage", status, text)
    async with make() as channel:
        with pytest.raises(ChannelError, match=text) as failure:
            await channel.send(AL, out("hello"))
    assert failure.value.permanent


async def test_an_account_that_is_not_there(make: Make) -> None:
    async with make() as channel:
        with pytest.raises(ChannelError, match="no account 'gone'"):
            await channel.send(
                Target(channel="telegram", chat_id="5", account_id="gone"), out("x")
            )


async def test_a_group_that_moved_is_followed(
    make: Make, telegram: FakeTelegram
) -> None:
    group = Target(channel="telegram", chat_id="-5", chat_type="group")
    text = "Bad Request: group chat was upgraded to a supergroup chat"
    telegram.refuse("sendMessage", 400, text, migrate_to_chat_id=-1005)
    async with make() as channel:
        await channel.send(group, out("one"))
    async with make() as channel:
        await channel.send(group, Outbound(text="two", id="r2"))

    assert telegram.shown(-1005) == ["one", "two"]
    assert len(telegram.made("sendMessage")) == 3


async def test_topic_and_quote(make: Make, telegram: FakeTelegram) -> None:
    async with make() as channel:
        await channel.send(TOPIC, out("hi", reply_to="-5:9", silent=True))
        await channel.send(AL, Outbound(text="hi", id="r2", reply_to="55:9"))

    group, private = telegram.made("sendMessage")
    assert group.params["message_thread_id"] == 4
    assert group.params["disable_notification"] is True
    assert group.params["reply_parameters"] == {
        "message_id": 9,
        "allow_sending_without_reply": True,
    }
    assert "reply_parameters" not in private.params


# --- Drafts ---------------------------------------------------------------------------


async def test_a_draft_grows_and_becomes_the_answer(
    make: Make, telegram: FakeTelegram
) -> None:
    async with make() as channel:
        assert await channel.draft(AL, "", None, "55:9") is None
        placed = await channel.draft(AL, "Here", None, "55:9")
        assert await channel.draft(AL, "Here is", placed, "55:9") == placed
        assert await channel.draft(AL, "Here is", placed, "55:9") == placed
        assert await channel.draft(AL, "Here is `a", placed, "55:9") == placed
        await channel.send(AL, out("Here is `a`.", draft=placed))

    ((_, message),) = telegram.messages.items()
    assert message.history == ["…", "Here is", "Here is `a", "Here is a."]
    (action,) = telegram.made("sendChatAction")
    assert action.params == {"chat_id": "55", "action": "typing"}


async def test_a_long_draft_shows_its_beginning(
    make: Make, telegram: FakeTelegram
) -> None:
    async with make() as channel:
        placed = await channel.draft(AL, "x", None, None)
        await channel.draft(AL, "word " * 3000, placed, None)

    (text,) = telegram.shown(55)
    assert 4000 < len(text) <= 4096


async def test_a_draft_that_is_gone_is_sent_anew(
    make: Make, telegram: FakeTelegram
) -> None:
    async with make() as channel:
        placed = await channel.draft(AL, "x", None, None)
        telegram.delete(55, int(placed or 0))
        await channel.send(AL, out("hello", draft=placed))
        await channel.send(AL, out("hello", draft=placed))

    assert telegram.shown(55) == ["hello"]


async def test_a_draft_without_an_answer_vanishes(
    make: Make, telegram: FakeTelegram
) -> None:
    async with make() as channel:
        placed = await channel.draft(AL, "x", None, None)
        for _ in range(2):  # a repeated wish does no harm
            assert await channel.draft(AL, "", placed, None) is None

    assert telegram.shown(55) == []


async def test_too_many_drafts_are_a_pause_and_no_error(
    make: Make, telegram: FakeTelegram
) -> None:
    async with make() as channel:
        placed = await channel.draft(AL, "x", None, None)
        telegram.refuse("editMessageText", 429, "Too Many Requests", retry_after=30)
        assert await channel.draft(AL, "xy", placed, None) == placed
        assert await channel.draft(AL, "xyz", placed, None) == placed

        assert len(telegram.made("editMessageText")) == 1
        assert telegram.shown(55) == ["…"]
        await channel.draft(AL, "", placed, None)  # it vanishes all the same

    assert telegram.shown(55) == []


async def test_no_draft_before_the_channel_is_open(make: Make) -> None:
    assert await make().draft(AL, "x", "7", None) == "7"


async def test_a_sign_of_work_that_fails_is_no_harm(
    make: Make, telegram: FakeTelegram
) -> None:
    telegram.refuse("sendChatAction", 400, "Bad Request: chat not found")
    async with make() as channel:
        assert await channel.draft(AL, "", None, None) is None


# --- Files ----------------------------------------------------------------------------

PHOTO = Image(data=b"jpeg", media_type="image/jpeg")
NASTY = File(data=b"pdf", media_type="application/pdf", name='../../a"\r\nb.pdf')


@pytest.mark.parametrize(
    ("media", "kinds"),
    [
        ([PHOTO], ["photo"]),
        ([PHOTO, PHOTO], ["photo", "photo"]),
        ([PHOTO] * 11, ["photo"] * 11),
        ([Image(data=b"gif", media_type="image/gif")], ["document"]),
        ([Image(data=b"x" * 10_000_001, media_type="image/png")], ["document"]),
        ([Audio(data=b"ogg", media_type="audio/ogg")], ["voice"]),
        ([Audio(data=b"mp3", media_type="audio/mpeg")], ["audio"]),
        ([NASTY, PHOTO], ["photo", "document"]),
    ],
)
async def test_files_are_sent_once(
    make: Make, telegram: FakeTelegram, media: list[Any], kinds: list[str]
) -> None:
    message = out(media=tuple(media))
    async with make() as channel:
        await channel.send(AL, message)
        await channel.send(AL, message)

    assert [shown.kind for shown in telegram.messages.values()] == kinds


async def test_a_name_is_only_a_name(make: Make, telegram: FakeTelegram) -> None:
    async with make() as channel:
        await channel.send(AL, out("see", media=(NASTY,)))

    (call,) = telegram.made("sendDocument")
    assert call.files["document"] == ("a_b.pdf", b"pdf", "application/pdf")
    assert telegram.shown(55) == ["see", ""]


@pytest.mark.parametrize("where", ["reset", "reset-after", "garbage"])
async def test_files_whose_outcome_is_unknown_are_not_repeated(
    make: Make, telegram: FakeTelegram, where: Any
) -> None:
    telegram.trouble("sendPhoto", where)
    async with make() as channel:
        for _ in range(2):
            with pytest.raises(ChannelError, match="may or may not") as failure:
                await channel.send(AL, out(media=(PHOTO,)))
            assert failure.value.permanent

    assert len(telegram.made("sendPhoto")) == 1


async def test_files_that_were_refused_are_sent_again(
    make: Make, telegram: FakeTelegram
) -> None:
    telegram.refuse("sendPhoto", 429, "Too Many Requests", retry_after=0)
    telegram.refuse("sendPhoto", 400, "Bad Request: PHOTO_INVALID_DIMENSIONS")
    async with make() as channel:
        with pytest.raises(ChannelError, match="PHOTO_INVALID"):
            await channel.send(AL, out(media=(PHOTO,)))
        await channel.send(AL, out(media=(PHOTO,)))

    assert [shown.kind for shown in telegram.messages.values()] == ["photo"]


async def test_a_file_that_cannot_be_opened(make: Make, tmp_path: Path) -> None:
    (tmp_path / "channels").write_text("in the way")
    with pytest.raises(StorageError, match="cannot use"):
        async with make():
            pass
