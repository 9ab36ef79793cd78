"""The chat commands: what they answer, what they change, and that none gets stuck."""

from __future__ import annotations

from pathlib import Path

import pytest
from rustyclaw import ProviderError
from rustyclaw.testing import Bot

SHORT = {"session": {"compact_keep_recent": 1}}
SESSION = "agent:main:main"


async def command(bot: Bot, text: str) -> str | None:
    return await bot.gateway.command(text, SESSION)


async def test_help_names_every_command(tmp_path: Path) -> None:
    async with Bot(tmp_path) as bot:
        shown = await command(bot, "/help")
        assert shown is not None
        for line in shown.splitlines():
            for word in line.partition("  ")[0].split():
                if word.startswith("/"):
                    assert await command(bot, word) is not None


@pytest.mark.parametrize(
    "text",
    ["hello", "/new friends of mine", "/stop that", "/unknown", "/", "", "/helpme"],
)
async def test_other_texts_are_no_commands(tmp_path: Path, text: str) -> None:
    async with Bot(tmp_path) as bot:
        assert await command(bot, text) is None


# --- /model and /think ---------------------------------------------------------------


async def test_the_model_of_a_session_is_shown_and_changed(tmp_path: Path) -> None:
    async with Bot(tmp_path) as bot:
        assert await command(bot, "/model") == "model fake/fake"
        assert await command(bot, "/MODEL fake/Other ") == "model fake/Other"
        await bot.say("hi")
        assert bot.last.model == "fake/Other"
        await bot.say("hi", session="elsewhere")
        assert bot.last.model == "fake/fake"
        assert "model fake/Other" in str(await command(bot, "/status"))
        assert await command(bot, "/model default") == "model fake/fake"
        await bot.say("hi")
        assert bot.last.model == "fake/fake"


async def test_a_model_that_cannot_be_used_changes_nothing(tmp_path: Path) -> None:
    async with Bot(tmp_path) as bot:
        said = await command(bot, "/model gone/x")
        assert said is not None
        assert said.startswith("That did not work: provider 'gone' is not installed")
        assert await command(bot, "/model") == "model fake/fake"


async def test_how_hard_the_model_thinks(tmp_path: Path) -> None:
    async with Bot(tmp_path) as bot:
        assert await command(bot, "/think") == "thinking off"
        assert await command(bot, "/think high") == "thinking high"
        await bot.say("hi")
        assert await command(bot, "/think default") == "thinking off"
        await bot.say("hi")
        assert [r.thinking for r in bot.provider.requests] == ["high", "off"]


# --- /compact --------------------------------------------------------------------


async def test_a_conversation_is_shortened_in_a_chat(tmp_path: Path) -> None:
    script = ["one", "two", "the summary", "three"]
    async with Bot(tmp_path, script=script, config=SHORT) as bot:
        texts = ("a", "b", "/compact\nthe Cat's name", "c")
        replies = []
        for text in texts:
            await bot.channel.deliver(text)
            replies.append(await bot.reply())
        shortened, after = bot.provider.requests[2:]
    assert replies[2].startswith("Shortened from about ")
    assert "Above all keep: the Cat's name" in shortened.system
    assert "the summary" in after.messages[0].text


async def test_there_may_be_nothing_to_shorten(tmp_path: Path) -> None:
    async with Bot(tmp_path) as bot:
        assert await command(bot, "/compact") == "There is nothing to shorten yet."
        assert not bot.provider.requests


@pytest.mark.parametrize(
    "error", [ProviderError("no canary-value", kind="billing"), ZeroDivisionError("oh")]
)
async def test_what_fails_is_said_and_the_chat_goes_on(
    tmp_path: Path, error: Exception
) -> None:
    config = {**SHORT, "providers": {"x": {"token": "canary-value"}}}
    script = ["one", "two", error, "three"]
    async with Bot(tmp_path, script=script, config=config) as bot:
        for text in ("a", "b"):
            await bot.channel.deliver(text)
            await bot.reply()
        await bot.channel.deliver("/compact")
        said = await bot.reply()
        assert said.startswith("That did not work: ")
        assert "canary-value" not in said
        await bot.channel.deliver("c")
        assert await bot.reply() == "three"
