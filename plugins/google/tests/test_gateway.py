"""A real gateway that finds the provider by itself and talks to the fake vendor."""

from __future__ import annotations

from pathlib import Path

import pytest
from rustyclaw import Gateway
from rustyclaw_google.config import GoogleConfig
from rustyclaw_http.testing.importing import check_weight, imported_by_a_turn
from rustyclaw_http.testing.pages import configured
from rustyclaw_http.testing.server import Answer, FakeVendor
from rustyclaw_http.testing.talking import gateway as gateway_of, kept, refused, say

from .conftest import KEY, answer, call, chunk, refusal, stream

README = Path(__file__).parents[1] / "README.md"
GUIDE = Path(__file__).parents[3] / "docs" / "providers" / "google.md"


def gateway(home: Path, vendor: FakeVendor, model: str = "gemini-3.8-flash") -> Gateway:
    section = {"base_url": vendor.url, "api_key": KEY, "discover_models": False}
    return gateway_of(home, f"google/{model}", **section)


async def test_signatures_are_kept_and_shown_again_also_after_a_restart(
    tmp_path: Path, vendor: FakeVendor
) -> None:
    vendor.script(
        answer(
            {"text": "Both cities.", "thought": True},
            {"text": "Let me see."},
            call("weather", sign="c2ln", id="fc-1", city="Oslo"),
            call("weather", id="fc-2", city="Rome"),
        ),
        answer({"text": "Rain "}, {"text": "everywhere.", "thoughtSignature": "ZW5k"}),
        answer({"text": "You are welcome."}),
    )
    async with gateway(tmp_path, vendor) as running:
        assert (await say(running, "The weather?")).text == "Rain everywhere."
    async with gateway(tmp_path, vendor) as running:  # from the disk
        assert (await say(running, "Thanks!")).text == "You are welcome."

    for received in vendor.requests[1:]:
        _, said, told, *_ = received.json["contents"]
        oslo = {"id": "fc-1", "name": "weather", "args": {"city": "Oslo"}}
        rome = {"id": "fc-2", "name": "weather", "args": {"city": "Rome"}}
        assert said["parts"] == [
            {"text": "Let me see."},
            {"functionCall": oslo, "thoughtSignature": "c2ln"},
            {"functionCall": rome},
        ]
        answers = [part["functionResponse"] for part in told["parts"]]
        assert [one["id"] for one in answers] == ["fc-1", "fc-2"]
        texts = [one["response"]["output"] for one in answers]
        assert texts == ["rain in Oslo", "rain in Rome"]
    last = vendor.requests[2].json["contents"][3]["parts"]
    assert last == [{"text": "Rain everywhere.", "thoughtSignature": "ZW5k"}]


async def test_calls_without_ids_get_their_own(
    tmp_path: Path, vendor: FakeVendor
) -> None:
    twice = (call("weather", city="Oslo"), call("weather", city="Rome"))
    vendor.script(answer(*twice), answer({"text": "Rain."}))
    async with gateway(tmp_path, vendor) as running:
        await say(running, "The weather?")
    _, said, told = vendor.requests[1].json["contents"]
    calls = [part["functionCall"]["id"] for part in said["parts"]]
    answers = [part["functionResponse"]["id"] for part in told["parts"]]
    assert calls == answers
    assert len(set(calls)) == 2


async def test_half_an_answer_runs_no_call(tmp_path: Path, vendor: FakeVendor) -> None:
    vendor.default = stream(chunk(call("weather", city="Oslo")), chunk({"text": "x"}))
    async with gateway(tmp_path, vendor) as running:
        result = await say(running, "The weather?")
    assert result.error is not None
    assert "rain" not in kept(tmp_path)


@pytest.mark.parametrize(
    ("given", "requests"),
    [
        (refusal(400, "INVALID_ARGUMENT", f"API key not valid: {KEY}"), 1),
        (refusal(402, "FAILED_PRECONDITION", "no money"), 1),
        (Answer.json({}, status=429, headers={"retry-after": "0.01"}), 3),
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
    assert imported_by_a_turn("fake/fake", "rustyclaw_google") == ""


def test_memory_of_the_import() -> None:
    check_weight("rustyclaw_google.provider")


def test_the_guide_shows_a_configuration_that_works(tmp_path: Path) -> None:
    for page in (GUIDE, README):
        section = configured(page, tmp_path, "google")
        assert section.pop("api_key_env") == "GEMINI_API_KEY"
        assert GoogleConfig.model_validate(section).safety
