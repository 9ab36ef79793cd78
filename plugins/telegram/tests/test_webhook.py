"""The webhook: who may call it, what is answered, and Telegram's rows of the corpus."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import ValidationError
from rustyclaw import Busy, ConfigError, Route, StorageError, WebRequest, load_config
from rustyclaw.testing import FakeProvider, make_gateway
from rustyclaw_telegram import receiving
from rustyclaw_telegram.channel import TelegramChannel
from rustyclaw_telegram.config import TelegramConfig
from rustyclaw_telegram.testing import TOKEN, Box, FakeTelegram, running, until

Make = Callable[..., TelegramChannel]
DATA = Path(__file__).parent / "data" / "webhooks.jsonl"
ROWS = [json.loads(line) for line in DATA.read_text().splitlines()]
SECRET = "tg-Secret_Token-42"
HOOK = {"webhook_url": "https://gateway.example", "webhook_secret": SECRET}
UPDATE = {
    "update_id": 7001,
    "message": {
        **{"message_id": 1, "date": 1, "chat": {"id": 55, "type": "private"}},
        **{"from": {"id": 55, "is_bot": False, "first_name": "Al"}, "text": "hello"},
    },
}


def route(channel: TelegramChannel) -> Route:
    (found,) = channel.routes()
    return found


async def post(channel: TelegramChannel, body: Any, secret: str = SECRET) -> int:
    found = route(channel)
    request = WebRequest(
        method=found.method,
        path=found.path,
        headers={"x-telegram-bot-api-secret-token": secret},
        body=body if isinstance(body, bytes) else json.dumps(body).encode(),
    )
    return (await found.handler(request)).status


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["case"])
async def test_corpus(
    row: dict[str, Any], make: Make, telegram: FakeTelegram, tmp_path: Path
) -> None:
    config = {"dm_policy": "open", "allow_from": ["*"], **row["config"]}
    channel = make(**{**HOOK, **config})
    provider = FakeProvider()
    gateway = make_gateway(
        tmp_path,
        provider=provider,
        plugins={"channels.telegram": channel},
        channels=True,
    )
    async with gateway:
        await until(lambda: channel.status()["default"]["state"] == "webhook")
        request = WebRequest(
            method=row["method"],
            path=route(channel).path,
            headers={name.lower(): value for name, value in row["headers"]},
            body=b64decode(row["body_b64"]),
        )
        status = (await route(channel).handler(request)).status
        if wanted := row["expect"]["messages_dispatched"]:
            await until(lambda: len(telegram.shown(55)) == wanted)

    assert status in row["expect"]["status_in"]
    assert len(provider.requests) == row["expect"]["messages_dispatched"]
    assert not telegram.shown(66)
    if body := row.get("generate", {}).get("body_bytes"):
        assert body > route(channel).max_body_bytes  # so it never arrives here


async def test_telegram_is_told_where_to_call(
    make: Make, telegram: FakeTelegram
) -> None:
    channel = make(**HOOK)
    async with running(channel, Box()):
        await until(lambda: channel.status()["default"]["state"] == "webhook")

    told = telegram.webhook()
    assert told["url"] == "https://gateway.example/telegram/default"
    assert told["secret_token"] == SECRET
    assert told["allowed_updates"] == ["message"]
    assert channel.status()["default"]["last_poll"] > 0


async def test_a_webhook_that_was_moved_is_set_again(
    make: Make, telegram: FakeTelegram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "_CHECK_SECONDS", 0.01)
    channel = make(**HOOK)
    async with running(channel, Box()):
        await until(lambda: channel.status()["default"]["state"] == "webhook")
        telegram.set_webhook(url="https://thief.example")
        ours = "https://gateway.example/telegram/default"
        await until(lambda: telegram.webhook().get("url") == ours)
    assert len(telegram.made("setWebhook")) == 2


async def test_each_account_has_its_own_address(make: Make) -> None:
    channel = make(**HOOK, accounts={"work": {"token": "777:another-Token"}})

    assert [r.path for r in channel.routes()] == ["/telegram/default", "/telegram/work"]


async def test_it_is_answered_after_the_message_is_durable(make: Make) -> None:
    box, channel = Box(), make(**HOOK)
    box.hold = anyio.Event()
    statuses: list[int] = []

    async def call() -> None:
        statuses.append(await post(channel, UPDATE))

    async with running(channel, box), anyio.create_task_group() as group:
        await until(lambda: channel.status()["default"]["state"] == "webhook")
        group.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        assert not statuses
        box.hold.set()
        await until(lambda: statuses == [200])
    assert box.texts == ["hello"]


@pytest.mark.parametrize("error", [StorageError("full"), Busy("drains")])
async def test_what_was_not_accepted_is_not_confirmed(
    make: Make, error: Exception
) -> None:
    box, channel = Box(), make(**HOOK)
    async with running(channel, box):
        await until(lambda: channel.status()["default"]["state"] == "webhook")
        box.error = error
        assert await post(channel, UPDATE) == 503
        assert await post(channel, UPDATE) == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"\xff", 400),
        (b"[" * 100_000, 400),
        ([], 200),  # sound JSON that says nothing would only come again
        ({"update_id": 1, "message": {"chat": 5}}, 200),
        ({"update_id": 1, "poll": {}}, 200),
    ],
)
async def test_what_is_no_update(make: Make, body: Any, status: int) -> None:
    box, channel = Box(), make(**HOOK)
    async with running(channel, box):
        await until(lambda: channel.status()["default"]["state"] == "webhook")
        assert await post(channel, body) == status
    assert not box.messages


@pytest.mark.parametrize("secret", ["", "x", f"{SECRET}x", SECRET[:-1], "\udcff"])
async def test_the_secret_comes_first(make: Make, secret: str) -> None:
    channel = make(**HOOK)

    assert await post(channel, b"not JSON", secret) == 401
    assert await post(channel, UPDATE) == 503  # it is ours, but we are not open yet


async def test_without_a_webhook_there_is_no_route(make: Make) -> None:
    assert make(webhook_secret=SECRET).routes() == ()


URL = "https://gateway.example"
BAD = [
    ({}, "no bot; set `token`"),
    ({"token": "abc"}, "no bot token"),
    ({"token": TOKEN, "webhook_url": URL}, "needs a `webhook_secret`"),
    ({"token": TOKEN, "webhook_url": URL, "webhook_secret": ""}, "need"),
    ({"token": TOKEN, "webhook_url": URL, "webhook_secret": "short"}, "16 to 256"),
    ({"token": TOKEN, "webhook_url": "g.example"}, "write an address as"),
    ({"token": TOKEN, "base_url": "ftp://x"}, "write an address as"),
    ({"token": TOKEN, "accounts": {"a": {"token": TOKEN}}}, "the same bot"),
    ({"token": TOKEN, "accounts": {"Ä/..": {"token": "7:abcdefg"}}}, "small letters"),
    ({"accounts": {"default": {"token": "7:abcdefg"}}}, "not 'default'"),
    ({"token": TOKEN, "proxy": "socks5://user:word@host:1080"}, "of a proxy as"),
    ({"token": TOKEN, "poll_seconds": 91}, "less than or equal to 90"),
    ({"token": TOKEN, "polling": True}, "Extra inputs"),
]


@pytest.mark.parametrize(("settings", "problem"), BAD)
def test_settings_that_cannot_be(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        TelegramConfig(**settings)


def test_what_people_read_of_it_shows_no_secret(tmp_path: Path) -> None:
    text = "channels: {telegram: {token: 123-secret, proxy: 'socks5://al:word@h'}}"
    (tmp_path / "config.yaml").write_text(text)
    config = load_config(home=tmp_path, env={})

    with pytest.raises(ConfigError, match="BotFather") as failure:
        config.section("channels", "telegram", TelegramConfig)

    assert "secret" not in str(failure.value)
    assert "word" not in str(failure.value)
