"""The log of the gateway."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio.to_thread
from pydantic import Field

from rustyclaw_server.auth.scopes import READ
from rustyclaw_server.methods.base import Context, method
from rustyclaw_server.wire.frames import Wire


class TailParams(Wire):
    """Parameters of ``logs.tail``."""

    cursor: int | None = Field(None, ge=0)
    limit: int | None = Field(None, ge=1, le=5000)
    max_bytes: int | None = Field(None, ge=1, le=1_000_000)


class TailResult(Wire):
    """Lines of the log; ``reset`` says that the cursor leads nowhere any more."""

    file: str
    cursor: int
    size: int
    lines: list[str]
    truncated: bool
    reset: bool


@method("logs.tail", scope=READ, params=TailParams, result=TailResult)
async def logs_tail(params: TailParams, context: Context) -> dict[str, Any]:
    """Return the last lines of the log, or those since a cursor, without secrets."""
    read = partial(
        context.server.log.tail,
        params.cursor,
        params.limit or 500,
        params.max_bytes or 250_000,
    )
    return await anyio.to_thread.run_sync(read)
