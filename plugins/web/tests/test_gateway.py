"""A conversation in which the model reads a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from rustyclaw import ToolEnded
from rustyclaw.testing import Bot, call
from rustyclaw_web.config import WebConfig
from rustyclaw_web.tools import WebTools

from .conftest import WebServer


@pytest.fixture
def plugins(web: WebServer) -> Mapping[str, object]:
    hosts = [f"127.0.0.1:{web.port}"]
    return {"tools.web": WebTools(WebConfig(egress={"allowed_hosts": hosts}))}


@pytest.fixture
def script(web: WebServer) -> Sequence[Any]:
    url = web.page("/", "<p>Tea is <i>good</i>.")
    return [
        call("web_fetch", url=url) + call("web_fetch", url="http://127.0.0.1:1/"),
        "Tea is good.",
    ]


async def test_the_model_reads_a_page(bot: Bot) -> None:
    assert await bot.say("What is tea?") == "Tea is good."

    ended = [event for event in bot.events if isinstance(event, ToolEnded)]
    read, refused = sorted((e.result for e in ended), key=lambda r: r.is_error)
    assert "Tea is *good*." in read.text
    assert read.details["untrusted"]
    assert refused.is_error
    assert "not public" in refused.text
