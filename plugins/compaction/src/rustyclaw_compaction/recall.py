"""The tool that reads back what a conversation no longer shows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from pydantic import BaseModel, Field
from rustyclaw import Message, Text, Tool, ToolCall, ToolContext, ToolError, ToolResult

from rustyclaw_compaction.config import RecallConfig

if TYPE_CHECKING:
    from rustyclaw import Gateway

NAME = "conversation_recall"
_BEFORE, _AFTER = 120, 360  # characters of a hit around the place
_MOST_TERMS = 16


class Recall(Tool):
    """Search and read the earlier messages of this conversation, word for word.

    Long conversations are shortened: a summary stands for old messages, and old tool
    results are cut. With `query`, find old messages that have its words; with `entry`,
    read one of them, from `offset` on.
    """

    name = NAME
    Config = RecallConfig
    config: RecallConfig
    timeout_seconds = 30.0
    #: Set by the hook plugin of this distribution when the gateway starts.
    gateway: Gateway | None = None

    class Params(BaseModel):
        """A search or a place to read."""

        query: str = Field("", max_length=1000, description="words to look for")
        entry: str = Field("", max_length=64, description="id of a message to read")
        offset: int = Field(0, ge=0, description="first character to read")

    async def run(self, params: Params, context: ToolContext) -> ToolResult:
        """Search or read, only in the session that asks.

        :raises ToolError: Neither a query nor a known entry is given.
        """
        if bool(params.query.strip()) == bool(params.entry.strip()):
            raise ToolError("give either `query` or `entry`")
        entries = await self._entries(context.session_key)
        if params.entry:
            return self._read(entries, params.entry.strip(), params.offset)
        return await anyio.to_thread.run_sync(
            self._search, entries, params.query, abandon_on_cancel=True
        )

    async def _entries(self, session_key: str) -> Sequence[Any]:
        """Return the entries of a session before its current turn."""
        if self.gateway is None:
            raise ToolError("the hook plugin 'compaction' is off; ask the operator")
        sessions = self.gateway.state.sessions
        info = await sessions.get(session_key)
        if info is None:
            return ()
        entries = (await sessions.transcript(info)).entries
        users = [n for n, e in enumerate(entries) if e.message and _is_asked(e.message)]
        told = entries[: users[-1]] if users else entries
        return [e for e in told if e.message is not None and not _is_echo(e.message)]

    def _read(self, entries: Sequence[Any], wanted: str, offset: int) -> ToolResult:
        entry = next((e for e in entries if e.id == wanted), None)
        if entry is None:
            raise ToolError(f"this conversation has no entry {wanted!r}; search first")
        text, end = _text(entry.message), offset + self.config.max_chars
        if offset >= max(len(text), 1):
            raise ToolError(f"the entry has only {len(text)} characters")
        more = f"\n[{len(text) - end} more; read on with offset {end}]"
        piece = text[offset:end]
        return ToolResult(
            text=f"{_head(entry)}\n{piece}{more if end < len(text) else ''}",
            details={"entry": entry.id, "offset": offset, "chars": len(text)},
        )

    def _search(self, entries: Sequence[Any], query: str) -> ToolResult:
        """Find the entries with most of the terms; of equal ones the newest first."""
        phrase = " ".join(query.lower().split())
        terms = list(dict.fromkeys(phrase.split()))[:_MOST_TERMS]
        hits = []
        for place, entry in enumerate(entries):
            text = _text(entry.message)
            folded = text.lower()
            found = [term for term in terms if term in folded]
            if found:
                exact = phrase in folded
                start = folded.find(phrase if exact else max(found, key=len))
                hits.append((exact, len(found), place, entry, text, start))
        hits.sort(key=lambda hit: hit[:3], reverse=True)
        if hits and (hits[0][0] or hits[0][1] == len(terms)):
            hits = [hit for hit in hits if hit[0] or hit[1] == len(terms)]
        lines, left, shown = [], self.config.max_chars, 0
        for *_, entry, text, start in hits[: self.config.max_hits]:
            begin = max(0, start - _BEFORE)
            snippet = " ".join(text[begin : start + _AFTER].split())
            before, after = "…" * bool(begin), "…" * (start + _AFTER < len(text))
            line = f"{_head(entry)} {before}{snippet}{after}"
            left -= len(line) + 1
            if left < 0 and shown:
                break
            lines.append(line)
            shown += 1
        if len(hits) > shown:
            lines.append(f"[{len(hits) - shown} more; use more words]")
        return ToolResult(
            text="\n".join(lines) or "nothing earlier in this conversation has that",
            details={"hits": len(hits)},
        )


def _is_asked(message: Message) -> bool:
    return message.role == "user"


def _is_echo(message: Message) -> bool:
    """Return whether a message is nothing but this tool's own doing."""
    blocks = [b for b in message.content if not isinstance(b, Text) or b.text.strip()]
    return bool(blocks) and all(
        isinstance(b, ToolCall | ToolResult) and b.name == NAME for b in blocks
    )


def _head(entry: Any) -> str:
    at = datetime.fromtimestamp(entry.timestamp, UTC)
    return f"[{entry.id} {at:%Y-%m-%d %H:%M} {entry.message.role}]"


def _text(message: Message) -> str:
    """Return all that a message says, calls and results included."""
    parts = []
    for block in message.content:
        if isinstance(block, Text):
            parts.append(block.text)
        elif isinstance(block, ToolCall):
            parts.append(f"[calls {block.name} {dict(block.arguments)!r}]")
        elif isinstance(block, ToolResult):
            parts.append(f"[{block.name}]\n{block.text}")
    return "\n".join(parts)
