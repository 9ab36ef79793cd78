"""A real gateway that finds the provider by itself and talks to the fake vendor."""

from __future__ import annotations

from pathlib import Path

import pytest
from rustyclaw import Gateway
from rustyclaw_anthropic.config import AnthropicConfig
from rustyclaw_http.testing.importing import check_weight, imported_by_a_turn
from rustyclaw_http.testing.pages import configured
from rustyclaw_http.testing.server import Answer, FakeVendor
from rustyclaw_http.testing.talking import gateway as gateway_of, kept, refused, say

from .conftest import KEY, answer, call, redacted, refusal, start, stream, text, thought

README = Path(__file__).parents[1] / "README.md"
GUIDE = Path(__file__).parents[3] / "docs" / "providers" / "anthropic.md"


def gateway(home: Path, vendor: FakeVendor, model: str = "claude-opus-4-5") -> Gateway:
    section = {"base_url": vendor.url, "api_key": KEY, "discover_models": False}
    return gateway_of(home, f"anthropic/{model}", **section)


async def test_thoughts_are_kept_and_shown_again_also_after_a_restart(
    tmp_path: Path, vendor: FakeVendor
) -> None:
    vendor.script(
        answer(
            thought("Both cities."),
            redacted("b2lua29pbms=", index=1),
            text("Let me see.", index=2),
            call(3, "toolu_1", "weather", '{"city": "Oslo"}'),
            thought("Now the other.", index=4, sign="Zz9"),
            call(5, "toolu_2", "weather", '{"city": "Rome"}'),
            reason="tool_use",
        ),
        answer(thought("So.", sign="Qq2"), text("Rain everywhere.", index=1)),
        answer(text("You are welcome.")),
    )
    async with gateway(tmp_path, vendor) as running:
        assert (await say(running, "The weather?")).text == "Rain everywhere."
    async with gateway(tmp_path, vendor) as running:  # from the disk
        assert (await say(running, "Thanks!")).text == "You are welcome."

    for received in vendor.requests[1:]:
        _, said, told, *_ = received.json["messages"]
        assert said["content"] == [
            {"type": "thinking", "thinking": "Both cities.", "signature": "Eq1"},
            {"type": "redacted_thinking", "data": "b2lua29pbms="},
            {"type": "text", "text": "Let me see."},
            {
                "type": "tool_use",
                "id": "toolu_1",
                "name": "weather",
                "input": {"city": "Oslo"},
            },
            {"type": "thinking", "thinking": "Now the other.", "signature": "Zz9"},
            {
                "type": "tool_use",
                "id": "toolu_2",
                "name": "weather",
                "input": {"city": "Rome"},
            },
        ]
        answers = [block["content"][0]["text"] for block in told["content"][:2]]
        assert answers == ["rain in Oslo", "rain in Rome"]
        assert received.json["thinking"]["budget_tokens"] == 2048
    last = vendor.requests[2].json["messages"][3]["content"]
    assert [block["type"] for block in last] == ["thinking", "text"]


async def test_another_model_is_not_shown_foreign_thoughts(
    tmp_path: Path, vendor: FakeVendor
) -> None:
    vendor.script(answer(thought("Hm."), text("Hi.", index=1)), answer(text("Yes.")))
    async with gateway(tmp_path, vendor) as running:
        await say(running, "Hello")
    async with gateway(tmp_path, vendor, "claude-haiku-4-5") as running:
        await say(running, "Still there?")
    said = vendor.requests[1].json["messages"][1]["content"]
    assert [block["type"] for block in said] == ["text"]


async def test_half_a_call_never_runs(tmp_path: Path, vendor: FakeVendor) -> None:
    half = call(0, "toolu_1", "weather", '{"city": "Os')[:2]
    vendor.default = stream(start(), *half, *text("x", index=1)[:2], end="cut")
    async with gateway(tmp_path, vendor) as running:
        result = await say(running, "The weather?")
    assert result.error is not None
    assert "rain" not in kept(tmp_path)


@pytest.mark.parametrize(
    ("given", "requests"),
    [
        (refusal(401, "authentication_error", f"invalid x-api-key {KEY}"), 1),
        (refusal(402, "billing_error", "no money"), 1),
        (refusal(529, "overloaded_error", "Overloaded", retry_after="0.01"), 3),
    ],
)
async def test_refusals(
    tmp_path: Path, vendor: FakeVendor, given: Answer, requests: int
) -> None:
    vendor.default = given
    await refused(gateway(tmp_path, vendor), KEY)
    assert len(vendor.requests) == requests


# --- What it costs --------------------------------------------------------------


def test_who_is_not_used_is_not_imported() -> None:
    assert imported_by_a_turn("fake/fake", "rustyclaw_anthropic") == ""


def test_memory_of_the_import() -> None:
    check_weight("rustyclaw_anthropic.provider")


def test_the_guide_shows_a_configuration_that_works(tmp_path: Path) -> None:
    for page in (GUIDE, README):
        section = configured(page, tmp_path, "anthropic")
        assert section.pop("api_key_env") == "ANTHROPIC_API_KEY"
        assert AnthropicConfig.model_validate(section).cache == "1h"
