"""The settings of the server: section ``hooks.server``."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from rustyclaw import PluginConfig, Secret


def _origin(text: str) -> str:
    if not text.startswith(("http://", "https://")) or text.rstrip("/").count("/") != 2:
        raise ValueError("write an origin as `https://host:port`")
    return text.rstrip("/").lower()


def _network(text: str) -> str:
    try:
        ip_network(text, strict=False)
    except ValueError:
        raise ValueError("write an address, or a network as `10.0.0.0/8`") from None
    return text


Origin = Annotated[str, AfterValidator(_origin)]
Network = Annotated[str, AfterValidator(_network)]


def _hook_name(text: str) -> str:
    if text in ("wake", "agent"):
        raise ValueError("`wake` and `agent` are there already")
    return text


#: No unicode class with a count here: as an automaton it takes megabytes.
HookName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=64), AfterValidator(_hook_name)
]


class AuthConfig(PluginConfig):
    """How callers prove that they may call."""

    mode: Literal["token", "password", "trusted-proxy", "none"] = Field(
        "token", description="what callers show; `none` only on loopback"
    )
    token: Secret | None = Field(None, description="default: one made at first start")
    password: Secret | None = Field(None, description="of mode `password`")
    user_header: str = Field("x-forwarded-user", description="of a trusted proxy")
    required_headers: tuple[str, ...] = Field((), description="of a trusted proxy")
    allow_users: tuple[str, ...] = Field((), description="empty: every user it names")
    max_failures: int = Field(10, ge=1, description="failures that lock an address")
    window_seconds: float = Field(60, gt=0, description="within which they count")
    lock_seconds: float = Field(300, gt=0, description="how long it is locked")


class TlsConfig(PluginConfig):
    """A certificate of one's own; PEM files."""

    cert_path: Path = Field(description="certificate chain")
    key_path: Path = Field(description="private key")


class LimitsConfig(PluginConfig):
    """What callers may use up."""

    max_payload_bytes: int = Field(26_214_400, ge=65_536, description="of a frame")
    max_preauth_bytes: int = Field(65_536, ge=1024, description="before the handshake")
    max_buffered_bytes: int = Field(
        1_572_864, ge=65_536, description="unread by a client before it is dropped"
    )
    handshake_seconds: float = Field(15, gt=0, description="time for the handshake")
    tick_seconds: float = Field(30, gt=0, description="between two ticks")
    ping_seconds: float = Field(
        25, gt=0, description="between pings, and for the answer to one"
    )
    max_connections: int = Field(20_000, gt=0, description="of all clients")
    max_preauth: int = Field(256, gt=0, description="handshakes at the same time")
    max_per_address: int = Field(
        64, gt=0, description="connections of one remote address"
    )
    connects_per_minute: int = Field(120, gt=0, description="of one remote address")
    max_body_bytes: int = Field(2_097_152, gt=0, description="of an HTTP request")
    body_seconds: float = Field(20, gt=0, description="time for an HTTP body")
    head_seconds: float = Field(15, gt=0, description="time for an HTTP head")
    send_seconds: float = Field(
        60, gt=0, description="time for a client to read a piece of an HTTP answer"
    )


class HookMapping(PluginConfig):
    """One ``POST /hooks/<name>``: how its JSON body becomes a message."""

    name: HookName = Field(description="the last part of the path")
    message: str = Field(description="text with `{field}` from the body")
    agent_id: str | None = Field(None, description="who gets it")
    session_key: str | None = Field(None, description="where; default: a new session")


class HooksConfig(PluginConfig):
    """Webhooks that wake the assistant."""

    enabled: bool = Field(False, description="serve `/hooks/*`")
    token: Secret | None = Field(None, description="what callers must show")
    allow_session_key: bool = Field(False, description="callers may choose a session")
    per_minute: int = Field(20, gt=0, description="hooks of one address")
    mappings: tuple[HookMapping, ...] = Field((), description="hooks with a name")


class HttpConfig(PluginConfig):
    """Which parts of the HTTP surface are served."""

    chat_completions: bool = Field(True, description="`/v1/chat/completions`")
    responses: bool = Field(True, description="`/v1/responses`")
    tools_invoke: bool = Field(True, description="`/tools/invoke`")
    tools_deny: tuple[str, ...] = Field(
        ("sessions_spawn", "sessions_send", "gateway", "whatsapp_login"),
        description="tools never invoked by HTTP; globs",
    )
    max_body_bytes: int = Field(
        20_971_520, gt=0, description="of a request to `/v1/*`, pictures included"
    )


class NodesConfig(PluginConfig):
    """What nodes may be asked for, beyond or below what their platforms allow."""

    allow_commands: tuple[str, ...] = Field((), description="such as `camera.snap`")
    deny_commands: tuple[str, ...] = Field((), description="never, on no platform")


class ServerConfig(PluginConfig):
    """The server."""

    enabled: bool = Field(True, description="serve at all")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(18789, ge=0, le=65535, description="0: a free one")
    auth: AuthConfig = Field(default_factory=AuthConfig, description="who may call")
    tls: TlsConfig | None = Field(None, description="serve https and wss")
    allowed_origins: tuple[Origin, ...] = Field(
        (), description="further web pages that may connect"
    )
    allowed_hosts: tuple[str, ...] = Field(
        (), description="names by which browsers reach the gateway"
    )
    trusted_proxies: tuple[Network, ...] = Field(
        (), description="addresses whose forwarding headers are believed"
    )
    limits: LimitsConfig = Field(default_factory=LimitsConfig, description="bounds")
    http: HttpConfig = Field(default_factory=HttpConfig, description="HTTP surface")
    nodes: NodesConfig = Field(default_factory=NodesConfig, description="nodes")
    hooks: HooksConfig = Field(default_factory=HooksConfig, description="webhooks")
