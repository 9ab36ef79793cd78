"""Every row of the corpus of damaged session files, written in our own format."""

from __future__ import annotations

import json
import os
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rustyclaw import Message, SessionError, Text, ToolCall, ToolResult
from rustyclaw.agent.context import RESULT_LIMIT, Conversation
from rustyclaw.interfaces.provider import TranscriptPolicy
from rustyclaw.sessions.database import Database
from rustyclaw.sessions.entries import Entry, encode
from rustyclaw.sessions.store import SessionStore
from rustyclaw.sessions.transcript import Transcript

KEY = "agent:main:telegram:dm:1"
SESSION = "00000000000000aa"
HEADER = {"type": "session", "version": 1, "id": SESSION, "key": KEY, "time": 1.0}
CORPUS = Path(__file__).parent / "data" / "transcripts.jsonl"
ROWS = [json.loads(line) for line in CORPUS.read_text().splitlines()]


def rows(*, indexed: bool) -> list[Any]:
    chosen = [row for row in ROWS if ("index_raw" in row) == indexed]
    return [pytest.param(row, id=f"{row['id']}-{row['case']}") for row in chosen]


def entry(raw: dict[str, Any]) -> Entry:
    """Return what the corpus calls an entry."""
    if raw["kind"] == "user":
        return Entry.of(Message.user(raw["text"]))
    if raw["kind"] == "tool_result":
        result = ToolResult(
            text=raw["content"],
            is_error=raw["is_error"],
            call_id=raw["tool_call_id"],
            name=raw["tool"],
        )
        return Entry.of(Message(role="tool", content=(result,)))
    text = (Text(text=raw["text"]),) if raw["text"] else ()
    calls = tuple(ToolCall(**call) for call in raw["tool_calls"])
    return Entry.of(Message(role="assistant", content=(*text, *calls)))


def written(row: dict[str, Any]) -> bytes:
    """Return the file that a row describes."""
    data, has_header = b"", row["case"] in ("missing-header", "future-version", "html")
    for op in row["ops"]:
        if "raw_b64" in op:
            data += b64decode(op["raw_b64"])
            continue
        if not has_header and '"session"' not in op.get("raw", ""):
            data += json.dumps(HEADER).encode() + b"\n"
        has_header = True
        if "raw" in op:
            data += op["raw"].encode()
        elif "entry_prefix" in op:
            line = encode(entry(op["entry_prefix"]))
            data += line[: int(len(line) * op["fraction"])]
        elif "generate" in op:
            result = {"kind": "tool_result", "tool_call_id": op["id"], "tool": "exec"}
            result |= {"content": "x" * op["bytes"], "is_error": False}
            data += encode(entry(result))
        else:
            line = encode(entry(op["entry"]))
            data += line.replace(b"\n", op.get("nl", "\n").encode())
    return data


def assert_valid_request(messages: Sequence[Message]) -> None:
    """Check what the strictest provider demands of a conversation."""
    assert not messages or messages[0].role == "user"
    seen: set[str] = set()
    for place, message in enumerate(messages):
        after = messages[place + 1] if place + 1 < len(messages) else None
        assert message.content
        assert after is None or after.role != message.role
        assert all(b.text.strip() for b in message.content if isinstance(b, Text))
        ids = [call.id for call in message.tool_calls]
        assert all(ids)
        assert len(ids) == len(set(ids))
        assert not seen & set(ids)
        seen |= set(ids)
        answered = after.content if after and after.role == "tool" else ()
        assert [b.call_id for b in answered if isinstance(b, ToolResult)] == ids


@pytest.mark.parametrize("row", rows(indexed=False))
async def test_a_damaged_transcript_is_still_a_conversation(
    tmp_path: Path, row: dict[str, Any]
) -> None:
    path, expect = tmp_path / f"{SESSION}.jsonl", row["expect"]
    if row.get("path_is") == "fifo":
        os.mkfifo(path)
    else:
        path.write_bytes(written(row))
    if expect["load"].startswith("refused"):
        data = b"" if row.get("path_is") else path.read_bytes()
        with pytest.raises(SessionError):
            await Transcript.load(path, KEY)
        assert row.get("path_is") or path.read_bytes() == data
        return
    transcript = await Transcript.load(path, KEY)
    report = transcript.report
    kept = expect.get("entries_kept", expect.get("entries_kept_if_ok"))
    assert report.entries == len(transcript.entries)
    assert kept is None or report.entries == kept
    assert report.entries >= expect.get("entries_kept_min", 0)
    assert report.skipped_lines <= expect.get("skipped_lines_max", 99)
    assert report.skipped_lines == expect.get("skipped_lines", report.skipped_lines)
    assert report.dropped_tail == expect.get("dropped_tail", report.dropped_tail)
    if expect.get("quarantined"):
        assert report.quarantined_path is not None
        assert report.quarantined_path.read_bytes() == written(row)

    conversation = Conversation(transcript.entries, TranscriptPolicy())
    assert_valid_request(conversation.messages)
    repairs = conversation.report
    assert repairs.added == expect.get("synthetic_tool_results", repairs.added)
    assert repairs.moved == expect.get("moved_results", repairs.moved)
    dropped = repairs.orphans + repairs.duplicates
    assert dropped == expect.get("dropped_for_provider", dropped)

    before = list(transcript.entries)
    added = await transcript.append(Entry.of(Message.user("and now?")))
    again = await Transcript.load(path, KEY)
    assert [e.message for e in again.entries] == [e.message for e in (*before, added)]


def conversation_of(case: str) -> list[Message]:
    row = next(row for row in ROWS if row["case"] == case)
    entries = [entry(op["entry"]) for op in row["ops"] if "entry" in op]
    return Conversation(entries, TranscriptPolicy()).messages


def test_an_id_that_is_used_again_stays_with_its_own_turn() -> None:
    messages = conversation_of("duplicate-call-id")
    results = [b for m in messages for b in m.content if isinstance(b, ToolResult)]
    assert [result.text for result in results] == ["A", "B"]


def test_a_message_that_came_twice_is_not_silently_one() -> None:
    first, _ = conversation_of("duplicate-entry")
    assert first.content == (Text(text="a"), Text(text="a"))


def test_a_final_answer_ends_without_white_space() -> None:
    assert conversation_of("assistant-trailing-space")[-1].text == "ok"


async def test_the_summary_of_a_dangling_compaction_is_used(tmp_path: Path) -> None:
    row = next(row for row in ROWS if row["case"] == "compaction-marker-dangling")
    (tmp_path / "x.jsonl").write_bytes(written(row))
    transcript = await Transcript.load(tmp_path / "x.jsonl", KEY)
    first, last = Conversation(transcript.entries, TranscriptPolicy()).messages
    assert first.text.endswith("s\nhi")
    assert last.text == "hello"


async def test_an_oversized_result_is_cut_for_the_request_only(tmp_path: Path) -> None:
    row = next(row for row in ROWS if row["case"] == "oversized-tool-result")
    (tmp_path / "x.jsonl").write_bytes(written(row))
    transcript = await Transcript.load(tmp_path / "x.jsonl", KEY)
    conversation = Conversation(transcript.entries, TranscriptPolicy())
    assert conversation.tokens < RESULT_LIMIT / 4 + 100
    assert (tmp_path / "x.jsonl").stat().st_size > 10_000_000


@pytest.mark.parametrize("row", rows(indexed=True))
async def test_a_damaged_index_is_rebuilt_from_the_files(
    tmp_path: Path, row: dict[str, Any]
) -> None:
    folder = tmp_path / "agents" / "main" / "sessions"
    folder.mkdir(parents=True)
    (folder / f"{SESSION}.jsonl").write_bytes(written(row))
    (tmp_path / "state.db").write_text(row["index_raw"])
    database = Database(tmp_path / "state.db")
    store = SessionStore(tmp_path, database)
    try:
        (info,) = await store.list()
        assert (info.key, info.session_id) == (KEY, SESSION)
        transcript = await store.transcript(info)
        assert len(transcript.entries) == 2
        await transcript.append(Entry.of(Message.user("next")))
    finally:
        await database.close()
    (aside,) = tmp_path.glob("state.db.corrupt-*")
    assert aside.read_text() == row["index_raw"]
