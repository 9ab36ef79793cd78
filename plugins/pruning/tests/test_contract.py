"""The contract of hook plugins."""

from __future__ import annotations

import pytest
from rustyclaw.testing import HookContract
from rustyclaw_pruning.plugin import PruningPlugin


class TestPruning(HookContract):
    @pytest.fixture
    def plugin(self) -> PruningPlugin:
        return PruningPlugin()
