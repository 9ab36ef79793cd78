"""The settings below ``tools.memory``."""

from __future__ import annotations

from pydantic import Field
from rustyclaw import PluginConfig


class MemoryConfig(PluginConfig):
    """Settings of the memory tools; sizes in bytes of UTF-8."""

    max_value_bytes: int = Field(65_536, ge=1, description="largest value")
    max_entries: int = Field(
        10_000, ge=1, description="most entries of an agent, all namespaces together"
    )
    search_limit: int = Field(50, ge=1, description="most hits that one search returns")
