"""Both tools under one section of the config."""

from __future__ import annotations

from collections.abc import Sequence

from rustyclaw import Tool, Toolset

from rustyclaw_web.config import WebConfig
from rustyclaw_web.fetching import WebFetch
from rustyclaw_web.searching import WebSearch


class WebTools(Toolset):
    """The tools by which an agent reads the web."""

    Config = WebConfig

    def tools(self) -> Sequence[Tool]:
        """Return the two tools."""
        return [WebFetch(self.config), WebSearch(self.config)]
