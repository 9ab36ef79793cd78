"""A real gateway that finds the provider by itself and talks to the fake vendor."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from rustyclaw import Gateway, RunEnded, RunResult, load_config, tool
from rustyclaw_http.testing.server import Answer, FakeVendor
from rustyclaw_ollama.config import OllamaConfig

from .conftest import FakeOllama, answer, call, failure, line

README = Path(__file__).parents[1] / "README.md"
GUIDE = Path(__file__).parents[3] / "docs" / "providers" / "ollama.md"


@tool
async def weather(city: str) -> str:
    """Tell the weather.

    :param city: Where.
    """
    return f"rain in {city}"


def gateway(home: Path, vendor: FakeVendor, model: str = "qwen3") -> Gateway:
    section = {"base_url": vendor.url}
    defaults = {"model": f"ollama/{model}", "thinking": "low"}
    return Gateway(
        {"agents": {"defaults": defaults}, "providers": {"ollama": section}},
        home=home,
        channels=False,
        plugins={"tools.weather": weather()},
    )


async def say(gateway: Gateway, words: str) -> RunResult:
    results = [e.result async for e in gateway.run(words) if isinstance(e, RunEnded)]
    return results[0]


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
    stored = "".join(path.read_text() for path in tmp_path.rglob("*.jsonl"))
    assert "rain" not in stored


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
print("rustyclaw_ollama" in sys.modules)
"""
WEIGHT = """
import rustyclaw.testing
from rustyclaw import Gateway, Provider, ProviderError, Secret, Message, load_config
import anyio, asyncio, pydantic

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

before = resident()
import rustyclaw_ollama.provider
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
        assert set(config.providers) == {"ollama"}
        section = dict(config.providers["ollama"])
        assert OllamaConfig.model_validate(section).num_ctx == 16_384
