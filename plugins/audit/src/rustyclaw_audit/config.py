"""The settings of the audit log: section ``hooks.audit``."""

from __future__ import annotations

from pydantic import Field, PositiveInt
from rustyclaw import PluginConfig


class AuditConfig(PluginConfig):
    """What the audit log keeps, and for how long."""

    include_text: bool = Field(
        False, description="keep the texts of messages and results, too, redacted"
    )
    keep_days: PositiveInt = Field(
        30, description="days after which a file is removed, at the next start"
    )
    buffer_records: PositiveInt = Field(
        10_000, description="records that may wait for the disk; more are counted"
    )
