"""The settings below ``tools.files``."""

from __future__ import annotations

from pydantic import Field
from rustyclaw import PluginConfig


class FilesConfig(PluginConfig):
    """Settings of the file tools; sizes in bytes."""

    restrict_to_workspace: bool = Field(
        True,
        description="refuse every path outside the workspace; the gateway's own "
        "state stays out of reach even when this is off",
    )
    allow_hard_links: bool = Field(
        False,
        description="inside the limit, also read files with more than one name: "
        "the other name may lie outside the workspace",
    )
    max_read_bytes: int = Field(
        51_200, ge=1, description="most text that one read returns"
    )
    max_read_lines: int = Field(
        2000, ge=1, description="most lines that one read returns"
    )
    max_write_bytes: int = Field(
        10_485_760, ge=0, description="largest file that is written or edited"
    )
    list_limit: int = Field(
        200, ge=1, description="most entries that one listing returns"
    )
    protected: tuple[str, ...] = Field(
        (".git",), description="names that nothing is written to or below, in any case"
    )
