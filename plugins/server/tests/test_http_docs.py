"""The examples in docs/http.md work as they stand there."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
import yaml
from rustyclaw import tool
from rustyclaw_server.config import LimitsConfig, ServerConfig

from .conftest import Running, serving
from .web import Web

PAGE = Path(__file__).parents[3] / "docs" / "http.md"
HOOK = "hk-tok-123456789012345678901234"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the docs are elsewhere")


@tool
async def file_list(path: str) -> str:
    """List files."""
    return f"nothing in {path}"


def blocks(language: str) -> list[str]:
    text = PAGE.read_text("utf-8") if PAGE.exists() else ""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def section(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text)["hooks"]["server"]
    return found


@pytest.fixture(scope="module")
async def shared(
    tmp_path_factory: pytest.TempPathFactory, anyio_backend: Any
) -> AsyncIterator[Running]:
    """Yield a server with the hooks that the page has."""
    (hooks,) = (one for one in map(section, blocks("yaml")) if "hooks" in one)
    del hooks["hooks"]["token_env"]
    hooks["hooks"]["token"] = HOOK
    plugins = {"tools.file_list": file_list}
    home = tmp_path_factory.mktemp("shared")
    async with serving(home, settings=hooks, plugins=plugins) as running:
        yield running


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
@pytest.mark.parametrize("block", blocks("bash"))
async def test_commands_work(block: str, shared: Running) -> None:
    environment = {**os.environ, "URL": shared.url, "TOKEN": shared.token}
    command = ("bash", "-euc", block)
    done = await anyio.run_process(
        command, env={**environment, "HOOK_TOKEN": HOOK}, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(b"{")


@pytest.mark.parametrize("block", blocks("python"))
async def test_programs_work(
    block: str, shared: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("URL", shared.url)
    monkeypatch.setenv("TOKEN", shared.token)
    said = StringIO()
    program = compile(block, "http.md", "exec")
    names = {"print": partial(print, file=said)}
    await anyio.to_thread.run_sync(exec, program, names)
    assert said.getvalue() == "Hello!"


async def test_all_paths_are_in_the_table(shared: Running) -> None:
    async with Web(shared.url, shared.token) as web:
        document = (await web.get("/openapi.json")).json()
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line[:3] == "| `"]
    for path in document["paths"]:
        named = "/hooks/<name>" if path == "/hooks/issue" else path
        assert any(named in row for row in rows), path


def test_settings_are_those_of_today() -> None:
    for block in blocks("yaml"):
        settings = section(block)
        settings.get("hooks", {}).pop("token_env", None)
        ServerConfig.model_validate(settings)
    limits = LimitsConfig()
    text = PAGE.read_text("utf-8")
    for name in ("head_seconds", "body_seconds", "send_seconds"):
        assert f"`limits.{name}` ({getattr(limits, name):g} s)" in text
    assert f"({limits.max_body_bytes // 2**20} MiB)" in text
    assert f"({ServerConfig().http.max_body_bytes // 2**20} MiB)" in text
