"""The settings of the provider."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from rustyclaw_http.config import ProviderConfig


class AnthropicConfig(ProviderConfig):
    """The section ``providers.anthropic``."""

    cache: Literal["off", "5m", "1h"] = Field(
        "5m", description="how long the vendor keeps the prompt after its last use"
    )
    discover_models: bool = Field(
        True, description="ask the vendor for its models and their sizes"
    )
    betas: tuple[str, ...] = Field(
        (), description="names for the header `anthropic-beta`"
    )
    extra_body: dict[str, Any] = Field(
        default_factory=dict, description="further fields of each request"
    )
