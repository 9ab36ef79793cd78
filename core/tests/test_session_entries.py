"""Entries: what is written is read back, and nonsense is refused, not guessed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, strategies as st
from rustyclaw.messages import (
    Audio,
    File,
    Image,
    Message,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Usage,
)
from rustyclaw.sessions.entries import (
    Entry,
    decode,
    decode_block,
    encode,
    encode_block,
    new_id,
)


def joined(text: str) -> str:
    """Join two halves of a surrogate pair, which JSON cannot keep apart."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


#: Lone surrogates, NUL and U+2028 included.
any_text = st.text(st.characters()).map(joined)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner),
    max_leaves=6,
)
objects = st.dictionaries(any_text, json_values, max_size=3)
media = (
    st.builds(Image, data=st.binary(), media_type=any_text)
    | st.builds(
        Audio, data=st.binary(), media_type=any_text, transcript=st.none() | any_text
    )
    | st.builds(File, data=st.binary(), media_type=any_text, name=any_text)
)
blocks = (
    st.builds(Text, text=any_text)
    | media
    | st.builds(
        Thinking, text=any_text, signature=st.none() | any_text, redacted=st.booleans()
    )
    | st.builds(
        ToolCall,
        id=any_text,
        name=any_text,
        arguments=objects,
        signature=st.none() | any_text,
    )
    | st.builds(
        ToolResult,
        text=any_text,
        is_error=st.booleans(),
        media=st.lists(media, max_size=2).map(tuple),
        details=objects,
        call_id=any_text,
        name=any_text,
    )
)
messages = st.builds(
    Message,
    role=st.sampled_from(("user", "assistant", "tool")),
    content=st.lists(blocks, max_size=4).map(tuple),
)
tokens = st.integers(0, 10**9)
entries = (
    st.builds(
        Entry,
        kind=st.just("message"),
        parent_id=st.none() | st.text(min_size=1),
        timestamp=st.floats(0, 1e11),
        message=messages,
        source=st.none() | any_text,
        answers=st.lists(any_text, max_size=2).map(tuple),
        usage=st.none() | st.builds(Usage, input_tokens=tokens, output_tokens=tokens),
        stop_reason=st.none() | st.sampled_from(("stop", "tool_calls")),
        model=st.none() | any_text,
        synthetic=st.booleans(),
    )
    | st.builds(
        Entry,
        kind=st.just("compaction"),
        summary=any_text,
        first_kept_id=any_text,
        tokens_before=tokens,
        tokens_after=tokens,
    )
    | st.builds(Entry, kind=st.just("system"), event=any_text, data=objects)
)


@given(entries)
def test_an_entry_survives_the_way_to_disk_and_back(entry: Entry) -> None:
    line = encode(entry)
    assert line.count(b"\n") == 1
    assert len(line.decode().splitlines()) == 1
    if entry.event != "compaction":  # the old name of such an entry
        assert decode(json.loads(line)) == entry


@given(media)
def test_media_can_be_kept_as_json_elsewhere(block: Any) -> None:
    assert decode_block(json.loads(json.dumps(encode_block(block)))) == block


@given(json_values)
def test_decode_returns_an_entry_or_raises_value_error(value: Any) -> None:
    for raw in (value, {"type": "message", "message": value}, {"type": value}):
        try:
            entry = decode(raw)
        except ValueError:
            continue
        assert json.loads(encode(entry)) is not None


def test_the_format_on_disk() -> None:
    entry = Entry.of(
        Message(
            role="assistant",
            content=(
                Thinking(text="hm", signature="sig"),
                Text(text="grüß dich\u2028\x85!"),
                ToolCall(id="t1", name="look", arguments={"at": "it"}, signature="s"),
                Image(data=b"\0\xff", media_type="image/png"),
            ),
        ),
        id="00000000000000aa",
        parent_id="00000000000000a9",
        timestamp=1.5,
        answers=("telegram:default:1",),
    )
    assert encode(entry).decode() == (
        '{"type":"message","id":"00000000000000aa","parent":"00000000000000a9",'
        '"time":1.5,"message":{"role":"assistant","content":['
        '{"type":"thinking","text":"hm","signature":"sig"},'
        '{"type":"text","text":"grüß dich\\u2028\\u0085!"},'
        '{"type":"tool_call","id":"t1","name":"look","arguments":{"at":"it"},'
        '"signature":"s"},'
        '{"type":"image","data":"AP8=","media_type":"image/png"}]},'
        '"answers":["telegram:default:1"]}\n'
    )


def test_half_of_a_surrogate_pair_survives() -> None:
    entry = Entry.of(Message.user("\ud83d and \u2028 and é"))
    assert decode(json.loads(encode(entry))) == entry


@pytest.mark.parametrize("tag", ["text", "audio", "file", "tool_result"])
def test_a_block_that_lacks_fields_has_empty_ones(tag: str) -> None:
    block = decode_block({"type": tag, "extra": 1})
    assert not any(getattr(block, name) for name in block.__slots__)


@pytest.mark.parametrize(
    ("content", "blocks"),
    [("plain", (Text(text="plain"),)), (None, ()), ([], ()), ("", ())],
)
def test_content_may_be_a_string_or_nothing(content: Any, blocks: Any) -> None:
    raw = {"type": "message", "message": {"role": "user", "content": content}, "x": 1}
    entry = decode(raw, "line-1")
    assert (entry.id, entry.parent_id, entry.timestamp) == ("line-1", None, 0.0)
    assert entry.message == Message(role="user", content=blocks)
    old = decode({"type": "user", "content": content})
    assert old.message == entry.message


def test_times_may_be_written_as_text() -> None:
    when = "2026-01-29T00:00:01.000Z"
    entry = decode({"type": "user", "content": "x", "timestamp": when})
    assert entry.timestamp == datetime(2026, 1, 29, 0, 0, 1, tzinfo=UTC).timestamp()


def test_an_old_compaction_is_understood() -> None:
    data = {"first_kept": "x", "summary": "s"}
    entry = decode({"type": "system", "event": "compaction", "data": data})
    assert (entry.kind, entry.summary) == ("compaction", "s")


def test_unknown_kinds_are_kept_untouched() -> None:
    raw = {"type": "label_change", "id": 7, "time": "soon", "x": {"y": [1, "é"]}}
    entry = decode(raw, "line-3")
    assert (entry.kind, entry.id, entry.data) == ("unknown", "7", raw)
    assert json.loads(encode(entry)) == raw


@pytest.mark.parametrize(
    "raw",
    [
        None,
        5,
        "x",
        [],
        {},
        {"type": None},
        {"type": "message"},
        {"type": "message", "message": []},
        {"type": "message", "message": {"content": "x"}},
        {"type": "message", "message": {"role": "root", "content": "x"}},
        {"type": "message", "message": {"role": "user", "content": 5}},
        {"type": "message", "message": {"role": "user", "content": ["x"]}},
        {"type": "message", "message": {"role": "user", "content": [{}]}},
        {"type": "message", "message": {"role": "user", "content": [{"type": "?"}]}},
        {"type": "user", "content": [{"type": "text", "text": 5}]},
        {"type": "user", "content": [{"type": "image", "data": "!"}]},
        {"type": "assistant", "content": [{"type": "tool_call", "arguments": "x"}]},
        {"type": "user", "content": "x", "time": "yesterday"},
        {"type": "user", "content": "x", "usage": {"input_tokens": "many"}},
        {"type": "system", "event": "compaction"},
        {"type": "compaction", "summary": ["x"]},
        {"type": "compaction", "message": {"role": "user"}},
    ],
)
def test_nonsense_is_refused(raw: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(raw)


def test_values_that_json_does_not_know_do_no_harm() -> None:
    details = MappingProxyType({"at": datetime(2026, 1, 1), "in": {1: {2}}})
    result = ToolResult(text="x", details=details, call_id="t")
    line = encode(Entry.of(Message(role="tool", content=(result,))))
    assert json.loads(line)["message"]["content"][0]["details"] == {
        "at": "2026-01-01 00:00:00",
        "in": {"1": "{2}"},
    }


def test_what_is_nested_without_end_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    loop: list[Any] = []
    loop.append(loop)
    for data in (deep, loop):
        with pytest.raises(ValueError, match=r"nested|ircular"):
            encode(Entry(kind="system", event="x", data=data))


def test_ids_are_unique_and_follow_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [new_id() for _ in range(10_000)]
    assert len(set(ids)) == len(ids)
    assert {len(i) for i in ids} == {16}
    early, late = (int(i[:11], 16) for i in (ids[0], ids[-1]))
    assert early <= late
    now = datetime.now(UTC).timestamp()
    assert abs(late - now * 1000) < 60_000
    monkeypatch.setattr("time.time_ns", lambda: 10**18)  # a clock that stands still
    assert len({new_id() for _ in range(1000)}) == 1000
