"""A gateway in a process of its own, as `process.Process` starts it.

Its model answers with what it was asked; ``slowly 40`` makes it say 40 words, one
every 20 ms.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
from rustyclaw import (
    Finished,
    Gateway,
    ModelRequest,
    StreamEvent,
    TextDelta,
    configure_logs,
    load_config,
)
from rustyclaw.testing import FakeProvider
from rustyclaw_server.plugin import ServerPlugin


class Model(FakeProvider):
    """Answers from what it was asked."""

    async def stream(self, request: ModelRequest) -> AsyncIterator[StreamEvent]:
        """Answer, slowly if it was asked to."""
        asked = [m.text for m in request.messages if m.role == "user"]
        word, _, count = (asked[-1] if asked else "").partition(" ")
        if word == "slowly" and count.isdecimal():
            for number in range(int(count)):
                await anyio.sleep(0.02)
                yield TextDelta(text=f"w{number} ")
            yield Finished()
            return
        self.requests.clear()  # a real model keeps none
        async for event in super().stream(request):
            yield event


async def serve(home: Path) -> int:
    """Serve until a signal; return the exit code."""
    config = load_config(home / "config.yaml", home=home, env={})
    configure_logs(config.logging, config.redactor)
    plugins = {"providers.fake": Model(), "hooks.server": ServerPlugin}
    gateway = Gateway(config, home=home, channels=True, plugins=plugins, discover=False)
    async with gateway:
        facts = home / "gateway.json"
        print(json.dumps({"served": facts.exists()}), flush=True)
        await gateway.serve()
    if gateway.stop_reason == "restart":
        os.execv(sys.executable, [sys.executable, *sys.argv])
    return 1 if gateway.stop_reason == "failed" else 0


if __name__ == "__main__":
    sys.exit(anyio.run(serve, Path(sys.argv[1])))
