"""A real HTTP server on this machine, and a way to call the tools."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream
from rustyclaw import ToolCall, ToolContext, ToolResult
from rustyclaw_web.tools import WebTools

Call = Callable[..., Awaitable[ToolResult]]


@dataclass(kw_only=True)
class Request:
    """What a client sent."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes


@dataclass(kw_only=True)
class Reply:
    """What the server says; ``hang`` keeps the connection open in silence."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    hang: bool = False
    hang_after: bool = False
    disconnect: bool = False


class WebServer:
    """A server whose pages are in ``pages``, or that asks ``reply``."""

    def __init__(self) -> None:
        self.pages: dict[str, Reply] = {}
        self.reply: Callable[[Request], Reply] = lambda request: self.pages.get(
            request.path, Reply(status=404, body=b"no such page")
        )
        self.requests: list[Request] = []
        self.port = 0

    @property
    def url(self) -> str:
        """Return the address without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def page(self, path: str, body: str | bytes, media_type: str = "text/html") -> str:
        """Add a page; return its URL."""
        content = body.encode() if isinstance(body, str) else body
        headers = {"Content-Type": media_type} if media_type else {}
        self.pages[path] = Reply(headers=headers, body=content)
        return self.url + path

    @asynccontextmanager
    async def serve(self) -> AsyncGenerator[WebServer, None]:
        """Listen on a free port."""
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        self.port = listener.extra(SocketAttribute.local_port)
        async with listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, self._connection)
            yield self
            group.cancel_scope.cancel()

    async def _connection(self, stream: SocketStream) -> None:
        async with stream:
            try:
                request = await _read(BufferedByteReceiveStream(stream))
                self.requests.append(request)
                await self._answer(stream, self.reply(request))
            except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
                pass  # the client has left

    async def _answer(self, stream: SocketStream, reply: Reply) -> None:
        if reply.disconnect:
            return
        if reply.hang:
            await anyio.sleep_forever()
        headers = {"Content-Length": str(len(reply.body)), **reply.headers}
        head = [
            f"HTTP/1.1 {reply.status} X",
            *(f"{k}: {v}" for k, v in headers.items()),
        ]
        await stream.send("\r\n".join([*head, "", ""]).encode() + reply.body)
        if reply.hang_after:
            await anyio.sleep_forever()


async def _read(stream: BufferedByteReceiveStream) -> Request:
    head = (await stream.receive_until(b"\r\n\r\n", 65_536)).decode()
    first, *lines = head.split("\r\n")
    method, target, _ = first.split(" ")
    headers = {
        k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)
    }
    length = int(headers.get("content-length", 0))
    parts = urlsplit(target)
    return Request(
        method=method,
        path=parts.path,
        query=parse_qs(parts.query),
        headers=headers,
        body=await stream.receive_exactly(length) if length else b"",
    )


@pytest.fixture
async def web(anyio_backend: Any) -> AsyncGenerator[WebServer, None]:
    """Yield a running server."""
    async with WebServer().serve() as server:
        yield server


@pytest.fixture
def call_with(tool_context: ToolContext) -> Callable[..., Call]:
    """Return what makes a ``call`` for a config."""

    def make(**config: Any) -> Call:
        toolset = WebTools(WebTools.Config.model_validate(config))
        tools = {tool.name: tool for tool in toolset.tools()}

        async def call(name: str, **arguments: Any) -> ToolResult:
            tool = tools[f"web_{name}"]
            request = ToolCall(id="call_1", name=tool.name, arguments=arguments)
            return await tool.run(tool.parse(request), tool_context)

        return call

    return make


@pytest.fixture
def call(call_with: Callable[..., Call], web: WebServer) -> Call:
    """Return ``await call("fetch", url=...)``, which may reach the server."""
    return call_with(egress={"allowed_hosts": [f"127.0.0.1:{web.port}"]})
