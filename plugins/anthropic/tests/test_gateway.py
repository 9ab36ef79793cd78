"""A real gateway that finds the provider by itself and talks to the fake vendor."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from rustyclaw import Gateway, RunEnded, RunResult, load_config, tool
from rustyclaw_anthropic.config import AnthropicConfig
from rustyclaw_http.testing.server import Answer, FakeVendor

from .conftest import KEY, answer, call, redacted, refusal, start, stream, text, thought

README = Path(__file__).parents[1] / "README.md"
GUIDE = Path(__file__).parents[3] / "docs" / "providers" / "anthropic.md"


@tool
async def weather(city: str) -> str:
    """Tell the weather.

    :param city: Where.
    """
    return f"rain in {city}"


def gateway(home: Path, vendor: FakeVendor, model: str = "claude-opus-4-5") -> Gateway:
    section = {"base_url": vendor.url, "api_key": KEY, "discover_models": False}
    defaults = {"model": f"anthropic/{model}", "thinking": "low"}
    return Gateway(
        {"agents": {"defaults": defaults}, "providers": {"anthropic": section}},
        home=home,
        channels=False,
        plugins={"tools.weather": weather()},
    )


async def say(gateway: Gateway, words: str) -> RunResult:
    results = [e.result async for e in gateway.run(words) if isinstance(e, RunEnded)]
    return results[0]


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
    stored = "".join(path.read_text() for path in tmp_path.rglob("*.jsonl"))
    assert "rain" not in stored


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
    async with gateway(tmp_path, vendor) as running:
        result = await say(running, "hi")
    assert result.error is not None
    assert len(vendor.requests) == requests
    kept = "".join(path.read_text() for path in tmp_path.rglob("*.jsonl"))
    assert KEY not in result.error.message + kept


# --- What it costs --------------------------------------------------------------

UNUSED = """
import sys, tempfile
from pathlib import Path
import anyio
from rustyclaw import Gateway
from rustyclaw.testing import FakeProvider

async def main():
    with tempfile.TemporaryDirectory() as home:
        fake = {"providers.fake": FakeProvider()}
        model = {"agents": {"defaults": {"model": "fake/fake"}}}
        async with Gateway(model, home=Path(home), channels=False, plugins=fake) as g:
            async for event in g.run("hi"):
                pass

anyio.run(main)
print("rustyclaw_anthropic" in sys.modules)
"""
WEIGHT = """
import rustyclaw.testing
from rustyclaw import Gateway, Provider, ProviderError, Secret, Message, load_config
import anyio, asyncio, pydantic

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

before = resident()
import rustyclaw_anthropic.provider
print(resident() - before)
"""


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


def test_who_is_not_used_is_not_imported() -> None:
    assert run(UNUSED) == "False"


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_memory_of_the_import() -> None:
    assert int(run(WEIGHT)) < 12_000_000


def test_the_guide_shows_a_configuration_that_works(tmp_path: Path) -> None:
    for page in (GUIDE, README):
        text = page.read_text(encoding="utf-8")
        (block,) = re.findall(r"^```yaml[^\n]*\n(.*?)^```", text, re.S | re.M)
        (tmp_path / "config.yaml").write_text(block)
        config = load_config(home=tmp_path, env={})
        assert not config.warnings
        assert set(config.providers) == {"anthropic"}
        section = dict(config.providers["anthropic"])
        assert section.pop("api_key_env") == "ANTHROPIC_API_KEY"
        assert AnthropicConfig.model_validate(section).cache == "1h"
