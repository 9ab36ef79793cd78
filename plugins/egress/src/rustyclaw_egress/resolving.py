"""Looks a name up once, in bounded time; whatever goes wrong, there is no address."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address

import anyio

from rustyclaw_egress.addresses import Address
from rustyclaw_egress.errors import Refused

#: Takes a name in ASCII, returns all its addresses as text.
Resolver = Callable[[str], Awaitable[Sequence[str]]]


async def system_resolver(host: str) -> Sequence[str]:
    """Ask the system, in a thread of the event loop's."""
    found = await anyio.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


async def resolve(
    host: str, *, resolver: Resolver, timeout_seconds: float
) -> tuple[Address, ...]:
    """Return the addresses of a name, each once, in the resolver's order; or none.

    :raises Refused: The resolver failed, was late, or talked nonsense.
    """
    try:
        with anyio.fail_after(timeout_seconds):
            answers = await resolver(host)
        addresses = tuple(dict.fromkeys(ip_address(answer) for answer in answers))
    except TimeoutError:
        raise Refused("dns", f"looking up host {host!r} took too long") from None
    except Exception as exc:  # a resolver is a plug: whatever it raises, we refuse
        raise Refused("dns", f"host {host!r} cannot be looked up") from exc
    return addresses
