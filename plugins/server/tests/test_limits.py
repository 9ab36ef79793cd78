"""Bounds on what strangers and clients may use up, and what locks them out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from rustyclaw_server.auth.address import canonical, peer_of
from rustyclaw_server.auth.limiter import Failures, Rate
from rustyclaw_server.auth.secret import same

from .client import ADMIN, READ, Client, Closed, Device, Failed, Hello
from .conftest import TOKEN, Running
from .raw import CLOSE, PING, PONG, Raw, frame

REMOTE = {"x-forwarded-for": "203.0.113.8"}


def using(**settings: Any) -> Any:
    return pytest.mark.parametrize("settings", [settings])


async def refused_with(running: Running, headers: Mapping[str, str]) -> int:
    raw = await Raw.open(running.url, headers)
    raw.drop()
    return raw.status


# --- Before the handshake -------------------------------------------------------------


@using(limits={"max_preauth": 3})
async def test_handshakes_at_the_same_time_are_bounded(running: Running) -> None:
    client = await running.client()
    silent = [await Raw.open(running.url) for _ in range(3)]
    assert await refused_with(running, {}) == 503
    assert (await client.ask("health"))["ok"]
    silent[0].drop()
    async with asyncio.timeout(10):
        while await refused_with(running, {}) != 101:
            await asyncio.sleep(0.05)
    for raw in silent:
        raw.drop()


@using(limits={"max_connections": 2})
async def test_connections_are_bounded(running: Running) -> None:
    first, _ = await running.client(), await running.client()
    assert await refused_with(running, {}) == 503
    await first.close()
    async with asyncio.timeout(10):
        while await refused_with(running, {}) != 101:
            await asyncio.sleep(0.05)


@using(limits={"handshake_seconds": 0.3})
async def test_who_says_nothing_is_sent_away(running: Running) -> None:
    raw = await (await Raw.open(running.url)).challenged()
    assert await raw.ended() == 1000
    raw.drop()


@using(limits={"max_per_address": 2})
async def test_connections_of_one_remote_address_are_bounded(running: Running) -> None:
    kept = [await Raw.open(running.url, REMOTE) for _ in range(2)]
    assert await refused_with(running, REMOTE) == 429
    assert await refused_with(running, {}) == 101  # this machine is not counted
    for raw in kept:
        raw.drop()


@using(limits={"connects_per_minute": 3})
async def test_connects_of_one_remote_address_are_bounded(running: Running) -> None:
    found = [await refused_with(running, REMOTE) for _ in range(5)]
    assert found == [101, 101, 101, 429, 429]


PROXIED = {
    "trusted_proxies": ["127.0.0.1"],
    "limits": {"max_per_address": 1, "connects_per_minute": 1000},
}


@using(**PROXIED)
@pytest.mark.parametrize(
    ("one", "same_place", "elsewhere"),
    [
        ("203.0.113.8", "::ffff:203.0.113.8", "203.0.113.9"),
        ("203.0.113.8", "::FFFF:cb00:7108", "::ffff:203.0.113.9"),
        ("2001:db8:1:2::1", "2001:0db8:1:2:ffff::9", "2001:db8:1:3::1"),
        ("198.51.100.1", "1.1.1.1, 198.51.100.1, 127.0.0.1", "198.51.100.1, 1.1.1.1"),
    ],
)
async def test_one_place_has_one_account(
    running: Running, one: str, same_place: str, elsewhere: str
) -> None:
    kept = await Raw.open(running.url, {"X-Forwarded-For": one})
    found = [
        await refused_with(running, {"X-Forwarded-For": place})
        for place in (same_place, elsewhere)
    ]
    kept.drop()
    assert found == [429, 101]


def test_the_books_of_the_limits_are_bounded() -> None:
    failures, rate = Failures(3, 60, 300), Rate(10)
    for number in range(25_000):
        failures.count(f"a{number}")
        rate.wait_for(f"a{number}")
        for _ in range(3):
            failures.count(f"b{number}")
    assert len(failures._times) <= failures._MAX_KEYS
    assert len(failures._locked) <= failures._MAX_KEYS
    assert len(rate._buckets) <= rate._MAX_KEYS


# --- Failed attempts ------------------------------------------------------------------

FEW = {"auth": {"token": TOKEN, "max_failures": 3, "lock_seconds": 300}}


async def attempt(running: Running, headers: Mapping[str, str], **hello: Any) -> str:
    """Try to connect; return what was said."""
    raw = await (await Raw.open(running.url, headers)).challenged()
    answer = await raw.connect(Hello(**{"shown": {"token": "wrong"}, **hello}))
    raw.drop()
    return "" if answer["ok"] else str(answer["error"]["message"])


def is_locked(told: str) -> bool:
    return "too many failed authentication attempts" in told


@using(**FEW)
@pytest.mark.parametrize(
    "shown",
    [
        {"token": "wrong"},
        {"token": "wrong", "deviceToken": "junk"},
        {"deviceToken": "junk"},
        {"token": "wrong", "bootstrapToken": "junk"},
    ],
)
async def test_remote_failures_lock_the_address(running: Running, shown: Any) -> None:
    device = Device()
    told = [
        await attempt(running, REMOTE, shown=shown, device=device) for _ in range(5)
    ]
    assert [is_locked(t) for t in told] == [False] * 3 + [True] * 2
    right = await attempt(running, REMOTE, shown={"token": TOKEN})
    assert is_locked(right)  # a guess that is right is not told from a wrong one
    assert not is_locked(await attempt(running, {}))


@using(**FEW)
async def test_a_page_on_this_machine_is_locked(running: Running) -> None:
    page = {"origin": running.url}
    told = [await attempt(running, page) for _ in range(5)]
    assert [is_locked(t) for t in told] == [False] * 3 + [True] * 2
    assert await attempt(running, {}, shown={"token": TOKEN}) == ""


@using(**FEW)
async def test_failures_are_not_counted_by_what_a_caller_says(running: Running) -> None:
    told = []
    for number in range(6):  # each is the page of another gateway, it says
        host = f"10.0.0.{number}:1"
        headers = {"host": host, "origin": f"http://{host}", **REMOTE}
        told.append(await attempt(running, headers))
    assert [is_locked(t) for t in told] == [False] * 3 + [True] * 3


@using(**FEW)
async def test_programs_of_this_machine_are_not_locked(running: Running) -> None:
    for _ in range(6):
        assert not is_locked(await attempt(running, {}))


@pytest.mark.parametrize(
    ("a", "b"),
    [("", "x"), ("x", "x "), ("\u00e9", "e\u0301"), ("\ud800", "\ud801"), ("a", "A")],
)
def test_secrets_are_compared_as_a_whole(a: str, b: str) -> None:
    assert not same(a, b)
    assert same(a, a)
    assert same(b, b)


# --- A proxy's word -------------------------------------------------------------------

PROXY = {
    "auth": {
        "mode": "trusted-proxy",
        "required_headers": ["x-proof"],
        "allow_users": ["ada"],
    },
    "trusted_proxies": ["127.0.0.1/32"],
}


@using(**PROXY)
@pytest.mark.parametrize(
    ("headers", "may"),
    [
        ({"x-forwarded-user": "ada", "x-proof": "1"}, True),
        ({"x-forwarded-user": "ada"}, False),
        ({"x-forwarded-user": "eve", "x-proof": "1"}, False),
        ({"x-forwarded-user": " ", "x-proof": "1"}, False),
        ({"x-proof": "1"}, False),
        ({}, False),
    ],
)
async def test_a_trusted_proxy_names_the_user(
    running: Running, headers: Mapping[str, str], may: bool
) -> None:
    told = await attempt(running, headers, device=None, shown=None)
    assert (told == "") is may


@using(**{**PROXY, "trusted_proxies": ["192.0.2.1"]})
async def test_nobody_else_does(running: Running) -> None:
    headers = {"x-forwarded-user": "ada", "x-proof": "1", "x-forwarded-for": "1.2.3.4"}
    told = await attempt(running, headers, device=None, shown=None)
    assert told == "device identity required"


def test_forwarding_headers_of_strangers_make_them_remote() -> None:
    for name in ("x-forwarded-for", "x-real-ip", "x-forwarded-host", "forwarded"):
        peer = peer_of(("127.0.0.1", 1), {"host": "127.0.0.1", name: "::1"}, ())
        assert (peer.ip, peer.is_local) == ("127.0.0.1", False)
    assert canonical("::ffff:127.0.0.1") == "127.0.0.1"


# --- Clients --------------------------------------------------------------------------


@using(limits={"max_buffered_bytes": 262_144})
async def test_who_never_reads_is_dropped_and_hurts_nobody(running: Running) -> None:
    deaf = await (await Raw.open(running.url)).challenged()
    assert (await deaf.connect(Hello(shown={"token": TOKEN}, client_id="test")))["ok"]
    client = await running.client()
    (slow,) = [c for c in running.server.hub if c.id != _id(client)]
    waits, text = [], "x" * 10_000
    async with asyncio.timeout(20):
        while len(running.server.hub) > 1:
            for _ in range(20):
                running.server.hub.broadcast("chat", {"text": text}, droppable=True)
            assert slow._buffered <= 262_144 + 20_000
            running.server.hub.broadcast("chat", {"text": text})
            began = time.perf_counter()
            await client.ask("health")
            waits.append(time.perf_counter() - began)
    assert sorted(waits)[int(len(waits) * 0.99)] < 0.25
    assert (await client.ask("health"))["ok"]
    deaf.drop()


def _id(client: Client) -> str:
    return str(client.hello_ok["server"]["connId"])


@using(limits={"max_buffered_bytes": 262_144})
async def test_a_slow_consumer_is_told_within_five_seconds(running: Running) -> None:
    deaf = await (await Raw.open(running.url)).challenged()
    assert (await deaf.connect(Hello(shown={"token": TOKEN}, client_id="test")))["ok"]
    (slow,) = running.server.hub
    while not slow.closed:
        running.server.hub.broadcast("chat", {"text": "x" * 100_000})
        await asyncio.sleep(0)
    began = time.monotonic()
    async with asyncio.timeout(10):
        while len(running.server.hub):
            await asyncio.sleep(0.05)
    assert time.monotonic() - began < 5
    deaf.drop()


@using(limits={"ping_seconds": 0.4})
@pytest.mark.parametrize("unsent", [0, 2_000])
async def test_who_has_vanished_is_noticed(running: Running, unsent: int) -> None:
    gone = await (await Raw.open(running.url)).challenged()
    assert (await gone.connect(Hello(shown={"token": TOKEN}, client_id="test")))["ok"]
    for _ in range(unsent):  # more than the network holds: a close would wait for it
        running.server.hub.broadcast("tick", {"x": "x" * 5000}, droppable=True)
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        while len(running.server.hub):
            await asyncio.sleep(0.05)
    gone.drop()


@using(limits={"ping_seconds": 0.5})
async def test_who_no_longer_answers_is_dropped_in_time(running: Running) -> None:
    """Within the interval and the patience, each of as long as the setting says."""
    gone = await (await Raw.open(running.url)).challenged()
    assert (await gone.connect(Hello(shown={"token": TOKEN}, client_id="test")))["ok"]
    pings = 0
    while pings < 2:  # it lives, and answers
        opcode, payload = await gone.message()
        if opcode == PING:
            pings += 1
            await gone.send(frame(payload, PONG))
    began, asked = time.monotonic(), 0.0
    async with asyncio.timeout(10):
        while (message := await gone.message())[0] != CLOSE:
            asked = time.monotonic() if message[0] == PING else asked
    ended = time.monotonic()

    assert 0.4 < asked - began < 1.5
    assert 0.4 < ended - asked < 1.5
    assert not len(running.server.hub)
    gone.drop()


async def test_the_default_patience_is_that_of_the_settings(running: Running) -> None:
    """With it a peer that has vanished is gone within 50 seconds."""
    await running.client()
    (connection,) = running.server.hub
    protocol: Any = connection._socket._protocol

    assert running.server.config.limits.ping_seconds == 25
    assert (protocol.ping_interval, protocol.ping_timeout) == (25, 25)
    assert protocol.ping_timer is not None, "the next ping is on its way"
    assert protocol.ping_timer.when() - protocol.loop.time() <= 25


@using(limits={"ping_seconds": 0.4})
async def test_who_answers_pings_stays(running: Running) -> None:
    client = await running.client()
    await asyncio.sleep(1.5)
    assert (await client.ask("health"))["ok"]


async def test_a_new_token_ends_those_of_the_old(running: Running) -> None:
    old, local = await running.client(), await running.client(shown={"token": TOKEN})
    running.server.end_shared_sessions()
    for client in (old, local):
        code, reason = await client.closed()
        assert (code, reason) == (1008, "unauthorized: gateway token changed")


@using(auth={})
async def test_a_token_is_read_anew_for_each_caller(running: Running) -> None:
    token = running.server.secret.value()
    await running.client(token=token)
    fresh = running.server.secret.renew()
    with pytest.raises((Failed, Closed)):
        await running.client(token=token)
    await running.client(token=fresh)


async def test_a_client_may_ask_for_much_at_once(running: Running) -> None:
    client = await running.client(scopes=(READ,))
    asked = [await client.request("health") for _ in range(400)]
    for one in asked:
        assert (await one.answer(30))["ok"]


async def test_requests_in_flight_are_bounded(running: Running) -> None:
    blocked, most, now = asyncio.Event(), 0, 0

    async def wait(params: Any, caller: Any) -> str:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await blocked.wait()
        now -= 1
        return "done"

    from rustyclaw import Method

    method = Method(name="test.wait", handler=wait, scope=ADMIN)
    running.gateway.methods.add(method, owner="test")
    client, other = await running.client(), await running.client()
    asked = [await client.request("test.wait") for _ in range(300)]
    assert (await other.ask("health"))["ok"]
    with suppress(TimeoutError):
        async with asyncio.timeout(0.3):
            while most <= 128:
                await asyncio.sleep(0.01)
    assert most == 128
    blocked.set()
    for one in asked:
        assert await one.answer(30) == "done"


async def test_binary_goes_on_where_it_began(running: Running) -> None:
    hello = Hello(shown={"token": TOKEN})
    apple = await (await Raw.open(running.url)).challenged()
    assert (await apple.connect(hello, opcode=2))["ok"]
    assert (await apple.ask("system-presence", opcode=2))["error"]
    assert (await apple.ask("system-presence"))["error"]
    apple.drop()
    other = await (await Raw.open(running.url)).challenged()
    assert (await other.connect(hello))["ok"]
    await other.say({"type": "req", "id": "x", "method": "health"}, 2)
    answer = await other.answer()
    assert (answer["id"], answer["error"]["code"]) == ("invalid", "INVALID_REQUEST")
    other.drop()


async def test_presence_is_told_in_one(running: Running) -> None:
    watching = await running.client()
    for _ in range(5):
        async with Client(running.url, token=TOKEN):
            pass
    await watching.event("presence")
    await watching.settled()
    assert len(watching.events("presence")) < 5


async def test_presence_holds_the_newest_alone(running: Running) -> None:
    clients = [await running.client() for _ in range(3)]
    presence = running.server.presence
    for number in range(500):
        presence.beacon(f"beacon-{number}", {"text": str(number)})
    rows = presence.rows()
    assert len(rows) == 200
    assert rows[1]["text"] == "499"
    assert clients


# --- Guests of a web chat -------------------------------------------------------------


async def test_a_guest_sees_web_chats_alone(running: Running) -> None:
    guest = await running.client(
        client_id="webchat",
        mode="webchat",
        scopes=(READ, "operator.write"),
        headers={"origin": running.url},
        caps=("tool-events", "tool-results"),
    )
    owner = await running.client()
    assert guest.hello_ok["snapshot"]["presence"] == []
    sent = {"message": "hello", "idempotencyKey": "1"}
    await owner.ask("chat.send", sessionKey="main", **sent)
    await owner.event("chat", state="final", runId="1")
    sent = {"message": "mine", "idempotencyKey": "2"}
    await guest.ask("chat.send", sessionKey="agent:main:webchat:1", **sent)
    await guest.event("chat", state="final", runId="2")
    await guest.settled()

    told = {frame["payload"].get("sessionKey") for frame in guest.events()}
    assert told <= {None, "agent:main:webchat:1"}
    health = await guest.ask("health")
    assert health["sessions"] == {"path": "", "count": 0, "recent": []}
    page = await running.client(
        client_id="openclaw-control-ui", mode="webchat", headers={"origin": running.url}
    )
    assert await page.ask("chat.history", sessionKey="main")
