"""What the terminal is told of a page that a plugin serves."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import pytest
from rustyclaw import Gateway, Route, WebRequest, WebResponse, hookimpl

from .conftest import TOKEN, serving


class Page:
    """Adds a route, as the Control UI does."""

    def __init__(self, path: str, method: str = "GET") -> None:
        self.path, self.method = path, method

    @hookimpl
    async def gateway_start(self, gateway: Gateway) -> None:
        async def answer(request: WebRequest) -> WebResponse:
            return WebResponse()

        route = Route(method=self.method, path=self.path, handler=answer)
        gateway.routes.add(route, owner="page")


@pytest.mark.parametrize("path", ["/", "/ui/"])
async def test_page_is_told_with_the_token(
    path: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(tmp_path, plugins={"hooks.page": Page(path)}) as running:
        line = f"Control UI: {running.url}{path}#token={TOKEN}"
        assert running.gateway.banner == [line]
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    "settings",
    [
        {"auth": {"mode": "password", "password": "a-password-of-tests"}},
        {"auth": {"mode": "none"}},
    ],
    ids=["password", "none"],
)
async def test_no_other_secret_is_told(
    settings: Mapping[str, Any], tmp_path: Path
) -> None:
    plugins = {"hooks.page": Page("/")}
    async with serving(tmp_path, plugins=plugins, settings=settings) as running:
        assert running.gateway.banner == [f"Control UI: {running.url}/"]


@pytest.mark.parametrize("auth", [{}, {"token": TOKEN}], ids=["made", "chosen"])
async def test_the_journal_is_told_no_token(
    auth: Mapping[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TemporaryFile("w") as stdout:
        facts = os.fstat(stdout.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{facts.st_dev}:{facts.st_ino}")
        monkeypatch.setattr("sys.stdout", stdout)
        plugins, settings = {"hooks.page": Page("/")}, {"auth": auth}
        async with serving(tmp_path, plugins=plugins, settings=settings) as running:
            secret = running.server.secret
            place = "in the config" if auth else str(secret.path)
            line = f"Control UI: {running.url}/ (its token: {place})"
            assert running.gateway.banner == [line]
            assert auth or secret.path.read_text("utf-8").strip() == secret.value()


@pytest.mark.parametrize("page", [Page("/line/webhook"), Page("/", method="POST")])
async def test_webhook_is_no_page(page: Page, tmp_path: Path) -> None:
    async with serving(tmp_path, plugins={"hooks.page": page}) as running:
        assert running.gateway.banner == []
