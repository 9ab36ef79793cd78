"""The settings of the chat: section ``channels.webchat``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from rustyclaw import ChannelConfig


def _origin(text: str) -> str:
    if not text.startswith(("http://", "https://")) or text.rstrip("/").count("/") != 2:
        raise ValueError("write an origin as `https://www.example.org`")
    return text.rstrip("/").lower()


class WebchatConfig(ChannelConfig):
    """The chat. A visitor is a stranger: the tools that write or run are not theirs.

    Each visitor writes in a room of their own, so the policies for groups hold.
    """

    group_policy: Literal["open", "allowlist", "disabled"] = Field(
        "open", description="which visitors are served"
    )
    require_mention: bool = Field(False, description="answer only when named")
    title: str = Field("Assistant", max_length=80, description="above the chat")
    greeting: str = Field(
        "Hello! How can I help?", max_length=500, description="the first line"
    )
    allowed_origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = Field(
        (), description="other sites that may embed the chat"
    )
    max_chars: int = Field(8000, ge=1, description="of a visitor's message")
    messages_per_minute: int = Field(20, ge=1, description="of one visitor")
    visitors_per_minute: int = Field(10, ge=1, description="new ones of an address")
    keep_days: float = Field(30, gt=0, description="how long messages are shown")
