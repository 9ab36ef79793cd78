"""The contract of a toolset, and the README."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from rustyclaw import Tool
from rustyclaw.testing import ToolContract, ToolsetContract
from rustyclaw_web.config import WebConfig
from rustyclaw_web.fetching import WebFetch
from rustyclaw_web.searching import WebSearch
from rustyclaw_web.tools import WebTools

from .conftest import Reply, WebServer


class TestWeb(ToolsetContract):
    # the network of a test has neither; TestFetch and TestSearch have servers
    examples = {"web_fetch": None, "web_search": None}

    @pytest.fixture
    def toolset(self) -> WebTools:
        return WebTools()


class TestRefusal(ToolContract):
    arguments = {"url": "http://127.0.0.1/"}
    may_fail = True

    @pytest.fixture
    def tool(self) -> Tool:
        return WebFetch()


class TestSearch(ToolContract):
    arguments = {"query": "tea"}

    @pytest.fixture
    def tool(self, web: WebServer) -> Tool:
        web.reply = lambda request: Reply(body=b'{"results": []}')
        return WebSearch(WebConfig(search_backend="searxng", search_url=web.url))


class TestHangingSearch(ToolContract):
    """What a cancelled search leaves behind: nothing."""

    arguments = {"query": "tea"}
    may_fail = True

    @pytest.fixture
    def tool(self, web: WebServer) -> Tool:
        web.reply = lambda request: Reply(hang=True)
        return WebSearch(
            WebConfig(
                search_backend="searxng", search_url=web.url, search_timeout_seconds=1
            )
        )


def test_effects() -> None:
    for tool in WebTools().tools():
        assert set(tool.effects) == {"network"}


def test_readme_names_every_setting() -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| .* \| ([^|]*) \|$", text, flags=re.MULTILINE)
    fields = WebConfig.model_fields
    assert dict(rows) == {name: fields[name].description for name in fields}


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, rustyclaw_web.tools as t; t.WebTools().tools();"
        "print('html_to_markdown' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
