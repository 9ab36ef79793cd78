"""Shortens a conversation: older messages become a summary, recent ones stay.

The transcript keeps everything; a ``compaction`` entry only says from where on the
provider is sent the messages themselves. `SummaryCompactor` is the small default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rustyclaw import hookspecs
from rustyclaw.agent.context import build
from rustyclaw.interfaces.compactor import Compactor, Summarize
from rustyclaw.messages import (
    CompactionRequest,
    CompactionResult,
    HookContext,
    Message,
    Text,
    ToolCall,
    ToolResult,
)
from rustyclaw.sessions.entries import Entry

if TYPE_CHECKING:
    from rustyclaw.agent.live import LiveSession
    from rustyclaw.hooks import Hooks

_INSTRUCTIONS = """\
Summarise the conversation below so that it can be continued without its text.
Keep: what the user wants and decided, facts and preferences they told you, names,
paths, identifiers and numbers exactly, what was done with which result, and what is
still open. Leave out pleasantries. Write short plain notes, no preamble."""
_PREVIEW = 500
_CHUNK_CHARS = 40_000


class SummaryCompactor(Compactor):
    """Asks the run's own model for a summary, chunk by chunk.

    Each chunk is summarised together with the summary so far, so that no single
    request grows beyond the window.
    """

    async def compact(self, request: CompactionRequest, summarize: Summarize) -> str:
        system = _INSTRUCTIONS
        if request.instructions:
            system += f"\nAbove all keep: {request.instructions}"
        summary = request.previous_summary
        for chunk in _chunks([_as_text(message) for message in request.messages]):
            text = f"Summary so far:\n{summary}\n\n{chunk}" if summary else chunk
            summary = await summarize(system, (Message.user(text),))
        return summary


async def compact_session(
    session: LiveSession,
    compactor: Compactor,
    summarize: Summarize,
    hooks: Hooks,
    context: HookContext,
    *,
    keep_recent: int,
    instructions: str = "",
) -> CompactionResult | None:
    """Compact a session; return ``None`` if there is nothing left to shorten.

    :param keep_recent: Entries at the end to leave alone; the cut then moves back
        to a user message, so that no call is parted from its result.
    :raises ProviderError: The summary could not be made; nothing has changed.
    """
    entries = session.transcript.entries
    last = next(
        (i for i in range(len(entries) - 1, -1, -1) if entries[i].kind == "compaction"),
        None,
    )
    start = 0 if last is None else _index_of(entries, entries[last].first_kept_id, last)
    cut = _cut_point(entries, start, keep_recent)
    if session.conversation is None or session.policy is None or cut is None:
        return None
    request = await hooks.apply(
        hookspecs.before_compaction,
        context=context,
        request=CompactionRequest(
            messages=tuple(
                build(
                    [e for e in entries[start:cut] if e.kind != "compaction"],
                    session.policy,
                )
            ),
            previous_summary="" if last is None else entries[last].summary,
            tokens=session.conversation.tokens,
            instructions=instructions,
        ),
    )
    summary = (await compactor.compact(request, summarize)).strip()
    if not summary:
        return None
    before = session.conversation.tokens
    await session.append(
        Entry.compaction(
            summary=summary, first_kept_id=entries[cut].id, tokens_before=before
        ),
        sync=True,
    )
    session.rebuild()
    result = CompactionResult(
        summary=summary,
        tokens_before=before,
        tokens_after=session.conversation.tokens,
        entries=cut - start,
    )
    await hooks.notify(hookspecs.after_compaction, context=context, result=result)
    return result


def _index_of(entries: list[Entry], entry_id: str | None, default: int) -> int:
    return next((i for i, e in enumerate(entries) if e.id == entry_id), default)


def _cut_point(entries: list[Entry], start: int, keep_recent: int) -> int | None:
    """Return the index of the first entry to keep: a user message after ``start``."""

    def is_user(index: int) -> bool:
        message = entries[index].message
        return message is not None and message.role == "user"

    wanted = max(len(entries) - keep_recent, start + 1)
    before = range(min(wanted, len(entries) - 1), start, -1)
    after = range(wanted + 1, len(entries))
    return next((i for i in (*before, *after) if is_user(i)), None)


def _as_text(message: Message) -> str:
    lines = []
    for block in message.content:
        if isinstance(block, Text):
            lines.append(block.text)
        elif isinstance(block, ToolCall):
            lines.append(f"[calls {block.name} {dict(block.arguments)!r:.{_PREVIEW}}]")
        elif isinstance(block, ToolResult):
            state = "failed" if block.is_error else "answered"
            lines.append(f"[{block.name} {state}: {block.text[:_PREVIEW]}]")
    text = "\n".join(lines).replace(
        "\n", "\n    "
    )  # no line of it can look like a role
    return f"{message.role}: {text}"


def _chunks(texts: list[str]) -> list[str]:
    chunks = [""]
    for text in texts:
        text = text[:_CHUNK_CHARS]
        if chunks[-1] and len(chunks[-1]) + len(text) > _CHUNK_CHARS:
            chunks.append("")
        chunks[-1] += f"\n\n{text}" if chunks[-1] else text
    return chunks if chunks != [""] else []
