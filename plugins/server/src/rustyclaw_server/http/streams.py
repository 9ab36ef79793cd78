"""Answers that come piece by piece, and end at once when nobody reads them."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from starlette.responses import Response

from rustyclaw_server.http.answers import refused_by
from rustyclaw_server.wire.frames import dump
from rustyclaw_server.wire.http import ABORT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from rustyclaw_server.http.answers import Refused
    from rustyclaw_server.wire.socket import Receive, Scope, Send

logger = logging.getLogger(__name__)

T = TypeVar("T")
_CLOSING_SECONDS = 5.0


class Streamed(Response):
    """Sends what an iterator yields; closes it when it ends, or the client goes."""

    def __init__(
        self, pieces: AsyncIterator[bytes], status: int, headers: Mapping[str, str]
    ) -> None:
        super().__init__(None, status, dict(headers))
        del self.headers["content-length"]
        self._pieces = pieces
        self._started = self._done = False
        self._lock = anyio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        try:
            if scope["method"] == "HEAD":
                await self._send(send, b"", more=False)
                return
            async with anyio.create_task_group() as group:
                group.start_soon(_until_gone, receive, group.cancel_scope)
                group.start_soon(self._meanwhile, send)
                await self._pump(scope, receive, send)
                group.cancel_scope.cancel()
        finally:
            with (
                anyio.move_on_after(_CLOSING_SECONDS, shield=True),
                suppress(Exception),
            ):
                if close := getattr(self._pieces, "aclose", None):
                    await close()

    async def _pump(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async for piece in self._pieces:
                await self._send(send, piece)
            await self._send(send, b"", more=False)
        except Exception:
            logger.exception("a streamed answer failed")
            scope["extensions"][ABORT]()  # a clean end would look like the whole

    async def _meanwhile(self, send: Send) -> None:
        """Do something while there is nothing to send."""

    async def _send(self, send: Send, piece: bytes, *, more: bool = True) -> None:
        async with self._lock:
            if self._done:
                return
            self._done = not more
            if not self._started:
                self._started = True
                head = {"status": self.status_code, "headers": self.raw_headers}
                await send({"type": "http.response.start", **head})
            body: dict[str, Any] = {"body": piece, "more_body": more}
            await send({"type": "http.response.body", **body})


class EventStream(Streamed):
    """Server-sent events; comments keep it open while a run is silent.

    :param refused: Answers what is refused before anything was sent.
    :param failed: Says so in the stream if something was.
    """

    first_ping_seconds = 5.0
    ping_seconds = 15.0

    def __init__(
        self,
        pieces: AsyncIterator[bytes],
        refused: Callable[[Refused], Response],
        failed: Callable[[Refused], bytes],
    ) -> None:
        headers = {
            "content-type": "text/event-stream; charset=utf-8",
            "cache-control": "no-store",
            "x-accel-buffering": "no",  # or nginx would keep it until the end
        }
        super().__init__(pieces, 200, headers)
        self._refused, self._failed = refused, failed

    async def _pump(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async for piece in self._pieces:
                await self._send(send, piece)
        except Exception as exc:
            refused = refused_by(exc)
            if not self._started:
                self._started = self._done = True
                await self._refused(refused)(scope, receive, send)
                return
            await self._send(send, self._failed(refused))
        await self._send(send, b"data: [DONE]\n\n", more=False)

    async def _meanwhile(self, send: Send) -> None:
        await anyio.sleep(self.first_ping_seconds)
        while True:
            await self._send(send, b": working\n\n")
            await anyio.sleep(self.ping_seconds)


def sse(value: Any, event: str = "") -> bytes:
    """Return a server-sent event."""
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {dump(value)}\n\n".encode()


async def unless_gone(request: Request, work: Callable[[], Awaitable[T]]) -> T | None:
    """Do something for a client; ``None`` if it was cancelled because the client left.

    :raises Exception: What the work raises.
    """
    outcome: list[T] = []
    problem: list[Exception] = []
    async with anyio.create_task_group() as group:
        group.start_soon(_until_gone, request.receive, group.cancel_scope)
        try:
            outcome.append(await work())
        except Exception as exc:  # a task group would wrap it
            problem.append(exc)
        group.cancel_scope.cancel()
    if problem:
        raise problem[0]
    return outcome[0] if outcome else None


async def _until_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
