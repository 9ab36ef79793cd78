"""The settings of the provider."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from rustyclaw_http.config import ProviderConfig


class GoogleConfig(ProviderConfig):
    """The section ``providers.google``."""

    safety: dict[str, str] = Field(
        default_factory=dict,
        description="category of harm -> threshold, as Google names them",
    )
    discover_models: bool = Field(
        True, description="ask the vendor for its models and their sizes"
    )
    extra_body: dict[str, Any] = Field(
        default_factory=dict, description="further fields of each request"
    )
