"""An echo on the WebSocket stack of the server, for Autobahn's test suite.

``echo.py NAME`` prints its port. NAME is ``ours``, or one of uvicorn's own
implementations to compare with: ``websockets``, ``websockets-sansio``, ``wsproto``.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import warnings
from typing import Any

import uvicorn
from rustyclaw_server.wire.socket import BoundedProtocol, Disconnected, Socket

LIMIT = 2**26


class Protocol(BoundedProtocol):
    """The protocol of the server, with room for large messages from the start."""

    first_limit = LIMIT


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Send back what comes, text as text and bytes as bytes."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})
        return
    wire = Socket(scope, receive, send)
    try:
        await wire.accept()
        while (message := await receive())["type"] == "websocket.receive":
            text, data = message.get("text"), message.get("bytes")
            await send({"type": "websocket.send", "text": text, "bytes": data})
    except (Disconnected, RuntimeError):  # it has gone, in uvicorn's words as well
        pass


async def main(name: str) -> None:
    """Serve until killed."""
    warnings.simplefilter("ignore")  # that `websockets` is deprecated is known here
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(2048)
        print(listener.getsockname()[1], flush=True)
        config = uvicorn.Config(
            echo,
            http="h11",
            ws=Protocol if name == "ours" else name,  # type: ignore[arg-type]
            ws_max_size=LIMIT,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
        )
        await uvicorn.Server(config).serve([listener])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
