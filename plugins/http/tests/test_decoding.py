"""Bytes to events, however they are cut into pieces."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pytest
from hypothesis import given, strategies as st
from rustyclaw_http.decoding import (
    EventDecoder,
    Inflater,
    JsonLineDecoder,
    Mender,
    NotReadable,
    TooLarge,
)

LIMIT = 1_000_000


def events(*pieces: bytes, limit: int = LIMIT) -> list[tuple[str, str]]:
    decoder = EventDecoder(limit)
    found = [event for piece in pieces for event in decoder.feed(piece)]
    return [(e.event, e.data) for e in (*found, *decoder.flush())]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("data: a\n\n", [("message", "a")]),
        ("data:a\n\n", [("message", "a")]),
        ("data:  a \n\n", [("message", " a ")]),
        ("data: a\ndata: b\n\n", [("message", "a\nb")]),
        ("data\n\n", [("message", "")]),
        ("event: ping\ndata: {}\n\n", [("ping", "{}")]),
        ("event: ping\n\n", []),
        ("event: x\n\ndata: a\n\n", [("message", "a")]),
        (": comment\n\ndata: a\n\n", [("message", "a")]),
        ("\n\n\n\ndata: a\n\n\n\n", [("message", "a")]),
        ("id: 1\nretry: 5\nfoo: bar\ndata: a\n\n", [("message", "a")]),
        ("data: a\r\rdata: b\r\n\r\n", [("message", "a"), ("message", "b")]),
        ("\ufeffdata: a\n\n", [("message", "a")]),
        ("data: \ufeff\n\n", [("message", "\ufeff")]),
        ("data: a", []),
        ("data: a\n", []),
        ("data: a\x00\x85\u2028b\n\n", [("message", "a\x00\x85\u2028b")]),
    ],
)
def test_events(text: str, found: list[tuple[str, str]]) -> None:
    data = text.encode()
    assert events(data) == found
    assert events(*(data[i : i + 1] for i in range(len(data)))) == found


def test_an_event_does_not_wait_for_what_follows() -> None:
    decoder = EventDecoder(LIMIT)
    assert [e.data for e in decoder.feed(b"data: a\r\r")] == ["a"]
    assert [e.data for e in decoder.feed(b"data: b\r\n\r")] == ["b"]
    assert [e.data for e in decoder.feed(b"\ndata: c\n\n")] == ["c"]


def test_broken_utf8_is_replaced() -> None:
    assert events(b"data: a\xffb\n\n") == [("message", "a\ufffdb")]


@given(
    st.lists(st.tuples(st.sampled_from(["", "ping"]), st.text())),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.lists(st.integers(1, 9), min_size=1),
)
def test_any_texts_in_any_pieces(
    sent: list[tuple[str, str]], end: str, cuts: list[int]
) -> None:
    data = b""
    for name, text in sent:
        lines = [f"event: {name}"] if name else []
        lines += [f"data: {line}" for line in json.dumps(text).split("\n")]
        data += "".join(line + end for line in [*lines, ""]).encode()
    pieces, start = [], 0
    while start < len(data):
        size = cuts[len(pieces) % len(cuts)]
        pieces.append(data[start : start + size])
        start += size

    found = events(*pieces)

    assert [(n, json.loads(d)) for n, d in found] == [
        (name or "message", text) for name, text in sent
    ]


@given(st.lists(st.binary()))
def test_any_bytes(pieces: list[bytes]) -> None:
    assert events(*pieces) == events(b"".join(pieces))


@pytest.mark.parametrize(
    "piece", [b"x" * 100, b"data: x\n" * 10, b"data: " + b"x" * 99]
)
def test_events_are_bounded(piece: bytes) -> None:
    with pytest.raises(TooLarge):
        events(*[piece] * 100, limit=500)


def test_many_events_are_not_one_large_one() -> None:
    assert len(events(b"data: x\n\n" * 1000, limit=500)) == 1000


def lines(*pieces: bytes, limit: int = LIMIT) -> list[Any]:
    decoder = JsonLineDecoder(limit)
    found = [value for piece in pieces for value in decoder.feed(piece)]
    return [*found, *decoder.flush()]


@given(st.lists(st.text() | st.integers()), st.integers(1, 9))
def test_json_lines(values: list[Any], size: int) -> None:
    data = "".join(json.dumps(v, ensure_ascii=False) + "\n" for v in values).encode()
    assert lines(*(data[i : i + size] for i in range(0, len(data), size))) == values


@pytest.mark.parametrize("data", [b"{", b"\xff\n", b"[" * 10**5, b'{"a": 1} x\n'])
def test_lines_that_are_no_json(data: bytes) -> None:
    with pytest.raises(NotReadable):
        lines(data)


def test_lines_are_bounded() -> None:
    with pytest.raises(TooLarge):
        lines(*[b"x" * 100] * 100, limit=500)


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
@pytest.mark.parametrize("size", [1, 7, 10**6])
def test_inflating(compress: Any, size: int) -> None:
    data = compress(b"hello " * 10_000)
    inflater = Inflater("gzip")
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    found = [piece for part in pieces for piece in inflater.feed(part)]
    assert b"".join(found) == b"hello " * 10_000


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (["a", "b"], "ab"),
        (["Gr\u00fc\u00dfe \ud83e", "\udd80!"], "Grüße 🦀!"),
        (["\ud83e\udd80"], "🦀"),
        (["\ud83e", "x"], "\ufffdx"),
        (["\udd80x"], "\ufffdx"),
        (["a\ud83e"], "a"),
    ],
)
def test_torn_characters(pieces: list[str], text: str) -> None:
    mender = Mender()
    assert "".join(map(mender.feed, pieces)) == text


@given(st.text(), st.integers(1, 3))
def test_any_text_in_halves(text: str, size: int) -> None:
    units = text.encode("utf-16-le")
    halves = [
        units[i : i + 2 * size].decode("utf-16-le", "surrogatepass")
        for i in range(0, len(units), 2 * size)
    ]
    mender = Mender()
    assert "".join(map(mender.feed, halves)) == text


def test_a_bomb_arrives_in_bounded_pieces() -> None:
    data = gzip.compress(bytes(50_000_000))
    assert max(map(len, Inflater("gzip").feed(data))) <= 256 * 1024


def test_what_cannot_be_inflated() -> None:
    with pytest.raises(NotReadable, match="'br'"):
        Inflater("br")
    with pytest.raises(NotReadable):
        list(Inflater("gzip").feed(b"no gzip"))
    assert list(Inflater("").feed(b"x")) == [b"x"]
