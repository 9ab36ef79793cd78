"""The contract of hook plugins."""

from __future__ import annotations

import pytest
from rustyclaw.testing import HookContract
from rustyclaw_audit.plugin import AuditPlugin


class TestAudit(HookContract):
    @pytest.fixture
    def plugin(self) -> AuditPlugin:
        return AuditPlugin()
