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
    if origin is None:
        return ""
    origin, host = origin.lower(), headers.get("host", "").strip().lower()
    scheme = "https" if config.tls else "http"
    schemes = ("http", "https") if config.trusted_proxies else (scheme,)
    own = {f"{kind}://{host}" for kind in schemes}
    if origin not in config.allowed_origins and origin not in own:
        return "origin not allowed"
    name = host_name(host)
    named = {host_name(page.partition("://")[2]) for page in config.allowed_origins}
    if name == "localhost" or canonical(name) or name in named:
        return ""
    if name in map(str.lower, config.allowed_hosts):
        return ""
    return f"host {name[:80]!r} is not in hooks.server.allowed_hosts"
