"""A real gateway that finds the provider by itself and talks to the fake vendor."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rustyclaw import Gateway, RunEnded, RunResult, tool
from rustyclaw_http.testing.server import Answer, FakeVendor

from .conftest import (
    KEY,
    call_item,
    call_piece,
    chat,
    reasoning_item,
    responses,
    text_item,
)


@tool
async def weather(city: str) -> str:
    """Tell the weather.

    :param city: Where.
    """
    return f"rain in {city}"


def gateway(home: Path, vendor: FakeVendor, **section: Any) -> Gateway:
    name = section.pop("name", "openai")
    model = section.pop("model", "gpt-5.6")
    return Gateway(
        {
            "agents": {"defaults": {"model": f"{name}/{model}", "thinking": "low"}},
            "providers": {name: {"base_url": vendor.url, "api_key": KEY, **section}},
        },
        home=home,
        channels=False,
        plugins={"tools.weather": weather()},
    )


async def say(gateway: Gateway, text: str) -> RunResult:
    results = [e.result async for e in gateway.run(text) if isinstance(e, RunEnded)]
    return results[0]


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
    ("answer", "kind", "requests"),
    [
        (
            Answer.json({"error": {"message": f"Bad key {KEY}"}}, status=401),
            "provider_error",
            1,
        ),
        (
            Answer.json({"error": {"code": "insufficient_quota"}}, status=429),
            "provider_error",
            1,
        ),
        (
            Answer.json({}, status=429, headers={"retry-after": "0.01"}),
            "provider_error",
            3,
        ),
    ],
)  # fmt: skip
async def test_refusals(
    tmp_path: Path, vendor: FakeVendor, answer: Answer, kind: str, requests: int
) -> None:
    vendor.default = answer
    async with gateway(tmp_path, vendor) as running:
        result = await say(running, "hi")
    assert result.error is not None
    assert KEY not in result.error.message
    assert len(vendor.requests) == requests
    for path in tmp_path.rglob("*.jsonl"):
        assert KEY not in path.read_text()


PROGRAM = """
import sys, tempfile
from pathlib import Path
import anyio
from rustyclaw import Gateway
from rustyclaw.testing import FakeProvider

async def main():
    with tempfile.TemporaryDirectory() as home:
        fake = {"providers.fake": FakeProvider()}
        model = {"agents": {"defaults": {"model": sys.argv[1]}}}
        config = {**model, "providers": {"groq": {"discover_models": False}}}
        async with Gateway(config, home=Path(home), channels=False, plugins=fake) as g:
            async for event in g.run("hi"):
                pass

anyio.run(main)
print(*sorted({"rustyclaw_openai", "rustyclaw_http"} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("model", "imported"),
    [("fake/fake", ""), ("groq/none", "rustyclaw_http rustyclaw_openai")],
)
def test_who_is_not_used_is_not_imported(model: str, imported: str) -> None:

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, model],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == imported
