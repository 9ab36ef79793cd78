"""The settings that all providers share, and where a key may go."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, field_validator, model_validator
from rustyclaw import ModelInfo, PluginConfig, Secret

#: Endings of host names that only a local network knows.
_LOCAL_NAMES = (".local", ".lan", ".internal", ".home.arpa", ".localhost", ".test")


class ModelConfig(PluginConfig):
    """A model that the provider does not know by itself, or knows wrongly."""

    id: str = Field(min_length=1, description="as the vendor calls it")
    context_window: int = Field(128_000, ge=1, description="in tokens")
    max_output_tokens: int = Field(4096, ge=1, description="longest answer")
    vision: bool = Field(False, description="it takes pictures")
    reasoning: bool = Field(False, description="it can think before it answers")

    def info(self) -> ModelInfo:
        """Return it as the core wants it."""
        return ModelInfo(**self.model_dump())


class ProviderConfig(PluginConfig):
    """The keys of every section ``providers.NAME``; derive to add more."""

    model_config = ConfigDict(hide_input_in_errors=True)  # it may be a key

    api_key: Secret | None = Field(None, description="or `api_key_env`")
    base_url: str | None = Field(None, description="instead of the vendor's address")
    models: tuple[ModelConfig, ...] = Field(
        (), description="models to add to the known ones, or to correct"
    )
    headers: dict[str, Secret] = Field(
        default_factory=dict, description="further headers of each request"
    )
    connect_timeout_seconds: float = Field(
        10.0, gt=0, le=300, description="to reach the vendor"
    )
    idle_timeout_seconds: float = Field(
        120.0, gt=0, le=3600, description="longest silence within an answer"
    )
    total_timeout_seconds: float = Field(
        600.0, gt=0, le=86_400, description="longest wait for a whole answer"
    )
    proxy: Secret | None = Field(None, description="URL of an HTTP proxy")
    environment_proxy: bool = Field(
        False, description="use the proxies that the environment names"
    )

    @field_validator("base_url")
    @classmethod
    def _check_base_url(cls, value: str | None) -> str | None:
        """Refuse what is no plain address."""
        if value is None:
            return None
        parts = urlsplit(value)  # a wrong port raises ValueError when it is read
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must begin with https:// or http:// and name a host")
        if parts.port == 0 or "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError(
                "must have no user, query or fragment; put keys into `api_key`"
            )
        return value.rstrip("/")

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, value: dict[str, Secret]) -> dict[str, Secret]:
        """Refuse what would break the framing of a request."""
        for name, secret in value.items():
            text = secret.get_secret_value()
            if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                raise ValueError(f"{name!r} is no header name")
            if not (text.isascii() and text.isprintable()):
                raise ValueError(f"the value of {name!r} must be printable ASCII")
        return value

    @field_validator("api_key")
    @classmethod
    def _check_key(cls, value: Secret | None) -> Secret | None:
        """Refuse a key that cannot stand in a header."""
        text = value.get_secret_value() if value else ""
        if not (text.isascii() and text.isprintable()):
            raise ValueError("must be printable ASCII, without line breaks")
        return value

    @model_validator(mode="after")
    def _check_transport(self) -> ProviderConfig:
        """Refuse to send a key in clear text through the internet."""
        if self.api_key and self.base_url and not is_private(self.base_url):
            raise ValueError(
                "`base_url` would send the key unencrypted; use https:// or a host of "
                "your own network"
            )
        return self


def is_private(url: str) -> bool:
    """Return whether requests are encrypted, or stay in the local network."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme == "https":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(_LOCAL_NAMES)
    return address.is_private or address.is_loopback or address.is_link_local
