"""Devices: nobody gives what they do not have, and whose token ends is shown out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .client import ADMIN, PAIRING, READ, SCOPES, WRITE, Client, Device, Failed
from .conftest import serving

if TYPE_CHECKING:
    from .conftest import Running

FAR = {"x-forwarded-for": "192.0.2.7"}


async def asks(running: Running, device: Device, **options: Any) -> str:
    """Have a device from afar ask to be paired; return the request's id."""
    remote = await running.socket(device=device, headers=dict(FAR), **options)
    with pytest.raises(Failed, match="pairing required") as failed:
        await remote.connect()
    return str(failed.value.details["requestId"])


async def row(client: Client, device: Device) -> dict[str, Any]:
    """Return a paired device's row."""
    rows = (await client.ask("device.pair.list"))["paired"]
    return next(r for r in rows if r["deviceId"] == device.id)


# --- Pairing --------------------------------------------------------------------------


async def test_nobody_gives_scopes_that_they_do_not_have(running: Running) -> None:
    admin = await running.client()
    pairing = await running.client(scopes=[PAIRING])
    device = Device()
    request_id = await asks(running, device, scopes=[ADMIN])

    with pytest.raises(Failed, match="asks for more than you have"):
        await pairing.ask("device.pair.approve", requestId=request_id)

    assert (await admin.ask("device.pair.list"))["pending"], "it still waits"
    approved = await admin.ask("device.pair.approve", requestId=request_id)
    assert approved["device"]["scopes"] == [ADMIN]
    assert approved["device"]["remoteIp"] == "127.0.0.1", "no proxy is trusted"


async def test_a_device_that_asks_for_more_asks_again(running: Running) -> None:
    admin, device = await running.client(), Device()
    first = await asks(running, device, scopes=[READ])
    assert await asks(running, device, scopes=[READ]) == first, "one request each"
    await admin.ask("device.pair.approve", requestId=first)
    reader = await running.client(device=device, headers=dict(FAR), scopes=[READ])
    assert (await reader.ask("health"))["ok"]

    second = await asks(running, device, scopes=[READ, WRITE])

    (pending,) = (await admin.ask("device.pair.list"))["pending"]
    assert (pending["requestId"], pending["isRepair"]) == (second, True)
    await admin.ask("device.pair.approve", requestId=second)
    assert (await row(admin, device))["scopes"] == [READ, WRITE]


async def test_a_rejected_device_stays_outside(running: Running) -> None:
    admin, device = await running.client(), Device()
    request_id = await asks(running, device)

    rejected = await admin.ask("device.pair.reject", requestId=request_id)

    assert rejected == {"requestId": request_id, "deviceId": device.id}
    resolved = await admin.event("device.pair.resolved", requestId=request_id)
    assert resolved["decision"] == "rejected"
    assert await asks(running, device) != request_id
    with pytest.raises(Failed, match="unknown requestId"):
        await admin.ask("device.pair.reject", requestId=request_id)


async def test_a_device_that_is_removed_must_ask_again(running: Running) -> None:
    admin, device = await running.client(), Device()
    client = await running.client(device=device, scopes=[READ])
    token = {"token": client.hello_ok["auth"]["deviceToken"]}

    removed = await admin.ask("device.pair.remove", deviceId=device.id)

    assert removed == {"deviceId": device.id, "removed": True}
    assert await client.closed() == (1008, "device removed")
    stale = await running.socket(device=device, scopes=[READ], shown=token)
    with pytest.raises(Failed, match="device token mismatch"):
        await stale.connect()
    again = await admin.ask("device.pair.remove", deviceId=device.id)
    assert not again["removed"]


async def test_who_only_pairs_cannot_remove_an_admin(running: Running) -> None:
    device = Device()
    admin = await running.client(device=device)
    pairing = await running.client(scopes=[PAIRING])

    for method, params in (
        ("device.pair.remove", {}),
        ("device.token.revoke", {"role": "operator"}),
        ("device.token.rotate", {"role": "operator"}),
    ):
        with pytest.raises(Failed, match="missing scope"):
            await pairing.ask(method, deviceId=device.id, **params)
    assert (await admin.ask("health"))["ok"]


# --- Tokens ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("granted", "wanted", "problem"),
    [
        ([READ], [READ], ""),
        ([READ, WRITE], [READ], ""),
        ([WRITE], [READ], ""),
        ([READ], [WRITE], "cannot have more than its device"),
        ([READ], [ADMIN], "cannot have more than its device"),
        ([READ], ["operator.bogus"], "cannot have more than its device"),
    ],
)
async def test_a_new_token_has_at_most_what_the_device_has(
    running: Running, granted: list[str], wanted: list[str], problem: str
) -> None:
    admin, device = await running.client(), Device()
    await running.client(device=device, scopes=granted)
    ask = {"deviceId": device.id, "role": "operator", "scopes": wanted}

    if problem:
        with pytest.raises(Failed, match=problem):
            await admin.ask("device.token.rotate", **ask)
        return
    rotated = await admin.ask("device.token.rotate", **ask)

    assert rotated["scopes"] == wanted
    shown = {"token": rotated["token"]}
    client = await running.client(device=device, scopes=wanted, shown=shown)
    assert (await client.ask("health"))["ok"]
    (token,) = (await row(admin, device))["tokens"]
    assert token["rotatedAtMs"] == rotated["rotatedAtMs"]
    assert token["lastUsedAtMs"] >= token["rotatedAtMs"]
    assert rotated["token"] not in str(await admin.ask("device.pair.list"))


async def test_when_a_token_was_used_is_kept(running: Running) -> None:
    admin, device, store = await running.client(), Device(), running.server.devices
    first = await running.client(device=device, scopes=[READ])
    assert "lastUsedAtMs" not in str(await row(admin, device)), "the shared one was"

    shown = {"token": first.hello_ok["auth"]["deviceToken"]}
    await running.client(device=device, scopes=[READ], shown=shown)

    (token,) = (await row(admin, device))["tokens"]
    assert token["createdAtMs"] <= token["lastUsedAtMs"] <= store.now()
    await store.load()  # as after a restart
    assert (await row(admin, device))["tokens"] == [token]


async def test_use_of_a_token_that_is_gone_brings_nothing_back(
    running: Running,
) -> None:
    admin, device, store = await running.client(), Device(), running.server.devices
    await running.client(device=device, scopes=[READ])
    known = store.get(device.id)
    assert known is not None
    old = known.tokens["operator"]
    ask = {"deviceId": device.id, "role": "operator"}
    await admin.ask("device.token.rotate", **ask)
    (rotated,) = (await row(admin, device))["tokens"]

    await store.use(device.id, old)
    await store.load()

    assert (await row(admin, device))["tokens"] == [rotated]


async def test_whoever_rotates_their_own_token_stays(running: Running) -> None:
    device = Device()
    client = await running.client(device=device)
    other = await running.client(device=device)
    ask = {"deviceId": device.id, "role": "operator"}

    rotated = await client.ask("device.token.rotate", **ask)

    assert rotated["token"]
    assert await other.closed() == (1008, "device token rotated")
    assert (await client.ask("health"))["ok"]
    assert (await client.ask("device.token.revoke", **ask))["revokedAtMs"]
    assert await client.closed() == (1008, "device token revoked")


@pytest.mark.parametrize("method", ["device.token.rotate", "device.token.revoke"])
async def test_unknown_devices_and_roles(running: Running, method: str) -> None:
    admin, device = await running.client(), Device()
    await running.client(device=device)

    for named in (
        {"deviceId": "nope", "role": "operator"},
        {"deviceId": device.id, "role": "node"},
    ):
        with pytest.raises(Failed, match="unknown deviceId/role"):
            await admin.ask(method, **named)
    with pytest.raises(Failed, match="role"):
        await admin.ask(method, deviceId=device.id, role="boss")


async def test_tokens_and_devices_outlive_the_gateway(
    tmp_path: Path, anyio_backend: Any
) -> None:
    device = Device()
    async with serving(tmp_path) as running:
        client = await running.client(device=device, scopes=[READ])
        token = client.hello_ok["auth"]["deviceToken"]
    async with serving(tmp_path) as running:
        shown = {"deviceToken": token}
        client = await running.client(device=device, scopes=[READ], shown=shown)
        assert client.hello_ok["auth"]["deviceToken"] == token


# --- The shared token -----------------------------------------------------------------


class TestSharedToken:
    @pytest.fixture
    def settings(self) -> Mapping[str, Any]:
        return {"auth": {}}

    async def test_a_new_one_ends_those_who_came_in_with_the_old(
        self, running: Running
    ) -> None:
        running.token = old = running.server.secret.value()
        admin, other, device = (
            await running.client(),
            await running.client(),
            Device(),
        )
        first = await running.client(device=device, scopes=SCOPES)
        own = {"token": first.hello_ok["auth"]["deviceToken"]}
        await first.close()
        by_device = await running.client(device=device, scopes=SCOPES, shown=own)

        token = (await admin.ask("auth.rotate"))["token"]

        ended = (1008, "unauthorized: gateway token changed")
        assert await admin.closed() == ended
        assert await other.closed() == ended
        assert (await by_device.ask("health"))["ok"]
        stale = await running.socket(token=old)
        with pytest.raises(Failed, match="token mismatch"):
            await stale.connect()
        await running.client(token=token)


async def test_a_token_of_the_config_is_changed_there(running: Running) -> None:
    client = await running.client()

    with pytest.raises(Failed, match=r"change hooks\.server\.auth"):
        await client.ask("auth.rotate")
