"""One set of places for all judgements, so that no test depends on the machine."""

from __future__ import annotations

import pytest
from rustyclaw_exec.paths import Places


@pytest.fixture(scope="session")
def places() -> Places:
    return Places(
        home="/home/user",
        workspace="/home/user/.rustyclaw/agents/main/workspace",
        state="/home/user/.rustyclaw",
    )
