"""What a plugin offers: tools, providers, channels, and the settings of each.

A plugin class declares ``Config``, a pydantic model. The core validates the
plugin's section of the config file against it and hands the instance to the
constructor.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class PluginConfig(BaseModel):
    """Base of a plugin's settings: frozen, and unknown keys are errors."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        coerce_numbers_to_str=True,  # ids on chat platforms often look like numbers
    )
