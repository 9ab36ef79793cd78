"""Event loops for the tests of providers; import one as ``anyio_backend``.

`rustyclaw_http` itself is tested on all of them, and providers do no I/O beside it. So
their own tests run on one, and only their contract runs on both.
"""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module", params=["asyncio"])
def on_asyncio(request: pytest.FixtureRequest) -> str:
    """Run each async test on asyncio."""
    return str(request.param)


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def on_both(request: pytest.FixtureRequest) -> str:
    """Run each async test on asyncio, and on trio."""
    return str(request.param)
