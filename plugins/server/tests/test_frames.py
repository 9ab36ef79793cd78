"""Whatever comes in: a request, or an error that can be told; never anything else."""

from __future__ import annotations

import json
import string
from contextlib import suppress
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from pydantic import ValidationError
from rustyclaw_server.auth.origin import refusal
from rustyclaw_server.config import ServerConfig
from rustyclaw_server.wire import frames
from rustyclaw_server.wire.meter import Meter, TooLong

from .client import SCOPES, Device, Hello
from .conftest import TOKEN, Running
from .raw import BINARY, TEXT, Raw, frame

TEXTS = st.text(st.characters(exclude_categories=[]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4)
    ),
    max_leaves=12,
)
ENVELOPES = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["req", "res", "event", "x"]) | VALUES,
        "id": st.just("x") | VALUES,
        "method": st.sampled_from(["health", "connect", "chat.send"]) | VALUES,
        "params": VALUES,
        "extra": VALUES,
    },
)
MESSAGES = (
    ENVELOPES.map(json.dumps)
    | VALUES.map(json.dumps)
    | st.text(string.printable, max_size=60)
)


@given(MESSAGES)
def test_a_frame_is_a_request_or_a_bad_one(text: str) -> None:
    try:
        request = frames.request(text)
    except frames.BadFrame as bad:
        if bad.reply_to is not None:
            answer = frames.failed(bad.reply_to, "INVALID_REQUEST", str(bad))
            assert json.loads(answer.encode())["error"]["message"]
            assert len(answer) < 4096
        return
    assert request.id
    assert isinstance(request.method, str)
    json.loads(frames.ok(request.id, None).encode())


@given(ENVELOPES)
def test_parameters_of_connect_are_valid_or_not(raw: Any) -> None:
    for strict in (True, False):
        try:
            frames.validate(frames.ConnectParams, raw, strict=strict)
        except ValidationError as error:
            told = frames.problems(error)
        else:
            told = "fine"
        assert 0 < len(told) < 8192


@pytest.mark.parametrize("depth", [1, 63, 64, 65, 900, 5000, 200_000])
@pytest.mark.parametrize("pair", ["[]", '{"a":}'])
def test_depth_has_an_end(depth: int, pair: str) -> None:
    text = pair[:-1] * depth + ("1" if ":" in pair else "") + pair[-1] * depth
    if depth > 64:
        with pytest.raises(frames.BadFrame):
            frames.parse(text)
    else:
        frames.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "[" + "{}," * 200_000 + "{}]",
        "[" + "0," * 2_000_000 + "0]",
        "{" + ",".join(f'"{n}":0' for n in range(10_001)) + "}",
        '{"a":' + "1" * 5000 + "}",
    ],
    ids=["objects", "numbers", "keys", "digits"],
)
def test_what_costs_much_to_read_is_refused(text: str) -> None:
    with pytest.raises(frames.BadFrame):
        frames.parse(text)


def test_a_large_text_is_no_problem() -> None:
    text = json.dumps({"type": "req", "id": "1", "method": "m", "params": {"a": "[{,"}})
    assert frames.request(text.replace("[{,", "[{," * 20_000)).params


# --- Below the frames -----------------------------------------------------------------

FRAMES = st.lists(
    st.builds(
        frame,
        st.integers(0, 70_000).map(bytes) | st.binary(max_size=200),
        st.sampled_from([0, 1, 2, 8, 9, 10]),
    ),
    max_size=8,
)


@given(FRAMES, st.lists(st.integers(1, 40_000), max_size=20), st.integers(1, 3))
def test_the_meter_stops_between_frames(
    sent: list[bytes], sizes: list[int], turn: int
) -> None:
    stream, meter, at = b"".join(sent), Meter(), 0
    ends = {sum(map(len, sent[:n])) for n in range(len(sent) + 1)}
    for size in (*sizes, len(stream)):
        piece = stream[at : at + size]
        while piece:
            cut = meter.cut(piece, 2**20, turn)
            assert cut
            at, piece = at + cut, piece[cut:]
            if piece:
                assert at in ends
            assert meter.inside == (at not in ends)
    assert at == len(stream)


@given(st.binary(max_size=400), st.integers(1, 20))
def test_the_meter_takes_anything(data: bytes, size: int) -> None:
    meter = Meter()
    for start in range(0, len(data), size):
        piece = data[start : start + size]
        while piece:
            try:
                piece = piece[meter.cut(piece, 1000, 2) :]
            except TooLong:
                return


@pytest.mark.parametrize("size", [126, 65_536, 2**40])
def test_the_meter_refuses_a_length_by_its_header(size: int) -> None:
    head = b"\x81\xff" + size.to_bytes(8, "big")
    with pytest.raises(TooLong):
        Meter().cut(head + b"\0\0\0\0", 125, 9)
    meter = Meter()
    *first, last = (bytes([byte]) for byte in head + b"\0\0\0\0")
    for byte in first:
        assert meter.cut(byte, 125, 9) == 1
    with pytest.raises(TooLong):
        meter.cut(last, 125, 9)


# --- Origins --------------------------------------------------------------------------


@given(TEXTS | st.builds("http://{}".format, TEXTS), TEXTS | st.just("127.0.0.1:1"))
def test_no_odd_origin_passes(origin: str, host: str) -> None:
    if not refusal({"origin": origin, "host": host}, ServerConfig()):
        assert origin.lower() == f"http://{host.strip().lower()}"


@pytest.mark.parametrize(
    ("settings", "origin", "host", "may"),
    [
        ({}, "http://127.0.0.1:1", "127.0.0.1:1", True),
        ({}, "http://gw.lan:1", "gw.lan:1", False),
        ({"allowed_hosts": ["GW.lan"]}, "http://gw.lan:1", "gw.lan:1", True),
        ({"allowed_hosts": ["gw.lan"]}, "http://evil.gw.lan:1", "evil.gw.lan:1", False),
        ({"allowed_origins": ["https://a.b"]}, "https://a.b", "127.0.0.1:1", True),
        ({"allowed_origins": ["https://a.b"]}, "https://a.b", "a.b", True),
        ({"allowed_origins": ["https://a.b"]}, "https://a.b", "evil.example", False),
        ({"allowed_origins": ["https://a.b"]}, "https://a.b.c", "127.0.0.1:1", False),
        ({"allowed_origins": ["https://a.b"]}, "https://a.b:444", "127.0.0.1", False),
        ({"trusted_proxies": ["::1"]}, "https://127.0.0.1", "127.0.0.1", True),
    ],
)
def test_pages_and_the_names_they_use(
    settings: Any, origin: str, host: str, may: bool
) -> None:
    problem = refusal({"origin": origin, "host": host}, ServerConfig(**settings))
    assert (problem == "") is may


# --- The real thing -------------------------------------------------------------------


async def settled(raw: Raw, connected: bool) -> None:
    """Wait until the gateway has answered what was sent last, or has closed."""
    with suppress(EOFError):
        if connected:
            assert (await raw.answer("last", 30))["ok"]
        else:
            await raw.ended(30)


async def test_a_served_gateway_survives_any_frame(running: Running) -> None:
    watching = await running.client()
    hello = Hello(device=Device(), shown={"token": TOKEN}, scopes=SCOPES)

    async def try_(connected: bool, message: str, opcode: int) -> None:
        raw = await (await Raw.open(running.url)).challenged()
        try:
            if connected:
                assert (await raw.connect(hello))["ok"]
            await raw.say(message.encode(errors="surrogatepass"), opcode)
            await raw.say({"type": "req", "id": "last", "method": "health"})
            await settled(raw, connected)
        finally:
            raw.drop()

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.booleans(), MESSAGES, st.sampled_from([TEXT, BINARY]))
    def fuzz(connected: bool, message: str, opcode: int) -> None:
        anyio.from_thread.run(try_, connected, message, opcode)

    await anyio.to_thread.run_sync(fuzz)
    assert (await watching.ask("health"))["ok"]
