"""A real gateway that finds the provider by itself and talks to the fake vendor."""

from __future__ import annotations

from pathlib import Path

import pytest
from rustyclaw import Gateway
from rustyclaw_http.testing.importing import check_weight, imported_by_a_turn
from rustyclaw_http.testing.pages import configured
from rustyclaw_http.testing.server import Answer, FakeVendor
from rustyclaw_http.testing.talking import gateway as gateway_of, kept, say
from rustyclaw_ollama.config import OllamaConfig

from .conftest import FakeOllama, answer, call, failure, line

README = Path(__file__).parents[1] / "README.md"
GUIDE = Path(__file__).parents[3] / "docs" / "providers" / "ollama.md"


def gateway(home: Path, vendor: FakeVendor, model: str = "qwen3") -> Gateway:
    section = {"base_url": vendor.url}
    return gateway_of(home, f"ollama/{model}", **section)


async def test_a_conversation_with_tools(
    tmp_path: Path, vendor: FakeVendor, ollama: FakeOllama
) -> None:
    ollama.chats += [
        answer(
            line(thinking="Both cities."),
            call("weather", city="Oslo"),
            call("weather", city="Rome"),
        ),
        answer("Rain everywhere."),
        answer("You are welcome."),
    ]
    async with gateway(tmp_path, vendor) as running:
        assert (await say(running, "The weather?")).text == "Rain everywhere."
    async with gateway(tmp_path, vendor) as running:  # from the disk
        assert (await say(running, "Thanks!")).text == "You are welcome."

    first, second, third = ollama.asked
    assert first["options"]["num_ctx"] == 32_768
    assert first["think"] is True
    *_, said, oslo, rome = second["messages"]
    assert said["thinking"] == "Both cities."
    ids = [made["id"] for made in said["tool_calls"]]
    assert len(set(ids)) == 2
    assert [oslo["tool_call_id"], rome["tool_call_id"]] == ids
    assert (oslo["content"], rome["content"]) == ("rain in Oslo", "rain in Rome")
    roles = [message["role"] for message in third["messages"]]
    assert roles[-5:] == ["assistant", "tool", "tool", "assistant", "user"]


async def test_half_an_answer_runs_no_call(
    tmp_path: Path, vendor: FakeVendor, ollama: FakeOllama
) -> None:
    ollama.chats.append(Answer.lines(line("x"), call("weather", city="Oslo")))
    async with gateway(tmp_path, vendor) as running:
        result = await say(running, "The weather?")
    assert result.error is not None
    assert "rain" not in kept(tmp_path)


@pytest.mark.parametrize(
    ("given", "requests"),
    [
        (failure(400, "invalid options"), 1),
        (Answer.json({}, status=503, headers={"retry-after": "0.01"}), 3),
    ],
)
async def test_refusals(
    tmp_path: Path, vendor: FakeVendor, ollama: FakeOllama, given: Answer, requests: int
) -> None:
    ollama.chats += [given] * 3
    async with gateway(tmp_path, vendor) as running:
        result = await say(running, "hi")
    assert result.error is not None
    assert len(ollama.asked) == requests


# --- What it costs --------------------------------------------------------------


def test_who_is_not_used_is_not_imported() -> None:
    assert imported_by_a_turn("fake/fake", "rustyclaw_ollama") == ""


def test_memory_of_the_import() -> None:
    check_weight("rustyclaw_ollama.provider")


def test_the_guide_shows_a_configuration_that_works(tmp_path: Path) -> None:
    for page in (GUIDE, README):
        section = configured(page, tmp_path, "ollama")
        assert OllamaConfig.model_validate(section).num_ctx == 16_384
