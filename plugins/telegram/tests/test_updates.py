"""What an update says to us."""

from __future__ import annotations

from typing import Any

import pytest
from rustyclaw_telegram.updates import Arrival, Me, Moved, read, update_id

ME = Me(id=123456, username="claw_bot")
AL = {"id": 55, "is_bot": False, "first_name": "Al", "last_name": "B", "username": "al"}
PRIVATE = {"id": 55, "type": "private"}
GROUP = {"id": -1001, "type": "supergroup", "title": "House"}


def message(**fields: Any) -> dict[str, Any]:
    base = {"message_id": 9, "date": 1_780_000_000, "chat": PRIVATE, "from": AL}
    return {"update_id": 7001, "message": {**base, **fields}}


def arrival(**fields: Any) -> Arrival:
    found = read(message(**fields), ME, "default")
    assert isinstance(found, Arrival)
    return found


def test_a_private_message() -> None:
    found = arrival(text="hello").inbound

    assert found.message_id == "55:9"
    assert found.source == "telegram:default:55:9"
    assert (found.sender.id, found.sender.name) == ("55", "Al B")
    assert (found.target.chat_id, found.target.chat_type) == ("55", "dm")
    assert (found.text, found.timestamp) == ("hello", 1_780_000_000.0)


def test_the_same_number_in_two_chats_is_two_messages() -> None:
    assert arrival(text="a").inbound.source != (
        arrival(text="a", chat={"id": 66, "type": "private"}).inbound.source
    )


def mention(text: str, name: str = "@claw_bot") -> dict[str, Any]:
    before = text[: text.index(name)]
    offset = len(before.encode("utf-16-le")) // 2
    return {"type": "mention", "offset": offset, "length": len(name)}


def command(length: int) -> dict[str, Any]:
    return {"type": "bot_command", "offset": 0, "length": length}


MENTIONS: list[tuple[dict[str, Any], str, bool]] = [
    ({"text": "hello"}, "hello", False),
    ({"text": "@claw_bot hi", "entities": [mention("@claw_bot hi")]}, "hi", True),
    ({"text": "hi @claw_bot", "entities": [mention("hi @claw_bot")]}, "hi", True),
    (
        {"text": "😀 @claw_bot is", "entities": [mention("😀 @claw_bot is")]},
        "😀 @claw_bot is",
        True,
    ),
    (
        {"text": "@Claw_Bot hi", "entities": [mention("@Claw_Bot hi", "@Claw_Bot")]},
        "hi",
        True,
    ),
    ({"text": "@claw_bot hi"}, "@claw_bot hi", False),  # Telegram saw no mention
    (
        {"text": "@claw_bots", "entities": [mention("@claw_bots", "@claw_bots")]},
        "@claw_bots",
        False,
    ),
    ({"text": "/new@claw_bot", "entities": [command(13)]}, "/new", True),
    ({"text": "/new@other_bot", "entities": [command(14)]}, "/new@other_bot", False),
    ({"text": "/new", "entities": [command(4)]}, "/new", False),
    (
        {
            "text": "Claw, hi",
            "entities": [
                {"type": "text_mention", "offset": 0, "length": 4, "user": {"id": 1}},
                {
                    **{"type": "text_mention", "offset": 0, "length": 4},
                    "user": {"id": 123456, "is_bot": True},
                },
            ],
        },
        "Claw, hi",
        True,
    ),
    (
        {"text": "and?", "reply_to_message": {"message_id": 8, "from": {"id": 123456}}},
        "and?",
        True,
    ),
    (
        {"text": "and?", "reply_to_message": {"message_id": 8, "from": {"id": 77}}},
        "and?",
        False,
    ),
    (
        {
            **{"caption": "look @claw_bot", "photo": [{"file_id": "p"}]},
            "caption_entities": [mention("look @claw_bot")],
        },
        "look",
        True,
    ),
    ({"text": "x", "entities": [command(999)]}, "x", False),
]


@pytest.mark.parametrize(("fields", "text", "mentioned"), MENTIONS)
def test_mentions(fields: dict[str, Any], text: str, mentioned: bool) -> None:
    found = arrival(chat=GROUP, **fields).inbound

    assert (found.text, found.mentioned) == (text, mentioned)
    assert found.target.chat_type == "group"


@pytest.mark.parametrize(
    ("fields", "thread"),
    [
        ({"is_topic_message": True, "message_thread_id": 4}, "4"),
        ({"message_thread_id": 4}, None),  # a reply in a group without topics
        ({}, None),
    ],
)
def test_topics(fields: dict[str, Any], thread: str | None) -> None:
    assert arrival(chat=GROUP, text="x", **fields).inbound.target.thread_id == thread


def test_an_anonymous_administrator_is_the_group() -> None:
    robot = {"id": 1087968824, "is_bot": True, "username": "GroupAnonymousBot"}

    found = arrival(chat=GROUP, text="x", sender_chat=GROUP, **{"from": robot})

    assert found.inbound.sender.id == "-1001"


IGNORED: list[dict[str, Any]] = [
    message(text="x", **{"from": {**AL, "is_bot": True}}),
    message(text="x", **{"from": None}),
    message(text="x", chat={"id": -1, "type": "channel"}),
    message(text="x", chat=GROUP, sender_chat=GROUP, is_automatic_forward=True),
    message(new_chat_title="x"),
    {"update_id": 1, "edited_message": message(text="x")["message"]},
    {"update_id": 1, "channel_post": message(text="x")["message"]},
    {"update_id": 1, "something_new": {}},
    {"update_id": 1, "message": []},
    message(text=5),
    message(text="x", chat={"id": "55", "type": "cave"}),
    {"update_id": "x"},
    {},
]


@pytest.mark.parametrize("raw", IGNORED)
def test_what_is_ignored(raw: dict[str, Any]) -> None:
    assert read(raw, ME, "default") is None


@pytest.mark.parametrize("raw", [None, 5, "x", [], [1]])
def test_what_is_no_update(raw: Any) -> None:
    assert read(raw, ME, "default") is None
    assert update_id(raw) is None


FILES: list[tuple[dict[str, Any], tuple[str, str, str]]] = [
    (
        {
            "photo": [
                {"file_id": "small", "width": 90, "height": 60},
                {"file_id": "large", "width": 900, "height": 600},
                {"file_id": "middle", "width": 300, "height": 200},
            ]
        },
        ("photo", "large", "image/jpeg"),
    ),
    ({"voice": {"file_id": "v"}}, ("voice", "v", "audio/ogg")),
    (
        {"audio": {"file_id": "a", "mime_type": "audio/MP4"}},
        ("audio", "a", "audio/mp4"),
    ),
    ({"video_note": {"file_id": "n"}}, ("video", "n", "video/mp4")),
    ({"video": {"file_id": "v"}}, ("video", "v", "video/mp4")),
    (
        {"document": {"file_id": "d", "file_name": "a.pdf"}},
        ("document", "d", "application/octet-stream"),
    ),
    (  # an animation also comes as a document
        {"animation": {"file_id": "g"}, "document": {"file_id": "g"}},
        ("video", "g", "video/mp4"),
    ),
]


@pytest.mark.parametrize(("fields", "expected"), FILES)
def test_files(fields: dict[str, Any], expected: tuple[str, str, str]) -> None:
    attached = arrival(caption="look", **fields).attached

    assert attached is not None
    assert (attached.kind, attached.file_id, attached.media_type) == expected


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"sticker": {"file_id": "s", "emoji": "🐈"}}, "(a sticker: 🐈)"),
        ({"sticker": {"file_id": "s"}}, "(a sticker: no emoji)"),
        (
            {"location": {"latitude": 1.5, "longitude": 2}},
            "(a location: 1.50000, 2.00000)",
        ),
    ],
)
def test_what_can_be_said_in_words(fields: dict[str, Any], text: str) -> None:
    assert arrival(**fields).inbound.text == text


def test_a_group_that_moved() -> None:
    found = read(message(chat={"id": -5, "type": "group"}, migrate_to_chat_id=-1005),
                 ME, "default")  # fmt: skip

    assert found == Moved(old="-5", new="-1005")
