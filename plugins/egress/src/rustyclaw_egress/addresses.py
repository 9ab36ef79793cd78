"""Which IP addresses are public: a table of our own.

``ipaddress.is_global`` changes with the version of Python and calls several of
these global (192.0.0.192, 2002:7f00:1::, 64:ff9b::7f00:1). Sources: the IANA
registries of special-purpose IPv4 and IPv6 addresses, RFC 6890 and its updates,
and the address documentation of cloud vendors. An IPv6 address that carries an
IPv4 address is judged by what it carries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

Address = IPv4Address | IPv6Address
Kind = Literal["private", "special", "metadata"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Special:
    """What an address is, if it is not public.

    :param kind: ``private``: a network of the operator's own; ``metadata``: where
        clouds hand out credentials; ``special``: everything else.
    """

    kind: Kind
    what: str


def _v4(kind: Kind, what: str, *ranges: str) -> Iterator[tuple[IPv4Network, Special]]:
    for text in ranges:
        yield IPv4Network(text), Special(kind=kind, what=what)


def _v6(kind: Kind, what: str, *ranges: str) -> Iterator[tuple[IPv6Network, Special]]:
    for text in ranges:
        yield IPv6Network(text), Special(kind=kind, what=what)


#: The first match counts, so what lies inside of another range comes first.
_V4 = (
    *_v4("metadata", "cloud metadata", "169.254.169.254/32", "169.254.170.0/24"),
    *_v4("metadata", "cloud metadata", "100.100.100.200/32", "192.0.0.192/32"),
    *_v4("metadata", "cloud metadata", "168.63.129.16/32"),
    *_v4("special", "this host", "0.0.0.0/8"),
    *_v4("private", "private", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
    *_v4("private", "carrier-grade NAT", "100.64.0.0/10"),
    *_v4("special", "loopback", "127.0.0.0/8"),
    *_v4("special", "link-local", "169.254.0.0/16"),
    *_v4("special", "reserved for protocols", "192.0.0.0/24", "192.88.99.0/24"),
    *_v4("special", "documentation", "192.0.2.0/24", "198.51.100.0/24"),
    *_v4("special", "documentation", "203.0.113.0/24"),
    *_v4("special", "benchmarking", "198.18.0.0/15"),
    *_v4("special", "multicast", "224.0.0.0/4"),
    *_v4("special", "reserved", "240.0.0.0/4"),
)
_V6 = (
    *_v6("metadata", "cloud metadata", "fd00:ec2::/32", "fd20:ce::/32"),
    *_v6("special", "unspecified", "::/128"),
    *_v6("special", "loopback", "::1/128"),
    *_v6("private", "unique local", "fc00::/7"),
    *_v6("special", "link-local", "fe80::/10"),
    *_v6("special", "site-local", "fec0::/10"),
    *_v6("special", "multicast", "ff00::/8"),
    *_v6("special", "reserved for protocols", "2001::/23"),
    *_v6("special", "documentation", "2001:db8::/32", "3fff::/20"),
    *_v6("special", "returned", "3ffe::/16"),
)
#: Only this is handed out to the public; everything else is reserved.
_GLOBAL_UNICAST = IPv6Network("2000::/3")

_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_6TO4 = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")
#: RFC 5214: an interface id of 0000:5efe or 0200:5efe, then the IPv4 address.
_ISATAP = 0x5EFE
_ISATAP_MASK = 0xFDFFFFFF


def special(address: Address) -> Special | None:
    """Return what an address is, or ``None`` if it is public."""
    if isinstance(address, IPv4Address):
        return next((found for net, found in _V4 if address in net), None)
    if address.scope_id is not None:
        return Special(kind="special", what="bound to one interface")
    for inner in _carried(address):
        if found := special(inner):
            return found
    if any(address in net for net in (_MAPPED, _NAT64, _TEREDO)):
        return None  # it is nothing but what it carries
    found = next((found for net, found in _V6 if address in net), None)
    if found is None and address not in _GLOBAL_UNICAST:
        return Special(kind="special", what="reserved")
    return found


def _carried(address: IPv6Address) -> Iterator[IPv4Address]:
    """Yield the IPv4 addresses that packets to an address may end up at."""
    number = int(address)
    if address in _MAPPED or address in _NAT64:
        yield IPv4Address(number & 0xFFFFFFFF)
    elif address in _6TO4:
        yield IPv4Address((number >> 80) & 0xFFFFFFFF)
    elif address in _TEREDO:  # RFC 4380: server, and the client with flipped bits
        yield IPv4Address((number >> 64) & 0xFFFFFFFF)
        yield IPv4Address(~number & 0xFFFFFFFF)
    if (number >> 32) & _ISATAP_MASK == _ISATAP:
        yield IPv4Address(number & 0xFFFFFFFF)
