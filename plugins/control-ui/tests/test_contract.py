"""The contract of hook plugins."""

from __future__ import annotations

import pytest
from rustyclaw.testing import HookContract
from rustyclaw_control_ui.plugin import ControlUi


class TestControlUi(HookContract):
    @pytest.fixture
    def plugin(self) -> ControlUi:
        return ControlUi()
