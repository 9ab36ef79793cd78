"""Ships the repository's ``plugin-template/`` inside the package.

A static ``force-include`` cannot say that the folder is outside the sdist's root
in a checkout, and already inside the package in an unpacked sdist.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class TemplateHook(BuildHookInterface[Any]):
    """Adds the template to every build except an editable one."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Include the template where the built package looks for it."""
        template = Path(self.root, "..", "..", "plugin-template")
        if version == "editable" or not template.is_dir():
            return
        source = "src/" if self.target_name == "sdist" else ""
        build_data["force_include"][str(template)] = (
            f"{source}rustyclaw_scaffold/template"
        )
