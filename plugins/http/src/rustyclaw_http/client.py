"""One exchange with a vendor: a request, and an answer that is streamed.

The only module that imports the HTTP library. What can go wrong on the way becomes a
`ProviderError` here: refused, redirected, cut off, silent, endless, no stream at all.
"""

from __future__ import annotations

import json
import logging
import ssl
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import cache
from math import inf, isfinite
from typing import Any, Generic, TypeVar

import anyio
import anyio.to_thread
import httpx2
from rustyclaw import ProviderError

from rustyclaw_http.classify import Kind
from rustyclaw_http.config import ProviderConfig
from rustyclaw_http.decoding import (
    Decoder,
    EventDecoder,
    Inflater,
    JsonLineDecoder,
    NotReadable,
    ServerSentEvent,
    TooLarge,
    decoded,
)
from rustyclaw_http.errors import error_from_answer, masked

logger = logging.getLogger(__name__)

#: Upper bounds of bytes: of one event or line of a stream; of any other answer.
MAX_EVENT_BYTES = 8 * 1024 * 1024
MAX_BODY_BYTES = 8 * 1024 * 1024
_MAX_ERROR_BYTES = 64 * 1024
_CLOSING_SECONDS = 2.0
_LIMITS = httpx2.Limits(
    max_connections=64, max_keepalive_connections=8, keepalive_expiry=30.0
)

Item = TypeVar("Item")


class VendorClient:
    """The connections of one opened provider; the first request creates them.

    :param provider: Entry-point name, for messages.
    :param secrets: Values that no message may contain.
    """

    def __init__(
        self, provider: str, config: ProviderConfig, secrets: Iterable[str] = ()
    ) -> None:
        self.provider = provider
        self.secrets = {
            *secrets,
            *(value.get_secret_value() for value in config.headers.values()),
        }
        self.config = config
        self._client: httpx2.AsyncClient | None = None

    async def aclose(self) -> None:
        """Close all connections."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    @asynccontextmanager
    async def post_stream(
        self, url: str, body: Any, headers: Mapping[str, str]
    ) -> AsyncIterator[Stream[ServerSentEvent]]:
        """Post JSON; the answer is a stream of server-sent events.

        Leaving the context closes the connection, unless the stream was read to its
        end; then the next request uses it again.

        :raises ProviderError: The vendor refused, or the connection failed.
        """
        decoder = EventDecoder(MAX_EVENT_BYTES)
        async with self._post(url, body, headers, decoder, "text/event-stream") as it:
            yield it

    @asynccontextmanager
    async def post_lines(
        self, url: str, body: Any, headers: Mapping[str, str]
    ) -> AsyncIterator[Stream[Any]]:
        """Post JSON; the answer is a stream of JSON values, one a line (Ollama).

        :raises ProviderError: As `post_stream`.
        """
        decoder = JsonLineDecoder(MAX_EVENT_BYTES)
        types = ("application/x-ndjson", "application/json")
        async with self._post(url, body, headers, decoder, *types) as it:
            yield it

    async def get_json(self, url: str, headers: Mapping[str, str]) -> Any:
        """Return the JSON that stands at an address.

        :raises ProviderError: As `post_stream`.
        """
        http = await self._http()
        request = http.build_request("GET", url, headers=self._headers(headers))
        async with self._send(request) as body:
            self._check_type(body, "application/json")
            with self.translated():
                with anyio.fail_after(self.config.idle_timeout_seconds):
                    return decoded(await body.read(MAX_BODY_BYTES))

    # --- On the wire --------------------------------------------------------------

    @asynccontextmanager
    async def _post(
        self,
        url: str,
        content: Any,
        headers: Mapping[str, str],
        decoder: Decoder[Item],
        *types: str,
    ) -> AsyncIterator[Stream[Item]]:
        started = anyio.current_time()
        http = await self._http()
        request = http.build_request(
            "POST",
            url,
            content=encode(content),
            headers={
                "content-type": "application/json",
                "accept": types[0],
                **self._headers(headers),
            },
        )
        async with self._send(request) as body:
            self._check_type(body, *types)
            spent = anyio.current_time() - started
            yield Stream(self, body, decoder, spent=spent)

    @asynccontextmanager
    async def _send(self, request: httpx2.Request) -> AsyncIterator[_Body]:
        """Send a request; the body of the answer is not read yet.

        :raises ProviderError: The answer is not 200.
        """
        request.headers["accept-encoding"] = "identity"  # a compressed stream stutters
        with self.translated():
            with anyio.fail_after(self.config.total_timeout_seconds):
                http = await self._http()
                response = await http.send(request, stream=True)
        body = _Body(response)
        try:
            if response.status_code != 200:
                raise await self._refusal(body)
            yield body
        finally:
            with anyio.move_on_after(_CLOSING_SECONDS, shield=True):
                await body.aclose()

    async def _refusal(self, body: _Body) -> ProviderError:
        """Return what an answer says that is no success."""
        response, said = body.response, b""
        status = response.status_code
        if response.is_redirect:  # the key must not follow it
            text = f"it redirects to {response.headers.get('location', 'nowhere')!r}, "
            text += f"which is not followed: check `providers.{self.provider}.base_url`"
            return self.error(f"answered {status}: {text}", "format", status=status)
        try:
            with anyio.move_on_after(self.config.idle_timeout_seconds):
                said = await body.read(_MAX_ERROR_BYTES)
        except (httpx2.HTTPError, NotReadable):
            logger.debug("the body of an error could not be read", exc_info=True)
        return error_from_answer(
            self.provider,
            status=status,
            body=said,
            headers={name.lower(): value for name, value in response.headers.items()},
            secrets=self.secrets,
        )

    def _check_type(self, body: _Body, *types: str) -> None:
        """Refuse a success that is something else, such as the page of a proxy."""
        found = body.response.headers.get("content-type", "").partition(";")[0].strip()
        if found.lower() not in types:
            # Retryable: it is a gateway on the way that has a fault.
            raise self.error(
                f"answered with {found or 'no content type'!r}, not {types[0]!r}; "
                f"check `providers.{self.provider}.base_url`",
                "timeout",
                status=200,
            )

    def _headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        own = self.config.headers.items()
        return {**headers, **{name: v.get_secret_value() for name, v in own}}

    async def _http(self) -> httpx2.AsyncClient:
        trust = await anyio.to_thread.run_sync(_trust)
        if self._client is None:
            config = self.config
            proxy = config.proxy.get_secret_value() if config.proxy else None
            timeout = httpx2.Timeout(
                config.idle_timeout_seconds, connect=config.connect_timeout_seconds
            )
            self._client = httpx2.AsyncClient(
                timeout=timeout,
                limits=_LIMITS,
                proxy=proxy,
                verify=trust,
                trust_env=config.environment_proxy,
                follow_redirects=False,
                headers={"user-agent": "rustyclaw"},
            )
        return self._client

    # --- Failures -----------------------------------------------------------------

    def vendor_error(self, body: Mapping[str, Any] | str) -> ProviderError:
        """Return the error that a vendor reports within a stream."""
        return error_from_answer(
            self.provider, status=None, body=body, secrets=self.secrets
        )

    def error(
        self, text: str, kind: Kind, *, status: int | None = None
    ) -> ProviderError:
        """Return an error of this provider."""
        return ProviderError(
            masked(f"provider {self.provider!r} {text}", self.secrets),
            kind=kind,
            provider=self.provider,
            status=status,
        )

    def translated(self) -> _Translated:
        return _Translated(self)


@cache
def _trust() -> ssl.SSLContext:
    """Return what all providers trust: the certificates of the operating system.

    Reading them takes a tenth of a second and some megabytes, so it is done in a
    thread, and once.
    """
    return httpx2.create_ssl_context()


class _Translated:
    """Turns what the HTTP library raises into a `ProviderError`."""

    def __init__(self, client: VendorClient) -> None:
        self._client = client

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, exc: BaseException | None, __: object) -> None:
        found = _meaning(exc)
        if found is not None:
            raise self._client.error(*found) from exc


def _meaning(exc: BaseException | None) -> tuple[str, Kind] | None:
    """Return what an exception means, in words and as a kind."""
    reason = str(exc) or type(exc).__name__
    match exc:
        case httpx2.ConnectTimeout() | httpx2.PoolTimeout():
            return "could not be reached in time", "timeout"
        case httpx2.TimeoutException():
            return "fell silent", "timeout"
        case TimeoutError():
            return "did not finish its answer in time", "timeout"
        case TooLarge():
            return f"sent more than {MAX_EVENT_BYTES} bytes as one event", "format"
        case NotReadable():
            return f"sent what cannot be read: {reason}", "timeout"
        case httpx2.ConnectError() if "certificate" in reason.lower():
            return f"has no certificate that can be trusted: {reason}", "unknown"
        case httpx2.ConnectError() | httpx2.ProxyError():
            return f"cannot be reached: {reason}", "timeout"
        case httpx2.TransportError():
            return f"broke off: {reason}", "timeout"
        case httpx2.HTTPError() | httpx2.InvalidURL():
            return f"cannot be called: {reason}", "format"
    return None


class _Body:
    """The bytes of an answer, decompressed if need be."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self._raw = response.aiter_raw()
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
        await self.response.aclose()
        with suppress(httpx2.HTTPError, httpx2.StreamError):
            async for _ in self._raw:
                pass


class Stream(Generic[Item]):
    """What a vendor streams, item by item.

    :param spent: Seconds that were waited already. The time in which the reader does
        something else does not count.
    """

    def __init__(
        self, client: VendorClient, body: _Body, decoder: Decoder[Item], *, spent: float
    ) -> None:
        self._client = client
        self._body = body
        self._decoder = decoder
        self._items: deque[Item] = deque()
        self._left = client.config.total_timeout_seconds - spent
        self._end = inf
        self._ended = False

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
        try:
            with self._client.translated():
                with anyio.fail_after(min(self._left, self._end - started)):
                    while not self._items and not self._ended:
                        await self._receive()
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
        pieces = await self._body.receive()
        for piece in pieces or ():
            self._items.extend(self._decoder.feed(piece))
        if pieces is None:
            self._ended = True
            self._items.extend(self._decoder.flush())


def encode(body: Any) -> bytes:
    """Return a body as JSON that every vendor takes.

    Half surrogates become question marks, and NaN and infinities ``null``: both may
    stand in a transcript, and would make a vendor refuse all of it.
    """
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(body), ensure_ascii=False)
    return text.encode(errors="replace")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [*map(_finite, value)] if isinstance(value, list | tuple) else value
