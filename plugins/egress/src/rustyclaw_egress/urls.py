"""Reads a URL once, strictly, and writes it so that everybody reads it alike.

What two parsers could take for two hosts is refused rather than mended:
backslashes, credentials, control characters, missing slashes, numbers that only
``inet_aton`` takes for an address, zones, percent signs in a host. What is
connected to is this value, never the text it came from.

Sources: RFC 3986, the URL Standard of WHATWG (where they differ we refuse),
UTS 46 for names that are not ASCII.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote, urljoin

import idna

from rustyclaw_egress.addresses import Address
from rustyclaw_egress.errors import RefusalReason, Refused

MAX_URL_CHARS = 8192
DEFAULT_PORTS = {"http": 80, "https": 443}

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_PARTS = re.compile(r"//([^/?#]*)([^?#]*)(\?[^#]*)?(?:#.*)?", re.DOTALL)
#: Spaces, control characters, and what browsers take for a slash.
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\x9f\\]")
_BRACKETED = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::([0-9]{0,5}))?")
_NAMED = re.compile(r"([^:\[\]]+)(?::([0-9]{0,5}))?")
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
#: A last label like these makes WHATWG parsers read the whole host as IPv4.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_KEPT = "/%:@!$&'()*+,;=~[]?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where a URL leads.

    :param scheme: ``http`` or another, in lower case.
    :param host: A name in ASCII and lower case without the trailing dot, or an
        address without brackets in its shortest form.
    :param address: The host, if it is an address.
    :param resource: Path and query, percent-encoded; it begins with a slash.
    """

    scheme: str
    host: str
    port: int
    resource: str
    address: Address | None = None

    @property
    def authority(self) -> str:
        """Host and port as in a Host header; without the scheme's own port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.port == DEFAULT_PORTS.get(self.scheme):
            return host
        return f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port: whom credentials may be shown to."""
        return f"{self.scheme}://{self.authority}"

    @property
    def url(self) -> str:
        """The URL in the one spelling that we use, without a fragment."""
        return f"{self.origin}{self.resource}"


def parse(text: str) -> Destination:
    """Read an absolute URL.

    :raises Refused: It is not one, or could be read in two ways.
    """
    if len(text) > MAX_URL_CHARS:
        raise Refused("syntax", f"the URL has more than {MAX_URL_CHARS} characters")
    if _UNSAFE.search(text):
        raise Refused(
            "syntax",
            "the URL has spaces, control characters or backslashes; encode them",
        )
    scheme = _SCHEME.match(text)
    if scheme is None:
        raise Refused("syntax", "the URL has no scheme; write https://host/path")
    name = scheme[1].lower()
    if name not in DEFAULT_PORTS:
        raise Refused("scheme", f"scheme {name[:32]!r} is not fetched; use https")
    parts = _PARTS.fullmatch(text, scheme.end())
    if parts is None:
        raise Refused("syntax", f"the URL needs two slashes after {name!r}")
    authority, path, query = parts[1], parts[2], parts[3] or ""
    host, address, port = parse_authority(authority)
    try:
        resource = quote(path or "/", safe=_KEPT) + quote(query, safe=_KEPT)
    except UnicodeEncodeError:
        raise Refused("syntax", "the URL has characters that do not exist") from None
    return Destination(
        scheme=name,
        host=host,
        port=DEFAULT_PORTS[name] if port is None else port,
        resource=resource,
        address=address,
    )


def join(base: Destination, location: str) -> Destination:
    """Read where a redirect leads.

    :raises Refused: As for `parse`.
    """
    if _UNSAFE.search(location) or len(location) > MAX_URL_CHARS:
        return parse(location)  # refuses it, and says why
    if _SCHEME.match(location):
        return parse(location)  # `http:path` is relative for some, so refused
    if location.startswith("//"):
        return parse(f"{base.scheme}:{location}")  # some find a host behind `///`
    return parse(urljoin(base.url, location))


def parse_authority(text: str) -> tuple[str, Address | None, int | None]:
    """Read ``host`` or ``host:port``; the port is ``None`` if it is not there.

    :raises Refused: The host is empty or could be read in two ways.
    """
    if "@" in text:
        raise Refused("userinfo", "the URL has credentials before '@'; leave them out")
    if bracketed := _BRACKETED.fullmatch(text):
        try:
            v6 = IPv6Address(bracketed[1])
        except ValueError:
            raise _bad(text, "is not an IPv6 address") from None
        return str(v6), v6, _port(bracketed[2])
    named = _NAMED.fullmatch(text)
    if named is None:
        if re.fullmatch(r"[^:\[\]]+:.*", text, re.DOTALL):
            raise _bad(text, "has no valid port", "port")
        raise _bad(text, "is not a host")
    host = _name(named[1])
    if not _NUMBER.fullmatch(host.rpartition(".")[2]):
        return host, None, _port(named[2])
    try:
        v4 = IPv4Address(host)
    except ValueError:
        raise _bad(host, "is not an address; write four numbers of 0 to 255") from None
    return str(v4), v4, _port(named[2])


def _name(text: str) -> str:
    """Return a host in ASCII and lower case, without the dot at its end."""
    if text.isascii():
        name = text.lower()
    else:
        try:
            name = idna.encode(text, uts46=True).decode("ascii").lower()
        except (idna.IDNAError, UnicodeError):
            raise _bad(text, "is not a name of the internet") from None
    name = name.removesuffix(".")
    if len(name) > 253 or not all(map(_LABEL.fullmatch, name.split("."))):
        raise _bad(text, "is not a name of the internet")
    return name


def _port(digits: str | None) -> int | None:
    if not digits:
        return None
    port = int(digits)
    if not 0 < port < 65536:
        raise Refused("port", f"port {port} does not exist; use 1 to 65535")
    return port


def _bad(host: str, what: str, reason: RefusalReason = "host") -> Refused:
    return Refused(reason, f"{host[:80]!r} {what}; check the URL")
