"""A real gateway that finds the provider by itself and talks to the fake vendor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rustyclaw import Gateway
from rustyclaw_http.testing.importing import imported_by_a_turn
from rustyclaw_http.testing.server import Answer, FakeVendor
from rustyclaw_http.testing.talking import gateway as gateway_of, refused, say

from .conftest import (
    KEY,
    call_item,
    call_piece,
    chat,
    reasoning_item,
    responses,
    text_item,
)


def gateway(home: Path, vendor: FakeVendor, **section: Any) -> Gateway:
    name = section.pop("name", "openai")
    model = section.pop("model", "gpt-5.6")
    return gateway_of(
        home, f"{name}/{model}", base_url=vendor.url, api_key=KEY, **section
    )


async def test_tools_by_chat(tmp_path: Path, vendor: FakeVendor) -> None:
    vendor.script(
        chat(
            call_piece(0, '{"city": "Oslo"}', id="call_a", name="weather"),
            call_piece(1, '{"city": "Rome"}', id="call_b", name="weather"),
            finish="tool_calls",
        ),
        chat({"content": "Rain everywhere."}),
    )
    async with gateway(tmp_path, vendor, api="chat") as running:
        result = await say(running, "How is the weather?")

    assert result.text == "Rain everywhere."
    *_, said, first, second = vendor.requests[1].json["messages"]
    assert [call["id"] for call in said["tool_calls"]] == ["call_a", "call_b"]
    assert (first["content"], second["content"]) == ("rain in Oslo", "rain in Rome")


async def test_reasoning_is_kept_and_shown_again(
    tmp_path: Path, vendor: FakeVendor
) -> None:
    vendor.script(
        responses(
            *reasoning_item(0, "I must look."),
            *call_item(1, "call_a", "weather", '{"city": "Oslo"}'),
        ),
        responses(*text_item("Rain.")),
        responses(*text_item("You are welcome.")),
    )
    async with gateway(tmp_path, vendor, api="responses") as running:
        assert (await say(running, "How is the weather?")).text == "Rain."
    async with gateway(tmp_path, vendor, api="responses") as running:  # from the disk
        assert (await say(running, "Thanks!")).text == "You are welcome."

    for received in vendor.requests[1:]:
        kinds = [item.get("type") or item["role"] for item in received.json["input"]]
        wanted = "user reasoning function_call function_call_output"
        assert " ".join(kinds).startswith(wanted)
        assert received.json["input"][1]["encrypted_content"] == "gAAAA-secret"


async def test_mistral_gets_ids_that_it_takes(
    tmp_path: Path, vendor: FakeVendor
) -> None:
    call = call_piece(0, '{"city": "Oslo"}', id="call_much_too_long", name="weather")
    vendor.script(chat(call, finish="tool_calls"), chat({"content": "Rain."}))
    fields = {"name": "mistral", "model": "mistral-medium-latest"}
    async with gateway(tmp_path, vendor, discover_models=False, **fields) as running:
        await say(running, "How is the weather?")
    *_, said, result = vendor.requests[1].json["messages"]
    (called,) = said["tool_calls"]
    assert len(called["id"]) == 9
    assert result["tool_call_id"] == called["id"]


@pytest.mark.parametrize(
    ("given", "requests"),
    [
        (Answer.json({"error": {"message": f"Bad key {KEY}"}}, status=401), 1),
        (Answer.json({"error": {"code": "insufficient_quota"}}, status=429), 1),
        (Answer.json({}, status=429, headers={"retry-after": "0.01"}), 3),
    ],
)
async def test_refusals(
    tmp_path: Path, vendor: FakeVendor, given: Answer, requests: int
) -> None:
    vendor.default = given
    await refused(gateway(tmp_path, vendor), KEY)
    assert len(vendor.requests) == requests


@pytest.mark.parametrize(
    ("model", "imported"),
    [("fake/fake", ""), ("groq/none", "rustyclaw_http rustyclaw_openai")],
)
def test_who_is_not_used_is_not_imported(model: str, imported: str) -> None:
    packages = ("rustyclaw_openai", "rustyclaw_http")
    assert imported_by_a_turn(model, *packages) == imported
