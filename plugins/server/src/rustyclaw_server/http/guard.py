"""Who may use the HTTP surface: who shows the shared secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rustyclaw_server.auth.address import Peer, peer_of
from rustyclaw_server.auth.origin import refusal
from rustyclaw_server.auth.secret import same
from rustyclaw_server.http.answers import Refused

if TYPE_CHECKING:
    from starlette.requests import Request

    from rustyclaw_server.server import Server


def server_of(request: Request) -> Server:
    """Return the server behind a request."""
    server: Server = request.state.server
    return server


def caller_of(request: Request) -> Peer:
    """Return where a request comes from."""
    client = (request.client.host, request.client.port) if request.client else None
    trusted = server_of(request).config.trusted_proxies
    return peer_of(client, request.headers, trusted)


def require_secret(request: Request) -> Peer:
    """Check that a caller shows the shared secret.

    :raises Refused: 401, 403 for a page of elsewhere, 429 after too many failures.
    """
    server, peer = server_of(request), caller_of(request)
    if problem := refusal(request.headers, server.config):
        raise Refused(403, problem)
    key = _failure_key(peer, request.headers.get("origin", ""))
    if wait := server.failures.locked_for(key):
        text = "too many failed attempts; try again later"
        raise Refused(429, text, {"retry-after": f"{wait:.0f}"})
    if server.secret.mode == "trusted-proxy":
        if server.secret.proxy_user(peer, request.headers):
            return peer
        raise Refused(401, "Unauthorized")
    shown = bearer(request)
    if server.secret.problem(shown, shown):
        if shown and (not peer.is_local or "origin" in request.headers):
            server.failures.count(key)
        raise Refused(401, "Unauthorized", {"www-authenticate": "Bearer"})
    server.failures.forget(key)
    return peer


def _failure_key(peer: Peer, origin: str) -> str:
    """Return what failures are counted by.

    A page on this machine counts apart from the programs here, and these apart from
    what a proxy passes on; of others only the address counts, for whoever is no
    browser may say any origin.
    """
    return f"http local {origin}" if peer.is_local else f"http {peer.bucket}"


def require_open(request: Request) -> None:
    """Check that the gateway takes work.

    :raises Refused: 503; it stops.
    """
    if server_of(request).gateway.draining:
        text = "the gateway is stopping; try again later"
        raise Refused(503, text, {"retry-after": "10"})


def require_control(request: Request) -> None:
    """Check that a caller is the command line of this home.

    :raises Refused: 401.
    """
    server = server_of(request)
    if not same(bearer(request), server.control_secret):
        raise Refused(401, "Unauthorized")


def bearer(request: Request) -> str:
    """Return the bearer's token; empty if there is none."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""
