"""uvicorn in the gateway's event loop: one listener, no signals, an orderly end."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio
from uvicorn.config import Config
from uvicorn.server import Server as Uvicorn

from rustyclaw_server.app import App
from rustyclaw_server.wire.http import PatientProtocol
from rustyclaw_server.wire.socket import BoundedProtocol

if TYPE_CHECKING:
    from rustyclaw_server.server import Server

_GRACE_SECONDS = 5


class _Uvicorn(Uvicorn):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the gateway, which drains first."""
        yield


async def serve(server: Server, listener: socket.socket) -> None:
    """Serve until cancelled; connections that are open then get their end."""
    config = server.config
    first, head = config.limits.max_preauth_bytes, config.limits.head_seconds
    sockets = type("Sockets", (BoundedProtocol,), {"first_limit": first})
    requests = type("Requests", (PatientProtocol,), {"head_seconds": head})
    # Its log goes where ours goes; a line for each request would be noise.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    uvicorn_config = Config(
        App(server),
        http=requests,
        ws=sockets,
        ws_max_size=config.limits.max_payload_bytes,
        ws_per_message_deflate=False,
        ws_ping_interval=config.limits.ping_seconds,  # who has vanished is noticed
        ws_ping_timeout=config.limits.ping_seconds,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    uvicorn_config.load()
    uvicorn_config.ssl = server.tls
    running, done = _Uvicorn(uvicorn_config), anyio.Event()
    scope = anyio.CancelScope(shield=True)  # it ends by `should_exit`, in good order

    async def run() -> None:
        with scope:
            await running.serve([listener])
        done.set()

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        try:
            await anyio.sleep_forever()
        finally:
            running.should_exit = True
            with anyio.CancelScope(shield=True):
                with anyio.move_on_after(_GRACE_SECONDS + 1):
                    await done.wait()
                scope.cancel()
