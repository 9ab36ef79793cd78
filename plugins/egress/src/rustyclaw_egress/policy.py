"""What may be fetched: the settings, and the judgement by them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

from pydantic import Field, field_validator
from rustyclaw import PluginConfig

from rustyclaw_egress.addresses import Address, Special, special
from rustyclaw_egress.errors import Refused
from rustyclaw_egress.urls import Destination, parse_authority

#: Names that mean this machine or a private network, whatever a resolver says.
PRIVATE_SUFFIXES = (
    *(".localhost", ".localdomain", ".local", ".internal", ".intranet", ".lan"),
    *(".home.arpa", ".onion"),
)


class EgressPolicy(PluginConfig):
    """Settings of fetches from addresses that did not come from the operator."""

    schemes: list[Literal["http", "https"]] = Field(
        ["https", "http"], description="schemes that are fetched"
    )
    ports: list[int] = Field(
        [80, 443, 8000, 8008, 8080, 8081, 8443, 8888, 9443],
        description="ports that are connected to",
    )
    allowed_hosts: list[str] = Field(
        [],
        description="hosts (`nas.lan`, `192.168.1.5:8123`) that may have private "
        "addresses; with a port, only that one is open, and it may be any",
    )
    allow_private: bool = Field(
        False,
        description="reach private networks, but not this machine or cloud metadata",
    )
    max_redirects: int = Field(
        5, ge=0, le=20, description="redirects that are followed, each judged anew"
    )
    max_bytes: int = Field(
        10_485_760, ge=1, description="longest answer, in bytes after decompression"
    )
    max_header_bytes: int = Field(
        65_536, ge=1024, le=100_000, description="longest headers of an answer"
    )
    timeout_seconds: float = Field(
        30, gt=0, le=600, description="time for a fetch with all its redirects"
    )
    resolve_timeout_seconds: float = Field(
        5, gt=0, le=60, description="time to look up a name"
    )
    connect_timeout_seconds: float = Field(
        5, gt=0, le=60, description="time to connect to one address"
    )

    @field_validator("allowed_hosts")
    @classmethod
    def _readable(cls, entries: list[str]) -> list[str]:
        for entry in entries:
            try:
                parse_authority(_bracketed(entry))
            except Refused as exc:
                raise ValueError(str(exc)) from None
        return entries

    @cached_property
    def _allowed(self) -> frozenset[tuple[str, int | None]]:
        found = (parse_authority(_bracketed(entry)) for entry in self.allowed_hosts)
        return frozenset((host, port) for host, _, port in found)

    def allows(self, destination: Destination) -> bool:
        """Return whether the operator named this host."""
        host, port = destination.host, destination.port
        return (host, port) in self._allowed or (
            (host, None) in self._allowed and port in self.ports
        )

    def judge(self, destination: Destination) -> None:
        """Judge all that can be judged before a name is looked up.

        :raises Refused: Scheme, port, name or address are not allowed.
        """
        host = destination.host
        if destination.scheme not in self.schemes:
            raise Refused("scheme", f"scheme {destination.scheme!r} is not allowed")
        if destination.address is not None:
            self.judge_addresses(destination, [destination.address])
        if self.allows(destination):
            return
        if destination.port not in self.ports:
            raise Refused(
                "port",
                f"port {destination.port} is not allowed; the operator can list it "
                "in 'ports' or the host in 'allowed_hosts'",
            )
        is_name = destination.address is None and not self.allow_private
        if is_name and ("." not in host or host.endswith(PRIVATE_SUFFIXES)):
            raise _not_public(host, "a name of a private network", "name")

    def judge_addresses(
        self, destination: Destination, addresses: Sequence[Address]
    ) -> None:
        """Judge where a host really is: one bad address spoils all of them.

        :raises Refused: There is no address, or one that is not allowed.
        """
        if not addresses:
            raise Refused("dns", f"host {destination.host!r} has no address")
        for address in addresses:
            found = special(address)
            if found is not None and not self._tolerates(destination, found):
                raise _not_public(destination.host, f"at a {found.what} address")

    def _tolerates(self, destination: Destination, found: Special) -> bool:
        if found.kind == "metadata":  # a name may be bent there; its number may not
            return destination.address is not None and self.allows(destination)
        if self.allow_private and found.kind == "private":
            return True
        return self.allows(destination)


def _bracketed(entry: str) -> str:
    """Return an entry as it stands in a URL: people write IPv6 without brackets."""
    return f"[{entry}]" if entry.count(":") > 1 and "[" not in entry else entry


def _not_public(
    host: str, what: str, reason: Literal["name", "address"] = "address"
) -> Refused:
    return Refused(
        reason,
        f"host {host!r} is {what}, not public; the operator can list it in "
        "'allowed_hosts'",
    )
