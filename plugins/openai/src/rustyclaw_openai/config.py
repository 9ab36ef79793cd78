"""The settings of each provider of this distribution."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from rustyclaw_http.config import ProviderConfig


class OpenAIConfig(ProviderConfig):
    """The section ``providers.openai``, and that of each preset."""

    api: Literal["auto", "chat", "responses"] = Field(
        "auto",
        description="which API to speak; `auto`: Responses to OpenAI itself, "
        "Chat Completions to everybody else",
    )
    reasoning_summary: Literal["auto", "concise", "detailed", "none"] = Field(
        "auto", description="how thoughts are told (Responses only)"
    )
    discover_models: bool = Field(
        True, description="ask the vendor for its models if it tells their sizes"
    )
    extra_body: dict[str, Any] = Field(
        default_factory=dict, description="further fields of each request"
    )
