"""A scripted model whose script may also wait: for a moment, or for the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
from rustyclaw import ModelRequest, StreamEvent
from rustyclaw.testing import FakeProvider


class Paced(FakeProvider):
    """A `FakeProvider` whose items may hold seconds (a float) and `anyio.Event`."""

    async def stream(self, request: ModelRequest) -> AsyncIterator[StreamEvent]:
        """Play the next item of the script."""
        step: Any
        async for step in super().stream(request):
            if isinstance(step, float):
                await anyio.sleep(step)
            elif isinstance(step, anyio.Event):
                await step.wait()
            else:
                yield step
