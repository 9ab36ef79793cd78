"""The answer of a vendor while it comes in, and what its failures mean."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from math import inf
from typing import Generic, TypeVar, cast

import anyio
import httpx
from rustyclaw import ProviderError

from rustyclaw_http.classify import Kind
from rustyclaw_http.decoding import Decoder, Inflater, NotReadable, TooLarge

Item = TypeVar("Item")


class Translated:
    """Turns what the HTTP library raises into a `ProviderError`."""

    def __init__(self, error: Callable[[str, Kind], ProviderError]) -> None:
        self._error = error

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, exc: BaseException | None, __: object) -> None:
        found = _meaning(exc)
        if found is not None:
            raise self._error(*found) from exc


def _meaning(exc: BaseException | None) -> tuple[str, Kind] | None:
    """Return what an exception means, in words and as a kind."""
    reason = str(exc) or type(exc).__name__
    match exc:
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            return "could not be reached in time", "timeout"
        case httpx.TimeoutException():
            return "fell silent", "timeout"
        case TimeoutError():
            return "did not finish its answer in time", "timeout"
        case TooLarge():
            return f"sent more than {reason} bytes as one event", "format"
        case NotReadable():
            return f"sent what cannot be read: {reason}", "timeout"
        case httpx.ConnectError() if "certificate" in reason.lower():
            return f"has no certificate that can be trusted: {reason}", "unknown"
        case httpx.ConnectError() | httpx.ProxyError():
            return f"cannot be reached: {reason}", "timeout"
        case httpx.TransportError():
            return f"broke off: {reason}", "timeout"
        case httpx.HTTPError() | httpx.InvalidURL():
            return f"cannot be called: {reason}", "format"
    return None


class Body:
    """The bytes of an answer, decompressed if need be."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._stream = cast("httpx.AsyncByteStream", response.stream)
        self._raw = aiter(self._stream)
        self._inflater: Inflater | None = None

    async def receive(self) -> Iterator[bytes] | None:
        """Return what has come, in pieces of bounded size; ``None`` at the end.

        :raises NotReadable: It cannot be decompressed.
        """
        if self._inflater is None:
            encoding = self.response.headers.get("content-encoding", "")
            self._inflater = Inflater(encoding.strip().lower())
        async for chunk in self._raw:
            return self._inflater.feed(chunk)
        return None

    async def read(self, limit: int) -> bytes:
        """Return all of it, or the beginning of what is longer than the limit."""
        data = bytearray()
        while len(data) < limit and (pieces := await self.receive()) is not None:
            for piece in pieces:
                data += piece[: limit - len(data)]
        return bytes(data)

    async def aclose(self) -> None:
        """Close the connection if the answer was not read to its end.

        Below are async generators of the HTTP library, which nobody closes: asked
        once more, they find the connection closed and end, instead of being
        finalised later by the event loop (of which trio complains).
        """
        await self._stream.aclose()
        with suppress(httpx.HTTPError, httpx.StreamError):
            async for _ in self._raw:
                pass


class Stream(Generic[Item]):
    """What a vendor streams, item by item.

    :param seconds: How long the vendor may be waited for, all in all. The time in
        which the reader does something else does not count.
    """

    def __init__(
        self, body: Body, decoder: Decoder[Item], translated: Translated, seconds: float
    ) -> None:
        self._body = body
        self._decoder = decoder
        self._translated = translated
        self._items: deque[Item] = deque()
        self._left = seconds
        self._end = inf
        self._ended = False
        self._failure: Exception | None = None

    def wind_down(self, seconds: float) -> None:
        """Say that the answer is whole: what still comes may come for so long.

        From now on the stream ends quietly, also when it breaks off. A stream that
        is read to its end leaves a connection that the next request uses again.
        """
        self._end = min(self._end, anyio.current_time() + seconds)

    def __aiter__(self) -> Stream[Item]:
        return self

    async def __anext__(self) -> Item:
        """Return the next item.

        :raises ProviderError: The stream broke off, fell silent, or does not end.
        """
        started = anyio.current_time()
        if started >= self._end:
            raise StopAsyncIteration
        if self._items:
            return self._items.popleft()
        try:
            with self._translated:
                # `fail_after` is two generators more, for each event
                left = min(self._left, self._end - started)
                with anyio.move_on_after(left) as waiting:
                    while not (self._items or self._ended):
                        await self._receive()
                if waiting.cancelled_caught:
                    raise TimeoutError
        except ProviderError:
            if self._end < inf:
                raise StopAsyncIteration from None
            raise
        finally:
            self._left -= anyio.current_time() - started
        if not self._items:
            raise StopAsyncIteration
        return self._items.popleft()

    async def _receive(self) -> None:
        """Take what has come; what cannot be read fails after what can be."""
        if self._failure is not None:
            raise self._failure
        pieces = await self._body.receive()
        try:
            for piece in pieces or ():
                self._items.extend(self._decoder.feed(piece))
            if pieces is None:
                self._ended = True
                self._items.extend(self._decoder.flush())
        except (NotReadable, TooLarge) as exc:
            self._failure, self._ended = exc, False
            if not self._items:
                raise
