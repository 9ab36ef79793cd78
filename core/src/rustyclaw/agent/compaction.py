"""Shortens a conversation: older messages become a summary, recent ones stay.

The transcript keeps everything; a ``compaction`` entry only says from where on the
provider is sent the messages themselves. `SummaryCompactor` is the small default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from rustyclaw import hookspecs
from rustyclaw.agent.context import build
from rustyclaw.agent.place import workspace_of
from rustyclaw.errors import ProviderError
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
    from rustyclaw.agent.models import Model
    from rustyclaw.agent.turn import Mind

_INSTRUCTIONS = """\
Summarise the conversation below so that it can be continued without its text.
Keep: what the user wants and decided, facts and preferences they told you, names,
paths, identifiers and numbers exactly, what was done with which result, and what is
still open. Leave out pleasantries. Write short plain notes, no preamble."""
_DROPPED = "Older messages were left out, as the user asked."
_DEADLINE_SECONDS = 300.0
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
        chunk = ""
        for text in (*map(_as_text, request.messages), ""):
            if chunk and (not text or len(chunk) + len(text) > _CHUNK_CHARS):
                before = f"Summary so far:\n{summary}\n\n" if summary else ""
                summary = await summarize(system, (Message.user(before + chunk),))
                chunk = ""
            chunk += f"{text}\n\n"
        return summary


async def compact_session(
    session: LiveSession,
    model: Model,
    mind: Mind,
    context: HookContext,
    summarize: Summarize,
    instructions: str = "",
    keep: int | None = None,
) -> CompactionResult | None:
    """Compact a session; return ``None`` if there is nothing left to shorten.

    :param instructions: What a person asked to keep.
    :param keep: Keep so many entries, and write no summary of the others.
    :raises ProviderError: The summary could not be made; nothing has changed.
    """
    entries, policy = session.transcript.entries, model.provider.transcript_policy
    places = {entry.id: place for place, entry in enumerate(entries)}
    last = next((e for e in reversed(entries) if e.kind == "compaction"), None)
    start = places.get(last.first_kept_id, places[last.id]) if last else 0
    recent = mind.config.session.compact_keep_recent if keep is None else keep
    cut = _cut_point(entries, start, recent)
    if cut is None or (keep is not None and len(entries) - start <= keep):
        return None
    older = [entry for entry in entries[start:cut] if entry.kind != "compaction"]
    before = session.talk(policy).tokens
    request = await mind.hooks.apply(
        hookspecs.before_compaction,
        context=context,
        request=CompactionRequest(
            messages=tuple(build(older, policy)),
            previous_summary=last.summary if last else "",
            tokens=before,
            instructions=instructions,
            context_window=model.window,
            session_key=context.session_key,
            workspace=workspace_of(mind.config, mind.home, context.agent_id),
        ),
    )
    summary = await _summary(request, summarize, mind) if keep is None else _DROPPED
    kept = entries[cut].id
    mark = Entry.compaction(summary=summary, first_kept_id=kept, tokens_before=before)
    await session.append(mark, sync=True)
    session.rebuild()
    result = CompactionResult(
        summary=summary,
        tokens_before=before,
        tokens_after=session.talk(policy).tokens,
        entries=cut - start,
    )
    await mind.hooks.notify(hookspecs.after_compaction, context=context, result=result)
    return result


async def _summary(request: CompactionRequest, summarize: Summarize, mind: Mind) -> str:
    name = mind.config.agents.defaults.compactor
    compactor: Compactor = SummaryCompactor()
    if name != "summary":
        compactor = mind.loader.create("compactors", name, Compactor)
    with anyio.move_on_after(_DEADLINE_SECONDS):
        if summary := (await compactor.compact(request, summarize)).strip():
            return summary
    raise ProviderError("summarization failed: no summary came")


def _cut_point(entries: list[Entry], start: int, keep_recent: int) -> int | None:
    """Return the place of the first entry to keep, behind ``start``.

    It is a user's message, the next one that leaves ``keep_recent`` entries or more;
    in a turn that is too long by itself an assistant's. So no call is parted from
    its result.
    """
    wanted = max(len(entries) - keep_recent, start + 1)
    nearest_first: list[int] = [*range(min(wanted, len(entries) - 1), start, -1)]
    nearest_first += range(wanted + 1, len(entries))
    for role in ("user", "assistant"):
        for place in nearest_first:
            message = entries[place].message
            if message is not None and message.role == role:
                return place
    return None


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
    # indented, so that no line of it can look like a role
    text = "\n".join(lines).replace("\n", "\n    ")
    return f"{message.role}: {text}"[:_CHUNK_CHARS]
