"""Hostile URLs: what must be blocked never connects, what is harmless works."""

from __future__ import annotations

import json
import resource
import zlib
from collections.abc import AsyncGenerator, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from rustyclaw_egress.addresses import special
from rustyclaw_egress.client import Egress
from rustyclaw_egress.errors import EgressError, FetchFailed, Refused
from rustyclaw_egress.policy import EgressPolicy

from .conftest import FakeNetwork, FakeResolver, Stream

_DATA = Path(__file__).parent / "data" / "ssrf_urls.jsonl"
ROWS = [json.loads(line) for line in _DATA.read_text().splitlines()]
TIMEOUT = 0.3


def generated(spec: dict[str, Any]) -> httpx.AsyncByteStream:
    """Return the endless or huge body that a row describes."""

    async def drip() -> AsyncGenerator[bytes, None]:
        while True:
            yield b"x"
            await anyio.sleep(TIMEOUT / 10)

    async def bomb() -> AsyncGenerator[bytes, None]:
        packer = zlib.compressobj(wbits=31)
        zeros = bytes(1 << 20)
        for _ in range(spec["gzip_of_zeros"] >> 20):
            if piece := packer.compress(zeros):
                yield piece
        yield packer.flush()

    return Stream(drip if "drip_bytes_per_s" in spec else bomb)


def answers(row: dict[str, Any]) -> Iterator[httpx.Response | Exception]:
    if row.get("connect", {}).get("first"):
        yield httpx.ConnectError(row["connect"]["first"])
    for hop in row.get("http", []):
        headers = dict(hop.get("headers", {}))
        if "location" in hop:
            headers["location"] = hop["location"].encode()
        stream = generated(hop["generate"]) if "generate" in hop else None
        body = None if stream else hop.get("body", "")
        yield httpx.Response(hop["status"], headers=headers, text=body, stream=stream)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
async def test_row(row: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in row.get("env", {}).items():
        monkeypatch.setenv(name, value)
    network = FakeNetwork(*answers(row))
    policy = EgressPolicy(timeout_seconds=TIMEOUT if "limits" in row else 30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    verdict: Any = "allow"

    async with Egress(
        policy, resolver=FakeResolver(row.get("dns")), inner=network
    ) as egress:
        try:
            with anyio.fail_after(10):
                verdict = await egress.fetch("GET", row["url"], truncate=True)
        except EgressError as exc:
            verdict = exc

    for host in network.hosts:
        assert host not in row.get("connect_must_not", ())
        assert special(ip_address(host)) is None, f"connected to {host}"
    if row["expect"] == "allow":
        assert not isinstance(verdict, EgressError), verdict
    elif "expect_alt" in row:
        assert isinstance(verdict, FetchFailed)
    else:
        assert isinstance(verdict, Refused), verdict
        assert bool(network.hosts) == (row["stage"] == "redirect")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < row.get("limits", {}).get("max_rss_growth_mib", 1024) * 1024


async def test_twin_without_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the table of addresses the corpus must fail: it proves something."""
    monkeypatch.setattr("rustyclaw_egress.policy.special", lambda address: None)
    passed = 0
    for row in ROWS:
        if row["expect"] == "block" and row["category"] in ("ipv4-literal", "redirect"):
            network = FakeNetwork(*answers(row))
            resolver = FakeResolver(row.get("dns"))
            async with Egress(resolver=resolver, inner=network) as egress:
                try:
                    await egress.fetch("GET", row["url"])
                except EgressError:
                    continue
                passed += 1
    assert passed >= 8
