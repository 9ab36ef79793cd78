"""The settings of the provider."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from rustyclaw_http.config import ProviderConfig


class OllamaConfig(ProviderConfig):
    """The section ``providers.ollama``."""

    num_ctx: int | None = Field(
        None,
        ge=512,
        description="window in tokens; by default that of the model, at most 32768",
    )
    keep_alive: str | None = Field(
        None,
        pattern=r"^-?\d+(\.\d+)?(ms|s|m|h)?$",
        description="how long a model stays loaded, such as `30m`; `-1`: for good",
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="further options of a model, such as `top_p`"
    )
    extra_body: dict[str, Any] = Field(
        default_factory=dict, description="further fields of each request"
    )
