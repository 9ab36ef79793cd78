"""The settings of the hook plugin, the compactor and the tool."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from rustyclaw import PluginConfig

Names = tuple[str, ...]


class CompactionConfig(PluginConfig):
    """When a session is compacted, and what the next turn is told."""

    reserve_tokens: NonNegativeInt = Field(
        20_000,
        description="compact after a turn that leaves less of the window, half of it "
        "at most; 0: only when a request does not fit",
    )
    context_sections: Names = Field(
        ("Session Startup", "Red Lines"),
        description="sections of AGENTS.md that the turn after a compaction is shown",
    )
    context_chars: NonNegativeInt = Field(
        3000, description="of these sections together; 0: none"
    )


class SafeguardConfig(PluginConfig):
    """How the summary is made."""

    instructions: str = Field("", description="added to each prompt for a summary")
    identifier_policy: Literal["strict", "off", "custom"] = Field(
        "strict", description="copy ids, hashes, hosts and paths exactly, or your rule"
    )
    identifier_instructions: str = Field("", description="the rule, if it is `custom`")
    max_history_share: float = Field(
        0.5,
        ge=0.1,
        le=0.9,
        description="share of the window above which old text is summarised apart",
    )
    recent_turns: int = Field(
        3, ge=0, le=12, description="last turns that are quoted, 600 characters a part"
    )
    quality_retries: int = Field(
        1, ge=0, le=3, description="how often a summary that lacks something is redone"
    )
    pin_markers: Names = Field(
        ("remember:", "pin:", "important:"),
        description="what the user writes after one of these, in a line, is kept",
    )
    pinned_chars: PositiveInt = Field(
        4000, description="of what is kept as it is; the oldest gives way"
    )
    critical_sections: Names = Field(
        ("Session Startup", "Red Lines"),
        description="sections of AGENTS.md that the summary repeats",
    )
    retries: PositiveInt = Field(3, description="tries of one model call")
    memory_flush: bool = Field(
        True, description="first write what should last to `memory/DATE.md`"
    )
    flush_instructions: str = Field("", description="added to the prompt for that")
    flush_seconds: PositiveFloat = Field(60, description="time for it")


class RecallConfig(PluginConfig):
    """How much one answer of the tool may hold."""

    max_chars: int = Field(
        6000, ge=1000, description="longest answer; the rest is read piece by piece"
    )
    max_hits: PositiveInt = Field(10, description="most places that a search returns")
