"""The settings of the offline provider."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from rustyclaw import PluginConfig


class OfflineConfig(PluginConfig):
    """Section ``providers.offline`` of the config file."""

    script: Path | None = Field(
        None, description="YAML file that the model `offline/script` plays"
    )
    delay_ms: float = Field(
        0, ge=0, le=10_000, description="pause between two pieces of an answer, in ms"
    )
