"""Where a caller is, and whether that is this machine.

Loopback is no credential: forwarding headers of a proxy that is not trusted make a
caller remote (OpenClaw's rule for "local", protocol sheet section 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

_FORWARDING = ("x-forwarded-for", "x-real-ip", "x-forwarded-host", "forwarded")
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Peer:
    """A caller's place.

    :param ip: Canonical text of its address; empty if it has none.
    :param is_local: It is on this machine, and nothing stands in between.
    :param is_proxy: The connection itself comes from a trusted proxy.
    """

    ip: str
    is_local: bool
    is_proxy: bool = False

    @property
    def bucket(self) -> str:
        """What limits count by: an IPv4 address, or an IPv6 network of 64 bits."""
        if ":" in self.ip:
            return str(ip_network(f"{self.ip}/64", strict=False))
        return self.ip

    def account(self, headers: Mapping[str, str]) -> str:
        """Return what failures are counted by; empty if they are not.

        Programs of this machine may fail as often as they like, pages in a browser
        of this machine may not. Elsewhere what a caller says of itself counts for
        nothing: it could say something else each time.
        """
        origin = headers.get("origin")
        if not self.is_local:
            return self.bucket or "?"
        return "" if origin is None else f"{self.bucket} page"


def peer_of(
    client: tuple[str, int] | None, headers: Mapping[str, str], trusted: Iterable[str]
) -> Peer:
    """Return where a request comes from.

    :param client: Address and port of the socket.
    :param headers: By lower-case name.
    :param trusted: Addresses or networks of proxies whose headers are believed.
    """
    ip = canonical(client[0]) if client else ""
    networks = tuple(trusted)
    if ip and _within(ip, networks):
        chain = headers.get("x-forwarded-for", "").split(",")
        hops = [hop for part in chain if (hop := canonical(part.strip()))]
        own = next((hop for hop in reversed(hops) if not _within(hop, networks)), "")
        real = own or canonical(headers.get("x-real-ip", "").strip())
        return Peer(real or ip, is_local=False, is_proxy=True)
    direct = not any(name in headers for name in _FORWARDING)
    return Peer(ip, is_local=direct and is_loopback(ip) and _is_local_host(headers))


def canonical(text: str) -> str:
    """Return an address in its one spelling; empty if it is none."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def is_loopback(ip: str) -> bool:
    """Return whether an address is of this machine."""
    return bool(ip) and ip_address(ip).is_loopback


def host_name(host: str) -> str:
    """Return the host of a ``Host`` header without its port, in lower case."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _is_local_host(headers: Mapping[str, str]) -> bool:
    name = host_name(headers.get("host", ""))
    return name in _LOCAL_NAMES or name.endswith(".ts.net")


@lru_cache(maxsize=1024)
def _within(ip: str, networks: tuple[str, ...]) -> bool:
    address = ip_address(ip)
    return any(address in ip_network(network, strict=False) for network in networks)
