"""The hook plugin that adds the page to the gateway's routes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from rustyclaw import Route, WebRequest, WebResponse, hookimpl

from rustyclaw_control_ui.config import ControlUiConfig
from rustyclaw_control_ui.site import Site, problem

if TYPE_CHECKING:
    from rustyclaw import Gateway

_OWNER = "control_ui"


class ControlUi:
    """Serves the page, if a server plugin serves routes."""

    Config = ControlUiConfig

    def __init__(self, config: ControlUiConfig | None = None) -> None:
        self._config = config or ControlUiConfig()
        self._reading = anyio.Lock()
        self._site: Site | None = None
        self._gateway: Gateway | None = None

    @hookimpl
    async def gateway_start(self, gateway: Gateway) -> None:
        """Add the routes, at once: the server tells people of them when it is up."""
        if not self._config.enabled:
            return
        self._gateway = gateway
        base = self._config.base_path
        paths = {base, f"{base}*"} if base == "/" else {base, f"{base}*", base[:-1]}
        for path in sorted(paths):
            route = Route(method="GET", path=path, handler=self._answer)
            gateway.routes.add(route, owner=_OWNER)

    async def _answer(self, request: WebRequest) -> WebResponse:
        base = self._config.base_path
        if request.path == base[:-1]:
            folder = base.split("/")[-2]  # relative, for the sake of proxies
            return problem(308, "Permanent Redirect", {"location": f"{folder}/"})
        if methods := self._others(request.path):
            return problem(405, "Method Not Allowed", {"allow": ", ".join(methods)})
        async with self._reading:
            if self._site is None:
                self._site = await anyio.to_thread.run_sync(Site, base)
        return self._site.answer(request)

    def _others(self, path: str) -> list[str]:
        """Return the methods by which another plugin serves just this path.

        Our own route takes every path, so that a look at a webhook would else find
        a page there.
        """
        routes = self._gateway.routes if self._gateway else ()
        return sorted(
            {r.method.upper() for r in routes if r.path == path} - {"GET", "HEAD"}
        )
