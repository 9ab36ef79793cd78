"""The settings of the Control UI: section ``hooks.control_ui``."""

from __future__ import annotations

from pydantic import Field
from rustyclaw import PluginConfig


class ControlUiConfig(PluginConfig):
    """Where the page is."""

    enabled: bool = Field(True, description="serve the page at all")
    base_path: str = Field(
        "/",
        pattern=r"^/([A-Za-z0-9_-]+/)*$",  # `\w` is all of Unicode: a megabyte
        description="where it is served; begins and ends with `/`",
    )
