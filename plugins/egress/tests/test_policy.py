"""What an operator may open, and what stays shut."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import ValidationError
from rustyclaw_egress.client import Egress
from rustyclaw_egress.errors import Refused
from rustyclaw_egress.policy import EgressPolicy

from .conftest import PUBLIC

Make = Callable[..., AbstractAsyncContextManager[Egress]]
DNS = {
    "nas.lan": [["192.168.1.5"]],
    "nas": [["192.168.1.5"]],
    "bent.lan": [["169.254.169.254"]],
    "looped.lan": [["127.0.0.1"]],
    "intranet.example": [["10.0.0.1", "fd00::1"]],
}


@pytest.mark.parametrize(
    ("policy", "url", "reason"),
    [
        ({}, "http://intranet.example/", "address"),
        ({}, "http://nas.lan/", "name"),
        ({}, "http://nas/", "name"),
        ({}, "http://a.localhost/", "name"),
        ({}, "http://localhost.localdomain/", "name"),
        ({}, "http://x.example:22/", "port"),
        ({"ports": [22]}, "http://x.example:22/", None),
        ({"ports": [22]}, "http://x.example/", "port"),
        ({"schemes": ["https"]}, "http://x.example/", "scheme"),
        ({"allowed_hosts": ["nas.lan"]}, "http://nas.lan/", None),
        ({"allowed_hosts": ["NAS.lan."]}, "http://nas.LAN/", None),
        ({"allowed_hosts": ["nas"]}, "http://nas/", None),
        ({"allowed_hosts": ["nas.lan"]}, "http://x.nas.lan/", "name"),
        ({"allowed_hosts": ["nas.lan"]}, "http://nas.lan:5000/", "port"),
        ({"allowed_hosts": ["nas.lan:5000"]}, "http://nas.lan:5000/", None),
        ({"allowed_hosts": ["nas.lan:5000"]}, "http://nas.lan/", "name"),
        ({"allowed_hosts": ["192.168.1.5"]}, "http://192.168.1.5/", None),
        ({"allowed_hosts": ["192.168.1.5"]}, "http://192.168.1.6/", "address"),
        ({"allowed_hosts": ["192.168.1.5"]}, "http://intranet.example/", "address"),
        ({"allowed_hosts": ["fd00::5"]}, "http://[fd00:0::5]/", None),
        ({"allowed_hosts": ["[fd00::5]:9"]}, "http://[fd00::5]:9/", None),
        ({"allowed_hosts": ["looped.lan"]}, "http://looped.lan/", None),
        ({"allowed_hosts": ["bent.lan"]}, "http://bent.lan/", "address"),
        ({"allowed_hosts": ["169.254.169.254"]}, "http://169.254.169.254/", None),
        ({"allow_private": True}, "http://intranet.example/", None),
        ({"allow_private": True}, "http://nas/", None),
        ({"allow_private": True}, "http://looped.lan/", "address"),
        ({"allow_private": True}, "http://127.0.0.1/", "address"),
        ({"allow_private": True}, "http://bent.lan/", "address"),
        ({"allow_private": True}, "http://100.100.100.200/", "address"),
        ({"allow_private": True}, "http://nas:5000/", "port"),
    ],
)
async def test_opened(
    policy: dict[str, Any], url: str, reason: str | None, egress: Make
) -> None:
    async with egress(dns=DNS, **policy) as guard:
        if reason is None:
            checked = await guard.check_url(url)
            assert checked.addresses
            return
        with pytest.raises(Refused) as caught:
            await guard.check_url(url)
        assert caught.value.reason == reason


async def test_checked_tells_where_it_is(egress: Make) -> None:
    async with egress() as guard:
        checked = await guard.check_url("https://Example.com")
    assert checked.destination.url == "https://example.com/"
    assert [str(address) for address in checked.addresses] == [PUBLIC]


@pytest.mark.parametrize(
    "answer",
    [
        "NXDOMAIN",
        [[]],
        [["nonsense"]],
        [["127.1"]],
        [[PUBLIC, "10.0.0.1"]],
        [["::1%lo"]],
    ],
)
async def test_what_a_resolver_may_say(answer: Any, egress: Make) -> None:
    async with egress(dns={"x.example": answer}) as guard:
        with pytest.raises(Refused) as caught:
            await guard.check_url("http://x.example/")
    assert caught.value.reason in ("dns", "address")


async def test_a_resolver_that_raises_anything(egress: Make) -> None:
    async def broken(host: str) -> list[str]:
        raise KeyError(host)

    async with egress(dns=broken) as guard:
        with pytest.raises(Refused, match="cannot be looked up"):
            await guard.check_url("http://x.example/")


async def test_a_resolver_that_never_answers(egress: Make) -> None:
    dns = {"x.example": "TIMEOUT"}
    async with egress(dns=dns, resolve_timeout_seconds=0.05) as guard:
        with anyio.fail_after(5), pytest.raises(Refused, match="took too long"):
            await guard.check_url("http://x.example/")


@pytest.mark.parametrize(
    "entry",
    ["", "http://nas.lan", "nas.lan/x", "a b", "*.lan", "nas:0", "127.1", "u@h"],
)
def test_nonsense_in_allowed_hosts(entry: str) -> None:
    with pytest.raises(ValidationError, match="allowed_hosts"):
        EgressPolicy(allowed_hosts=[entry])


def test_readme_names_every_setting() -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| .* \| ([^|]*) \|$", text, flags=re.MULTILINE)
    fields = EgressPolicy.model_fields
    assert dict(rows) == {name: fields[name].description for name in fields}
