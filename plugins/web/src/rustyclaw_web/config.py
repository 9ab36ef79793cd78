"""The settings below ``tools.web``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator
from rustyclaw import PluginConfig, Secret
from rustyclaw_egress.errors import Refused
from rustyclaw_egress.policy import EgressPolicy
from rustyclaw_egress.urls import parse

Backend = Literal["duckduckgo", "brave", "searxng", "tavily"]


class WebConfig(PluginConfig):
    """Settings of both tools."""

    search_backend: Backend = Field(
        "duckduckgo",
        description="who is asked: `duckduckgo` (no key), `brave` or `tavily` (a key), "
        "`searxng` (your own server)",
    )
    search_api_key: Secret | None = Field(
        None,
        description="key of Brave or Tavily; or name a variable in "
        "`search_api_key_env`",
    )
    search_url: str | None = Field(
        None,
        description="address of the backend, if it is not the vendor's own; required "
        "for `searxng`. Its host may be private",
    )
    search_timeout_seconds: float = Field(
        15, gt=0, le=100, description="time for a search"
    )
    max_results: int = Field(
        10, ge=1, le=20, description="most results that a call may ask for"
    )
    max_chars: int = Field(
        50_000, ge=1000, description="most characters of a page that a model is shown"
    )
    cache_seconds: float = Field(
        900, ge=0, description="how long an answer is used again; 0: never"
    )
    cache_entries: int = Field(
        64, ge=1, le=10_000, description="most answers that are kept, in memory only"
    )
    egress: EgressPolicy = Field(
        EgressPolicy(),
        description="what may be fetched: see "
        "[rustyclaw-egress](../egress/README.md#configuration)",
    )

    @field_validator("search_url")
    @classmethod
    def _is_address(cls, url: str | None) -> str | None:
        if url is not None:
            try:
                parse(url)
            except Refused as exc:
                raise ValueError(str(exc)) from None
        return url
