"""A real gateway that finds a provider by itself and talks to the fake vendor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rustyclaw import Gateway, RunEnded, RunResult, tool


@tool
async def weather(city: str) -> str:
    """Tell the weather.

    :param city: Where.
    """
    return f"rain in {city}"


def gateway(home: Path, model: str, **section: Any) -> Gateway:
    """Return a gateway with a tool for the weather.

    :param model: ``provider/model``; only this provider is configured.
    :param section: Its configuration.
    """
    return Gateway(
        {
            "agents": {"defaults": {"model": model, "thinking": "low"}},
            "providers": {model.partition("/")[0]: section},
        },
        home=home,
        channels=False,
        plugins={"tools.weather": weather()},
    )


async def say(gateway: Gateway, words: str) -> RunResult:
    """Return how a run ended."""
    results = [e.result async for e in gateway.run(words) if isinstance(e, RunEnded)]
    return results[0]


async def refused(gateway: Gateway, secret: str) -> None:
    """Check that a run fails, and that nobody is told a secret."""
    async with gateway as running:
        result = await say(running, "hi")
    assert result.error is not None
    assert secret not in result.error.message + kept(gateway.home)


def kept(home: Path) -> str:
    """Return all that transcripts hold."""
    return "".join(path.read_text("utf-8") for path in home.rglob("*.jsonl"))
