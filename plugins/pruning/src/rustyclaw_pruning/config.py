"""The settings of pruning: section ``hooks.pruning``."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    model_validator,
)
from rustyclaw import PluginConfig

#: Characters that a soft trim adds: the dots between head and tail, and the note.
TRIM_OVERHEAD = 200
PLACEHOLDER = "[Old tool result content cleared]"

Names = tuple[str, ...]


class ToolRules(PluginConfig):
    """Whose results may be pruned: names with ``*``, in any case."""

    allow: Names = Field((), description="only of these tools; empty: of all")
    deny: Names = Field((), description="never of these; wins over `allow`")


class SoftTrim(PluginConfig):
    """How a long result is cut to its head and tail."""

    max_chars: PositiveInt = Field(4000, description="longer results are trimmed")
    head_chars: NonNegativeInt = Field(1500, description="kept from the beginning")
    tail_chars: NonNegativeInt = Field(1500, description="kept from the end")

    @model_validator(mode="after")
    def _leaves_room(self) -> Self:
        """Refuse a trim whose outcome would be trimmed again."""
        if self.head_chars + self.tail_chars + TRIM_OVERHEAD > self.max_chars:
            raise ValueError(
                f"head_chars + tail_chars + {TRIM_OVERHEAD} must fit into max_chars; "
                "raise max_chars or lower the others"
            )
        return self


class HardClear(PluginConfig):
    """How results are cleared when trimming was not enough."""

    enabled: bool = Field(True, description="clear at all")
    placeholder: str = Field(PLACEHOLDER, description="what stands in their place")


class PruningConfig(PluginConfig):
    """When results are pruned, and how far."""

    mode: Literal["off", "always", "cache-ttl"] = Field(
        "always",
        description="before each call, or only once a vendor's cache has expired",
    )
    ttl_seconds: NonNegativeFloat = Field(
        300, description="how long the cache lives after a call (`cache-ttl`)"
    )
    cache_models: Names = Field(
        ("anthropic/*", "openrouter/anthropic/*"),
        description="models with such a cache; others are not pruned (`cache-ttl`)",
    )
    keep_last_assistants: NonNegativeInt = Field(
        3, description="nothing is pruned from this assistant message on, from the end"
    )
    soft_trim_ratio: float = Field(
        0.3,
        ge=0,
        le=1,
        description="share of the window from which results are trimmed",
    )
    hard_clear_ratio: float = Field(
        0.5, ge=0, le=1, description="share from which whole results are cleared"
    )
    min_prunable_tool_chars: NonNegativeInt = Field(
        50_000, description="nothing is cleared while all results have less together"
    )
    keep_errors: bool = Field(True, description="never prune results of failed calls")
    tools: ToolRules = Field(default_factory=ToolRules, description="whose results")
    soft_trim: SoftTrim = Field(default_factory=SoftTrim, description="how to trim")
    hard_clear: HardClear = Field(default_factory=HardClear, description="how to clear")
    history_turns: dict[str, PositiveInt] = Field(
        default_factory=dict,
        description="turns that are sent, by session key with `*`; the first match "
        "counts",
    )
    max_sessions: PositiveInt = Field(
        1000, description="sessions whose last call is remembered (`cache-ttl`)"
    )
