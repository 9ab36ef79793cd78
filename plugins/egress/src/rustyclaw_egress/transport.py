"""A transport for httpx that only connects to addresses it has judged.

Whoever must hand an `httpx.AsyncClient` to another library gives it this
transport; then each of its requests, redirects included, is looked up once,
judged, and sent to exactly the address that was judged. TLS and the Host header
keep the name. No proxy is used, whatever the environment says.
"""

from __future__ import annotations

import ssl
from functools import lru_cache

import anyio
import httpx

from rustyclaw_egress.addresses import Address
from rustyclaw_egress.errors import FetchFailed
from rustyclaw_egress.policy import EgressPolicy
from rustyclaw_egress.resolving import Resolver, resolve, system_resolver
from rustyclaw_egress.urls import Destination, parse

MAX_ADDRESSES = 4  # tried one after another if a connection fails


@lru_cache(maxsize=1)
def trusted() -> ssl.SSLContext:
    """Return the context for TLS; to make one takes some ten milliseconds."""
    return httpx.create_ssl_context()


class GuardedTransport(httpx.AsyncBaseTransport):
    """Judges each request by a policy and pins its connection.

    :param policy: What is allowed.
    :param resolver: Looks names up.
    :param inner: What sends a request whose host is an address; by default
        connections that are used once, since a pool would lend one that was
        opened for one name to another name at the same address.
    """

    def __init__(
        self,
        policy: EgressPolicy | None = None,
        *,
        resolver: Resolver = system_resolver,
        inner: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.policy = policy or EgressPolicy()
        self._resolver = resolver
        self._inner = inner

    async def addresses(self, destination: Destination) -> tuple[Address, ...]:
        """Judge a destination; return where it may be connected to.

        :raises Refused: It is not allowed.
        """
        self.policy.judge(destination)
        if destination.address is not None:
            return (destination.address,)
        found = await resolve(
            destination.host,
            resolver=self._resolver,
            timeout_seconds=self.policy.resolve_timeout_seconds,
        )
        self.policy.judge_addresses(destination, found)
        return found

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, if it is allowed.

        :raises Refused: It is not.
        :raises httpx.TransportError: It did not work.
        """
        destination = parse(str(request.url))
        found = (await self.addresses(destination))[:MAX_ADDRESSES]
        inner = await self._sender()
        for address in found[:-1]:
            try:
                return await inner.handle_async_request(
                    pinned(request, destination, address)
                )
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await inner.handle_async_request(pinned(request, destination, found[-1]))

    async def _sender(self) -> httpx.AsyncBaseTransport:
        if self._inner is None:
            context = await anyio.to_thread.run_sync(trusted)
            self._inner = httpx.AsyncHTTPTransport(
                verify=context,
                trust_env=False,
                limits=httpx.Limits(max_connections=100, max_keepalive_connections=0),
            )
        return self._inner

    async def aclose(self) -> None:
        """Close what is open."""
        if self._inner is not None:
            await self._inner.aclose()


def pinned(
    request: httpx.Request, destination: Destination, address: Address
) -> httpx.Request:
    """Return a request to an address that still asks for the name."""
    if not isinstance(request.stream, httpx.AsyncByteStream):
        raise FetchFailed("protocol", "the body of the request is not asynchronous")
    host = f"[{address}]" if address.version == 6 else str(address)
    extensions = dict(request.extensions)
    if destination.address is None:
        extensions["sni_hostname"] = destination.host
    headers = [(k, v) for k, v in request.headers.raw if k.lower() != b"host"]
    return httpx.Request(
        request.method,
        httpx.URL(
            scheme=destination.scheme,
            host=host,
            port=destination.port,
            raw_path=destination.resource.encode("ascii"),
        ),
        headers=[(b"Host", destination.authority.encode("ascii")), *headers],
        stream=request.stream,
        extensions=extensions,
    )
