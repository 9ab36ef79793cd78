"""The table of addresses, at the edges of its ranges."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given, strategies as st
from rustyclaw_egress.addresses import special

PUBLIC = """
1.1.1.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.0.3.0
192.88.98.255 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 198.51.99.255
198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255 168.63.129.15
2606:4700::1111 2001:4860:4860::8888 2a00:1450:4001::1 2001:200::1 2001:db7::1
2001:db9::1 2002:808:808::1 ::ffff:8.8.8.8 64:ff9b::8.8.8.8
2001:0:808:808:0:0:f7f7:f7f7
"""
SPECIAL = """
0.0.0.0 0.1.2.3 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.1
127.255.255.255 169.254.0.1 169.254.169.254 169.254.170.2 172.16.0.0 172.31.255.255
192.0.0.1 192.0.0.192 192.0.2.1 192.88.99.1 192.168.0.0 192.168.255.255 198.18.0.0
198.19.255.255 198.51.100.1 203.0.113.255 224.0.0.1 239.255.255.255 240.0.0.1
255.255.255.255 100.100.100.200 168.63.129.16
:: ::1 ::2 ::7f00:1 ::8.8.8.8 ::ffff:10.0.0.1 ::ffff:0:8.8.8.8 64:ff9b::10.0.0.1
64:ff9b:1::8.8.8.8 100::1 2001::1 2001:1::1 2001:2::1 2001:10::1 2001:20::1
2001:1ff:ffff::1 2001:db8::1 2002:a00:1::1 2002:7f00:1:: 3ffe::1 3fff::1
3fff:fff:ffff::1 4000::1 5f00::1 fc00::1 fdff::1 fd00:ec2::254 fd20:ce::254 fe80::1
fe80::5efe:8.8.8.8 febf::1 fec0::1 ff02::1 ff0e::1 2606:4700::5efe:10.0.0.1
2606:4700::200:5efe:127.0.0.1 fe80::1%eth0 2606:4700::1111%eth0
2001:0:a00:1:0:0:f7f7:f7f7 2001:0:808:808:0:0:80ff:fffe
"""


@pytest.mark.parametrize("address", PUBLIC.split())
def test_public(address: str) -> None:
    assert special(ip_address(address)) is None


@pytest.mark.parametrize("address", SPECIAL.split())
def test_special(address: str) -> None:
    assert special(ip_address(address)) is not None


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("169.254.169.254", "metadata"),
        ("fd00:ec2::254", "metadata"),
        ("::ffff:169.254.169.254", "metadata"),
        ("64:ff9b::100.100.100.200", "metadata"),
        ("10.1.2.3", "private"),
        ("fd12::1", "private"),
        ("127.0.0.1", "special"),
        ("::1", "special"),
    ],
)
def test_kind(address: str, kind: str) -> None:
    found = special(ip_address(address))
    assert found is not None
    assert found.kind == kind


@given(st.ip_addresses(v=4))
def test_what_carries_an_address_is_no_better_than_it(address: object) -> None:
    inner = special(ip_address(str(address)))
    for outer in (f"::ffff:{address}", f"64:ff9b::{address}"):
        assert special(ip_address(outer)) == inner


@given(st.ip_addresses(v=6))
def test_only_global_unicast_is_public(address: object) -> None:
    found = ip_address(str(address))
    if special(found) is None:
        text = found.exploded
        assert text[0] in "23" or text.startswith(("0064:ff9b", "0000:0000:0000:0000"))
