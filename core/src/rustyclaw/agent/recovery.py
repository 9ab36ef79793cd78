"""What a failed model call means, and how people are told of it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from rustyclaw.agent.truncation import cut_text
from rustyclaw.errors import ProviderError, RustyclawError, SessionError, StorageError
from rustyclaw.messages import Block, ToolResult
from rustyclaw.runs import RunError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rustyclaw.agent.live import LiveSession
    from rustyclaw.sessions.entries import Entry

_OVERFLOW = re.compile(
    r"request_too_large|request exceeds the maximum size|context length exceeded"
    r"|maximum context length|prompt (is )?too long|exceeds model context window"
    r"|context overflow|413.*too large|model token limit|exceed context limit"
    r"|exceeds the model's maximum context|context_(window|length)_exceeded"
    r"|max_tokens.*exceed.*context|input length.*exceed.*context"
    r"|input token count.*exceeds the maximum|input is too long"
    r"|request size exceeds.*context (window|length)",
    re.IGNORECASE | re.DOTALL,
)
_NOT_OVERFLOW = re.compile(
    r"tokens per minute|\btpm\b|too small|minimum", re.IGNORECASE
)
_ROLE_ORDER = re.compile(
    r"incorrect role information|roles must alternate", re.IGNORECASE
)
_IMAGE_SIZE = re.compile(
    r"image (dimensions?|size|exceeds)|image.{0,40}too (large|many)", re.IGNORECASE
)
_LONGEST_MESSAGE = 500

#: Kinds that a run's error has as well.
_PUBLIC = {"context_overflow", "role_ordering", "image_size", "timeout", "retry_limit"}
#: Kind of a failure -> what people are told.
_FOR_PEOPLE = {
    "context_overflow": "The conversation is too large for this model. Send less "
    "text, start a new session with /new, or use a model with a larger context.",
    "compaction_failure": "The conversation is too large and could not be "
    "summarised. Start a new session with /new, or try again later.",
    "role_ordering": "The provider rejected the order of messages in this session. "
    "Start a new one with /new.",
    "timeout": "The provider did not answer in time. Try again.",
    "rate_limit": "The provider's rate limit is reached. Try again in a little while.",
    "overloaded": "The provider is overloaded. Try again in a little while.",
    "auth": "The provider refused the API key. Check it with `rustyclaw doctor`.",
    "auth_permanent": "The provider refused the API key for good. Set another one.",
    "billing": "The account at the provider has run out of credit.",
}


class RunFailed(Exception):
    """The run cannot go on; ``kind`` as in `RunError`."""

    def __init__(self, kind: str, message: str = "") -> None:
        super().__init__(message or _FOR_PEOPLE[kind])
        self.kind = kind


def run_error(error: Exception, scrub: Callable[[str], str]) -> RunError:
    """Return an error whose message people can read; the log has the original.

    :param scrub: Removes secrets from a text.
    """
    message = scrub(str(error) or type(error).__name__)[:_LONGEST_MESSAGE]
    if isinstance(error, RunFailed):
        return RunError(kind=error.kind, message=message)
    if isinstance(error, StorageError | SessionError):
        return RunError(kind="storage", message=message)
    if not isinstance(error, RustyclawError):
        return RunError(kind="internal", message=f"internal error: {message}")
    kind = "unknown"
    if isinstance(error, ProviderError):
        kind = "context_overflow" if is_overflow(error) else error.kind
    if _ROLE_ORDER.search(message):
        kind = "role_ordering"
    elif kind in ("format", "unknown") and _IMAGE_SIZE.search(message):
        kind = "image_size"  # the message names the limit, if there is one
    public = kind if kind in _PUBLIC else ""
    if kind in ("auth", "auth_permanent"):
        public = "auth_failure"
    if not getattr(error, "attempts", ()):
        message = _FOR_PEOPLE.get(kind, message)
    return RunError(kind=public or "provider_error", message=message)


def is_overflow(error: ProviderError) -> bool:
    """Return whether a provider says that the prompt is larger than its window."""
    if error.kind in ("rate_limit", "billing") or _NOT_OVERFLOW.search(str(error)):
        return False
    return error.kind == "context_overflow" or bool(_OVERFLOW.search(str(error)))


async def truncate_results(session: LiveSession, limit: int) -> bool:
    """Cut stored tool results that are too long; return whether there were any.

    The file is rewritten atomically, under the session's lock, with the same ids.

    :param limit: Characters that a single result may keep.
    """
    entries = session.transcript.entries
    cut = [_cut(entry, limit) for entry in entries]
    if cut == entries:
        return False
    await session.transcript.rewrite(cut)
    session.rebuild()
    return True


def _cut(entry: Entry, limit: int) -> Entry:
    if entry.message is None or entry.message.role != "tool":
        return entry
    blocks: list[Block] = []
    for block in entry.message.content:
        if isinstance(block, ToolResult) and (size := len(block.text)) > limit:
            details = {**block.details, "original_chars": size}
            block = replace(block, text=cut_text(block.text, limit), details=details)
        blocks.append(block)
    return replace(entry, message=replace(entry.message, content=tuple(blocks)))
