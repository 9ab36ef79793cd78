"""The routes that the plugin adds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from rustyclaw import Gateway, Route, WebRequest, WebResponse
from rustyclaw.testing import make_gateway
from rustyclaw_control_ui.config import ControlUiConfig
from rustyclaw_control_ui.plugin import ControlUi


def gateway_with(home: Path, **settings: Any) -> Gateway:
    plugin = ControlUi(ControlUiConfig(**settings))
    return make_gateway(home, plugins={"hooks.control_ui": plugin})


def route(gateway: Gateway, path: str) -> Route:
    found = gateway.routes.get(f"GET {path}")
    assert found is not None
    return found


async def ask(
    gateway: Gateway, of: str, path: str, headers: Mapping[str, str] = {}
) -> WebResponse:
    request = WebRequest(method="GET", path=path, headers=headers)
    return await route(gateway, of).handler(request)


async def test_page_is_at_the_root(tmp_path: Path) -> None:
    async with gateway_with(tmp_path) as gateway:
        assert (await ask(gateway, "/", "/")).status == 200
        page = await ask(gateway, "/*", "/sessions", {"accept": "text/html"})
        assert page.status == 200
        assert (await ask(gateway, "/*", "/v1/models")).status == 404


async def test_page_below_a_path(tmp_path: Path) -> None:
    async with gateway_with(tmp_path, base_path="/my/ui/") as gateway:
        assert gateway.routes.get("GET /") is None
        assert (await ask(gateway, "/my/ui/", "/my/ui/")).status == 200
        moved = await ask(gateway, "/my/ui", "/my/ui")
        assert (moved.status, moved.headers["location"]) == (308, "ui/")


async def test_webhook_of_another_plugin_is_not_hidden(tmp_path: Path) -> None:
    async def webhook(request: WebRequest) -> WebResponse:
        return WebResponse()

    async with gateway_with(tmp_path) as gateway:
        other = Route(method="POST", path="/line/webhook", handler=webhook)
        gateway.routes.add(other, owner="line")
        looked = await ask(gateway, "/*", "/line/webhook", {"accept": "text/html"})
        assert (looked.status, looked.headers["allow"]) == (405, "POST")


async def test_disabled_adds_nothing(tmp_path: Path) -> None:
    async with gateway_with(tmp_path, enabled=False) as gateway:
        assert list(gateway.routes) == []


@pytest.mark.parametrize("path", ["", "ui", "/ui", "//", "/a b/", "/../", "/ui/*"])
def test_odd_base_path_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="base_path"):
        ControlUiConfig(base_path=path)
