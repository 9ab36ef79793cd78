"""What a server answered: as it comes in, and as a whole."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Literal, cast

import anyio
import anyio.lowlevel
import httpx

from rustyclaw_egress.decoding import Decoder
from rustyclaw_egress.errors import FetchFailed

#: Headers, framing and empty blocks may come on top of what a limit allows.
_WIRE_ALLOWANCE = 65_536
_CLOSE_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer that was read.

    :param url: Where it came from, after redirects.
    :param headers: Names in lower case; repeated ones joined by commas.
    :param cut: Why ``content`` is only the beginning, if it is.
    """

    status: int
    url: str
    headers: Mapping[str, str]
    content: bytes
    redirects: tuple[str, ...] = ()
    cut: Literal["size", "timeout"] | None = None


class Incoming:
    """An answer whose headers are here and whose body is not.

    :param deadline: When its time is over, by the clock of anyio.
    :param max_bytes: Most bytes of the body, after decompression.
    """

    def __init__(
        self,
        response: httpx.Response,
        *,
        url: str,
        redirects: tuple[str, ...],
        deadline: float,
        max_bytes: int,
    ) -> None:
        self.status = response.status_code
        self.url = url
        self.redirects = redirects
        self.headers: Mapping[str, str] = dict(response.headers.items())
        self.max_bytes = max_bytes
        self._response = response
        self._deadline = deadline
        self._decoder = Decoder(self.headers.get("content-encoding", ""))
        self._chunks = self._decoded()

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """Return the pieces of the body, decompressed; only once.

        :raises FetchFailed: While iterating: it is too long, too late or broken.
            What was yielded before was right.
        """
        return self._chunks

    async def aclose(self) -> None:
        """Leave the rest unread, close the connection."""
        with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
            await self._chunks.aclose()
        await close(self._response)

    async def _decoded(self) -> AsyncGenerator[bytes, None]:
        wire = size = 0
        async with aclosing(self._raw()) as raw:
            async for data in raw:
                wire += len(data)
                for piece in self._decoder.feed(data):
                    room = self.max_bytes - size
                    size += len(piece)
                    yield piece[:room]
                    if size > self.max_bytes:
                        raise self._too_long()
                if wire > self.max_bytes + _WIRE_ALLOWANCE:
                    raise self._too_long()
        self._decoder.end()

    async def read(self, *, truncate: bool = False) -> Answer:
        """Return the whole answer.

        :param truncate: Return the beginning of what is too long or too slow
            instead of failing.
        :raises FetchFailed: As for `chunks`.
        """
        body = bytearray()
        cut: Literal["size", "timeout"] | None = None
        try:
            async for chunk in self._chunks:
                body += chunk
        except FetchFailed as exc:
            if not (truncate and body and exc.reason in ("size", "timeout")):
                raise
            cut = "size" if exc.reason == "size" else "timeout"
        return Answer(
            status=self.status,
            url=self.url,
            headers=self.headers,
            content=bytes(body),
            redirects=self.redirects,
            cut=cut,
        )

    async def _raw(self) -> AsyncGenerator[bytes, None]:
        # not `aiter_raw`, which can be had only once and keeps what it counts
        stream = cast("httpx.AsyncByteStream", self._response.stream)
        pieces = aiter(stream)
        try:
            while True:
                left = self._deadline - anyio.current_time()
                try:
                    with anyio.fail_after(max(0.0, left)):
                        data = await anext(pieces)
                except StopAsyncIteration:
                    return
                except (TimeoutError, httpx.TimeoutException):
                    raise FetchFailed("timeout", "the answer took too long") from None
                except httpx.HTTPError as exc:
                    raise FetchFailed(
                        "protocol", "the answer broke off or is not proper HTTP"
                    ) from exc
                yield data
        finally:
            await close(self._response)
            await _unwind(pieces)

    def _too_long(self) -> FetchFailed:
        return FetchFailed("size", f"the answer has over {self.max_bytes} bytes")


async def close(response: httpx.Response) -> None:
    """Close a connection, also when cancelled, in bounded time."""
    with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
        await response.aclose()


async def _unwind(pieces: AsyncIterator[bytes]) -> None:
    """Let the generators of a closed answer end.

    They are nested, and to close the outermost leaves the others to the garbage
    collector, of which trio complains. Now that their connection is gone, the next
    read makes all of them end.
    """
    with anyio.move_on_after(_CLOSE_SECONDS, shield=True), suppress(Exception):
        async for _ in pieces:
            await anyio.lowlevel.checkpoint()
