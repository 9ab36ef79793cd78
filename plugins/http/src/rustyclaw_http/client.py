"""The connections to a vendor, and what is asked through them.

Whatever goes wrong on the way becomes a `ProviderError`: refused, redirected, cut off,
silent, endless, no stream at all. Only this module, `exchange` and what is below them
know the library.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import anyio
import anyio.to_thread
import httpx
from rustyclaw import ProviderError

from rustyclaw_http.classify import Kind
from rustyclaw_http.config import ProviderConfig
from rustyclaw_http.decoding import (
    Decoder,
    EventDecoder,
    JsonLineDecoder,
    NotReadable,
    ServerSentEvent,
    decoded,
)
from rustyclaw_http.encoding import encode
from rustyclaw_http.errors import error_from_answer, masked
from rustyclaw_http.exchange import Body, Item, Stream, Translated
from rustyclaw_http.lines import Lines

logger = logging.getLogger(__name__)

#: Upper bounds of bytes: of one event or line of a stream; of any other answer.
MAX_EVENT_BYTES = 8 * 1024 * 1024
MAX_BODY_BYTES = 8 * 1024 * 1024
_MAX_ERROR_BYTES = 64 * 1024
_CLOSING_SECONDS = 2.0
_HEADERS = {"user-agent": "rustyclaw"}
_IDENTITY = {"accept-encoding": "identity"}  # a compressed stream stutters


class VendorClient:
    """The connections of one opened provider; the first request creates them.

    :param provider: Entry-point name, for messages.
    :param secrets: Values that no message may contain.
    """

    def __init__(
        self, provider: str, config: ProviderConfig, secrets: Iterable[str] = ()
    ) -> None:
        self.provider = provider
        self._own_headers = {
            name.lower(): value.get_secret_value()
            for name, value in config.headers.items()
        }
        self.secrets = {
            *secrets,
            *self._own_headers.values(),
            _password(config.proxy.get_secret_value() if config.proxy else ""),
        }
        self.config = config
        self._timeouts = httpx.Timeout(
            config.idle_timeout_seconds, connect=config.connect_timeout_seconds
        ).as_dict()
        self._transports: dict[str, httpx.AsyncBaseTransport] = {}

    async def aclose(self) -> None:
        """Close all connections."""
        transports, self._transports = self._transports, {}
        for transport in transports.values():
            await transport.aclose()

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
        request = httpx.Request("GET", url, headers=self._headers(headers))
        async with self._send(request) as body:
            await self._check_type(body, "application/json")
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
        request = httpx.Request(
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
            await self._check_type(body, *types)
            spent = anyio.current_time() - started
            left = self.config.total_timeout_seconds - spent
            yield Stream(body, decoder, self.translated(), left)

    @asynccontextmanager
    async def _send(self, request: httpx.Request) -> AsyncIterator[Body]:
        """Send a request; the body of the answer is not read yet.

        :raises ProviderError: The answer is not 200.
        """
        request.extensions["timeout"] = self._timeouts
        with self.translated():
            with anyio.fail_after(self.config.total_timeout_seconds):
                transport = await self._transport(request.url)
                response = await transport.handle_async_request(request)
        body = Body(response)
        try:
            if response.status_code != 200:
                raise await self._refusal(body)
            yield body
        finally:
            with anyio.move_on_after(_CLOSING_SECONDS, shield=True):
                await body.aclose()

    async def _refusal(self, body: Body) -> ProviderError:
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
        except (httpx.HTTPError, NotReadable):
            logger.debug("the body of an error could not be read", exc_info=True)
        return error_from_answer(
            self.provider,
            status=status,
            body=said,
            headers={name.lower(): value for name, value in response.headers.items()},
            secrets=self.secrets,
        )

    async def _check_type(self, body: Body, *types: str) -> None:
        """Refuse a success that is something else, such as the page of a proxy."""
        found = body.response.headers.get("content-type", "").partition(";")[0].strip()
        if found.lower() in types:
            return
        if found.lower() == "application/json":  # an error that calls itself 200
            refused = await self._refusal(body)
            if refused.kind != "unknown":
                raise refused
        # Retryable: it is a gateway on the way that has a fault.
        raise self.error(
            f"answered with {found or 'no content type'!r}, not {types[0]!r}; "
            f"check `providers.{self.provider}.base_url`",
            "timeout",
            status=200,
        )

    def _headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return all headers by their names in lower case."""
        return {**_HEADERS, **headers, **self._own_headers, **_IDENTITY}

    async def _transport(self, url: httpx.URL) -> httpx.AsyncBaseTransport:
        """Return the connections that lead to an address, made when first needed."""
        proxy = self._proxy(url)
        if proxy not in self._transports:
            trust = await anyio.to_thread.run_sync(_trust)
            self._transports.setdefault(proxy, Lines(trust, proxy))
        return self._transports[proxy]

    def _proxy(self, url: httpx.URL) -> str:
        """Return the proxy for an address; empty: there is none."""
        if self.config.proxy is not None:
            return self.config.proxy.get_secret_value()
        if not self.config.environment_proxy or proxy_bypass(url.host):
            return ""
        found = getproxies()
        proxy = found.get(url.scheme) or found.get("all") or ""
        return proxy if "://" in proxy or not proxy else f"http://{proxy}"

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

    def translated(self) -> Translated:
        """Return a context in which only errors of this provider are raised."""
        return Translated(self.error)


def _password(url: str) -> str:
    """Return the password within a URL, or an empty text."""
    return urlsplit(url).password or ""


@cache
def _trust() -> ssl.SSLContext:
    """Return what all providers trust: the certificates of the operating system.

    Reading them takes a tenth of a second and some megabytes, so it is done in a
    thread, and once.
    """
    return httpx.create_ssl_context()
