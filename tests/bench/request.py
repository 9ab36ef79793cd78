"""Size of the first request, with the tools that are installed by default."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from play import Model
from rustyclaw import Gateway, ModelRequest
from rustyclaw.agent.prompt import seed_workspace
from table import Row, Target

#: What `rustyclaw[starter]` installs; those of them that are here are allowed.
STARTER = ["audit", "exec", "files", "memory", "offline"]
KB = 1024


async def measure(quick: bool) -> list[Row]:
    """Return the row of the first request, beside the same without tools."""
    with TemporaryDirectory() as folder:
        request = await _first(Path(folder, "default"), deny=())
        bare = await _first(Path(folder, "bare"), deny=("*",))
    return [
        Row(
            name="first request",
            unit="KB",
            median=_size(request) / KB,
            floor=_size(bare) / KB,
            target=Target(limit=10),
            note=f"without its {len(request.tools)} tools",
        )
    ]


async def _first(home: Path, deny: tuple[str, ...]) -> ModelRequest:
    """Return what a provider is sent first, with a workspace as onboarding makes it."""
    seed_workspace(home / "agents" / "main" / "workspace")
    model = Model()
    config = {
        "agents": {"defaults": {"model": "fake/fake"}},
        "plugins": {"allow": [f"rustyclaw-{name}" for name in STARTER]},
        "tools": {"deny": deny},
    }
    async with Gateway(
        config, home=home, channels=False, plugins={"providers.fake": model}
    ) as gateway:
        async for _ in gateway.run("hi"):
            pass
    return model.requests[-1]


def _size(request: ModelRequest) -> int:
    """Return the bytes of what a vendor's API would be sent as JSON."""
    said = {
        "system": request.system,
        "messages": request.messages,
        "tools": request.tools,
    }
    return len(json.dumps(said, ensure_ascii=False, default=_plain).encode())


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {f.name: getattr(value, f.name) for f in fields(value)}
    return dict(value) if isinstance(value, Mapping) else str(value)
