"""The process that ``server.py`` measures: a served gateway, or a bare echo.

``served.py HOME`` serves a gateway with a scripted model, ``served.py --echo`` the
least that uvicorn can do: read JSON, write JSON. Both print a line of JSON with
their port once they listen.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import uvicorn

TOKEN = "a-shared-token-of-the-bench"


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Serve WebSockets that answer each JSON text with the same, written anew."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        text = json.dumps(json.loads(message["text"]))
        await send({"type": "websocket.send", "text": text})


async def serve_echo() -> None:
    """Serve it on uvicorn with `websockets`, as a bare application would."""
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(2048)
        print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
        config = uvicorn.Config(
            echo, log_config=None, lifespan="off", ws="websockets", http="h11"
        )
        await uvicorn.Server(config).serve([listener])


async def serve_gateway(home: Path) -> None:
    """Serve a gateway, with two methods more than it has."""
    from rustyclaw import (
        Caller,
        Finished,
        Gateway,
        Method,
        ModelRequest,
        RunEnded,
        StreamEvent,
        TextDelta,
    )
    from rustyclaw.testing import FakeProvider
    from rustyclaw_server.plugin import ServerPlugin

    class Model(FakeProvider):
        async def stream(self, request: ModelRequest) -> AsyncIterator[StreamEvent]:
            if (
                request.messages[-1].text == "slowly"
            ):  # for the drain that a bench wants
                await anyio.sleep(10)
            yield TextDelta(text="an answer")
            yield Finished()

    made: list[ServerPlugin] = []

    class Plugin(ServerPlugin):
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            made.append(self)

    async def shout(params: Mapping[str, Any], caller: Caller) -> int:
        hub = made[0]._server.hub  # type: ignore[union-attr]
        for _ in range(params["times"]):
            hub.broadcast("hook", {"text": "x" * params["bytes"]}, droppable=True)
            await anyio.lowlevel.checkpoint()
        return len(hub)

    async def in_process(params: Mapping[str, Any], caller: Caller) -> float:
        samples = []
        for _ in range(params["times"]):
            started = time.perf_counter()
            json.dumps(await gateway.call("health", {}))
            samples.append(time.perf_counter() - started)
        return sorted(samples)[len(samples) // 2]

    async def turns(params: Mapping[str, Any], caller: Caller) -> int:
        for number in range(params["times"]):
            session = f"s{number % 20}"
            if number % 400 < 20:  # else each turn would be longer than the last
                await gateway.reset(session)
            async for event in gateway.run("hello", session=session):
                if isinstance(event, RunEnded):
                    assert event.result.error is None
        return params["times"]

    section = {"port": 0, "auth": {"token": TOKEN}}
    gateway = Gateway(
        {"agents": {"defaults": {"model": "fake/fake"}}, "hooks": {"server": section}},
        home=home,
        channels=True,
        plugins={"providers.fake": Model(), "hooks.server": Plugin},
        discover=False,
    )
    async with gateway:
        for function in (shout, in_process, turns):
            name = f"bench.{function.__name__}"
            method = Method(name=name, handler=function, scope="operator.admin")
            gateway.methods.add(method, owner="bench")
        url = json.loads((home / "gateway.json").read_text())["url"]
        print(json.dumps({"port": int(url.rpartition(":")[2])}), flush=True)
        await gateway.serve()


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    if sys.argv[1] == "--echo":
        anyio.run(serve_echo)
    else:
        anyio.run(serve_gateway, Path(sys.argv[1]))
