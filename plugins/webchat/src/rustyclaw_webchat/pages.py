"""The page, its script, and which other sites may use them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

from rustyclaw import Route, WebRequest, WebResponse

if TYPE_CHECKING:
    from rustyclaw_webchat.config import WebchatConfig

_CSP = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_HEADERS = "authorization, content-type, last-event-id"
_TYPES = {"js": "text/javascript; charset=utf-8", "html": "text/html; charset=utf-8"}
_SAFE = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}


class Pages:
    """What a browser loads."""

    def __init__(self, config: WebchatConfig) -> None:
        self._config = config

    def routes(self, base: str) -> Sequence[Route]:
        """Return the page at ``base`` and its script below it."""
        return (
            Route(method="GET", path=base, handler=self._page),
            Route(method="GET", path=f"{base}/widget.js", handler=self._script),
        )

    def cors(self, request: WebRequest) -> dict[str, str] | None:
        """Return the headers that let a page read the answer; ``None``: it may not."""
        origin = request.headers.get("origin")
        if origin is None:
            return {}
        if origin.lower() in self._config.allowed_origins:
            return {"access-control-allow-origin": origin, "vary": "Origin"}
        host = request.headers.get("host", "")
        return {} if origin.partition("://")[2] == host else None

    async def preflight(self, request: WebRequest) -> WebResponse:
        """Tell a browser what a page of another site may send."""
        headers = self.cors(request)
        if headers is None:
            return WebResponse(status=403)
        headers |= {
            "access-control-allow-methods": "GET, POST",
            "access-control-allow-headers": _HEADERS,
            "access-control-max-age": "600",
        }
        return WebResponse(status=204, headers=headers)

    async def _page(self, request: WebRequest) -> WebResponse:
        from html import escape  # it brings all entities of HTML, half a MB

        text = _asset("index.html").replace("{title}", escape(self._config.title))
        headers = {
            **_SAFE,
            "content-type": _TYPES["html"],
            "content-security-policy": _CSP,
            "cache-control": "no-cache",
        }
        return WebResponse(body=text.encode(), headers=headers)

    async def _script(self, request: WebRequest) -> WebResponse:
        facts = {"title": self._config.title, "greeting": self._config.greeting}
        # `<` cannot end a script that somebody inlines.
        settings = json.dumps(facts).replace("<", "\\u003c")
        text = _asset("widget.js").replace('"{settings}"', settings)
        headers = {
            **_SAFE,
            "content-type": _TYPES["js"],
            "cache-control": "no-cache",
            "cross-origin-resource-policy": "cross-origin",
        }
        return WebResponse(body=text.encode(), headers=headers)


def _asset(name: str) -> str:
    return (files(__package__) / "assets" / name).read_text("utf-8")
