"""The client: ``async with Egress(policy) as egress: await egress.fetch(...)``."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import anyio
import httpx
from rustyclaw import __version__

from rustyclaw_egress.addresses import Address
from rustyclaw_egress.answers import Answer, Incoming, close
from rustyclaw_egress.decoding import ACCEPT_ENCODING
from rustyclaw_egress.errors import FetchFailed, Refused
from rustyclaw_egress.policy import EgressPolicy
from rustyclaw_egress.resolving import Resolver, system_resolver
from rustyclaw_egress.transport import GuardedTransport
from rustyclaw_egress.urls import Destination, join, parse

USER_AGENT = f"rustyclaw/{__version__}"

_REDIRECTS = (301, 302, 303, 307, 308)
#: All that another origin is told; whatever else was given may be a credential.
_HARMLESS = ("accept", "accept-language", "user-agent")
_CLOSE_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A URL that may be fetched, and where its host is at the moment."""

    destination: Destination
    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hop:
    """One request of a fetch."""

    method: str
    destination: Destination
    headers: Mapping[str, str]
    content: bytes

    def request(self, connect_timeout_seconds: float) -> httpx.Request:
        """Return it as httpx wants it."""
        headers = {
            "accept": "*/*",
            "user-agent": USER_AGENT,
            **self.headers,
            "accept-encoding": ACCEPT_ENCODING,
            "connection": "close",
        }
        timeouts = httpx.Timeout(None, connect=connect_timeout_seconds).as_dict()
        return httpx.Request(
            self.method,
            self.destination.url,
            headers=headers,
            content=self.content or None,
            extensions={"timeout": timeouts},
        )

    def next(self, status: int, location: str) -> _Hop:
        """Return where a redirect leads.

        :raises Refused: The URL is bad, or a body would go to another origin.
        """
        destination = join(self.destination, location)
        method, headers, content = self.method, self.headers, self.content
        if (status == 303 and method != "HEAD") or (
            status in (301, 302) and method == "POST"
        ):
            method, content = "GET", b""
            headers = {k: v for k, v in headers.items() if k != "content-type"}
        if destination.origin != self.destination.origin:
            headers = {k: v for k, v in headers.items() if k in _HARMLESS}
            if content:
                raise Refused(
                    "redirects",
                    f"host {self.destination.host!r} hands the request on to another "
                    f"server, {destination.host!r}; send it there yourself",
                )
        return _Hop(
            method=method, destination=destination, headers=headers, content=content
        )


class Egress:
    """Fetches what a policy allows.

    :param policy: The settings; by default only public addresses.
    :param resolver: Looks names up.
    :param inner: What sends a request whose host is an address; for tests.
    """

    def __init__(
        self,
        policy: EgressPolicy | None = None,
        *,
        resolver: Resolver = system_resolver,
        inner: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.policy = policy or EgressPolicy()
        self._transport = GuardedTransport(self.policy, resolver=resolver, inner=inner)

    async def __aenter__(self) -> Self:
        """Open nothing yet."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close all connections."""
        with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
            await self._transport.aclose()

    async def check_url(self, url: str) -> Checked:
        """Judge a URL without fetching it.

        Whoever connects by himself afterwards must use one of the addresses.

        :raises Refused: It may not be fetched.
        """
        destination = parse(url)
        addresses = await self._transport.addresses(destination)
        return Checked(destination=destination, addresses=addresses)

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        max_bytes: int | None = None,
        timeout_seconds: float | None = None,
        truncate: bool = False,
    ) -> Answer:
        """Fetch a URL with its redirects and return the whole answer.

        :param max_bytes: Smaller than the policy's, or ``None``.
        :param timeout_seconds: Smaller than the policy's, or ``None``.
        :param truncate: Return the beginning of a body that is too long or too
            slow instead of failing.
        :raises Refused: The policy forbids it.
        :raises FetchFailed: It went wrong.
        """
        async with self.stream(
            method,
            url,
            headers=headers,
            content=content,
            max_bytes=max_bytes,
            timeout_seconds=timeout_seconds,
        ) as incoming:
            return await incoming.read(truncate=truncate)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        max_bytes: int | None = None,
        timeout_seconds: float | None = None,
    ) -> AsyncIterator[Incoming]:
        """Fetch a URL with its redirects; the body is read as it comes.

        Parameters and errors are those of `fetch`; the time includes what the
        caller needs between two pieces.
        """
        policy = self.policy
        seconds = min(timeout_seconds or policy.timeout_seconds, policy.timeout_seconds)
        limit = policy.max_bytes
        limit = limit if max_bytes is None else min(max_bytes, limit)
        deadline = anyio.current_time() + seconds
        hop = _Hop(
            method=method.upper(),
            destination=parse(url),
            headers={name.lower(): value for name, value in (headers or {}).items()},
            content=content,
        )
        response, hop, redirects = await self._follow(hop, deadline)
        async with (
            aclosing(response),
            aclosing(
                Incoming(
                    response,
                    url=hop.destination.url,
                    redirects=redirects,
                    deadline=deadline,
                    max_bytes=limit,
                )
            ) as incoming,
        ):
            yield incoming

    async def _follow(
        self, hop: _Hop, deadline: float
    ) -> tuple[httpx.Response, _Hop, tuple[str, ...]]:
        redirects: list[str] = []
        while True:
            response = await self._send(hop, deadline)
            location = response.headers.get("location")
            if response.status_code not in _REDIRECTS or location is None:
                return response, hop, tuple(redirects)
            await close(response)
            if len(redirects) >= self.policy.max_redirects:
                raise Refused(
                    "redirects",
                    f"host {hop.destination.host!r} redirects more than "
                    f"{self.policy.max_redirects} times",
                )
            redirects.append(hop.destination.url)
            hop = hop.next(response.status_code, _text(response, location))

    async def _send(self, hop: _Hop, deadline: float) -> httpx.Response:
        host = hop.destination.host
        request = hop.request(self.policy.connect_timeout_seconds)
        try:
            with anyio.fail_after(max(0.0, deadline - anyio.current_time())):
                response = await self._transport.handle_async_request(request)
        except (TimeoutError, httpx.TimeoutException):
            raise FetchFailed(
                "timeout", f"host {host!r} did not answer in time"
            ) from None
        except httpx.ConnectError as exc:
            raise _not_connected(host, exc) from exc
        except httpx.HTTPError as exc:
            raise FetchFailed(
                "protocol", f"host {host!r} broke off or does not speak HTTP"
            ) from exc
        size = sum(len(k) + len(v) + 4 for k, v in response.headers.raw)
        if size > self.policy.max_header_bytes:
            await close(response)
            raise FetchFailed("headers", f"host {host!r} sent {size} bytes of headers")
        return response


def _text(response: httpx.Response, location: str) -> str:
    """Return a Location as it was meant: servers send UTF-8, httpx may guess."""
    raw = next(v for k, v in response.headers.raw if k.lower() == b"location")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return location


def _not_connected(host: str, exc: BaseException) -> FetchFailed:
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return FetchFailed("tls", f"host {host!r} has no valid certificate for TLS")
        cause = cause.__cause__ or cause.__context__
    return FetchFailed("connect", f"host {host!r} cannot be connected to")
