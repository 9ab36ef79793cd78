"""Which web pages may talk to the gateway.

A browser always says where a page comes from. What it says must be a page of this
gateway, reached by a name that nobody else can point at us (DNS rebinding), or one
that the operator has named. Programs send no ``Origin``; for them the token counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rustyclaw_server.auth.address import canonical, host_name

if TYPE_CHECKING:
    from rustyclaw_server.config import ServerConfig


def refusal(headers: Mapping[str, str], config: ServerConfig) -> str:
    """Return why a page may not connect; empty if it may, or if there is none."""
    origin = headers.get("origin")
    if origin is None or origin.lower() in config.allowed_origins:
        return ""
    host = headers.get("host", "").strip().lower()
    scheme = "https" if config.tls else "http"
    proxied = {f"{kind}://{name}" for kind in ("http", "https") for name in [host]}
    if origin.lower() not in (
        proxied if config.trusted_proxies else {f"{scheme}://{host}"}
    ):
        return "origin not allowed"
    name = host_name(host)
    if name == "localhost" or canonical(name) or name in config.allowed_hosts:
        return ""
    return f"host {name!r} is not in hooks.server.allowed_hosts"
