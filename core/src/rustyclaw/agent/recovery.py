"""What to do when a model call fails: wait, shorten the conversation, or give up.

One `Recovery` belongs to one run and bounds all that the run may try: three
compactions, one truncation of stored tool results (after which compactions count
anew), two waits for a provider that is overloaded. A user's abort never comes here.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio

from rustyclaw.agent.truncation import cut_text
from rustyclaw.errors import ProviderError, SessionError
from rustyclaw.messages import CompactionResult, Message, RunError, ToolResult

if TYPE_CHECKING:
    from rustyclaw.agent.live import LiveSession
    from rustyclaw.sessions.entries import Entry

_MAX_COMPACTIONS = 3
_MAX_WAITS = 2
_MAX_ATTEMPTS = 32
_LONGEST_WAIT = 60.0

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

_FOR_PEOPLE = {
    "context_overflow": "The conversation is too large for this model. Send less "
    "text, start a new session with /new, or use a model with a larger context.",
    "compaction_failure": "The conversation is too large and could not be "
    "summarised. Start a new session with /new, or try again later.",
    "role_ordering": "The provider rejected the order of messages in this session. "
    "Start a new one with /new.",
    "rate_limit": "The provider's rate limit is reached. Try again in a little while.",
    "overloaded": "The provider is overloaded. Try again in a little while.",
    "timeout": "The provider did not answer in time. Try again.",
    "auth": "The provider refused the API key. Check it with `rustyclaw doctor`.",
    "auth_permanent": "The provider refused the API key for good. Set another one.",
    "billing": "The account at the provider has run out of credit.",
    "retry_limit": "The model failed too many times in this run.",
}


class Recovery:
    """The bounded attempts of one run.

    :param compact: Compacts the run's session by force.
    """

    def __init__(
        self,
        session: LiveSession,
        compact: Callable[[], Awaitable[CompactionResult | None]],
        result_limit: int,
    ) -> None:
        self._session = session
        self._compact = compact
        self._result_limit = result_limit
        self._attempts = 0
        self._compactions = 0
        self._truncated = False
        self._waits = 0

    async def recover(self, error: ProviderError, *, visible: bool) -> RunError | None:
        """Mend what can be mended; return ``None`` if the call may be repeated.

        :param visible: The failed call has already shown something to the user.
        """
        self._attempts += 1
        if self._attempts > _MAX_ATTEMPTS:
            return run_error("retry_limit", error)
        if visible:  # a repeated answer would be shown twice
            return run_error(error.kind, error)
        if is_overflow(error):
            return await self._shorten(error)
        if _ROLE_ORDER.search(str(error)):
            return run_error("role_ordering", error)
        if error.retryable and self._waits < _MAX_WAITS:
            wait = error.retry_after or 2.5 * (1 + self._waits)
            if wait <= _LONGEST_WAIT:
                self._waits += 1
                await anyio.sleep(wait)
                return None
        return run_error(error.kind, error)

    async def _shorten(self, error: ProviderError) -> RunError | None:
        failure: Exception = error
        kind = "context_overflow"
        if self._compactions < _MAX_COMPACTIONS:
            self._compactions += 1
            try:
                if await self._compact():
                    return None
            except ProviderError as exc:
                failure, kind = exc, "compaction_failure"
        if not self._truncated:
            self._truncated = True
            if await truncate_results(self._session, self._result_limit):
                self._compactions = 0
                return None
        return run_error(kind, failure)


async def truncate_results(session: LiveSession, limit: int) -> int:
    """Cut stored tool results that are too long; return how many were cut.

    The file is rewritten atomically, under the session's lock, with the same ids.

    :param limit: Characters that a single result may keep.
    """
    entries = session.transcript.entries
    changed = [_truncated(entry, limit) for entry in entries]
    count = sum(new is not old for new, old in zip(changed, entries, strict=True))
    if count:
        await session.transcript.rewrite(changed)
        session.rebuild()
    return count


def _truncated(entry: Entry, limit: int) -> Entry:
    if entry.message is None or entry.message.role != "tool":
        return entry
    blocks = tuple(
        replace(block, text=cut_text(block.text, limit))
        if isinstance(block, ToolResult) and len(block.text) > limit
        else block
        for block in entry.message.content
    )
    if blocks == entry.message.content:
        return entry
    return replace(entry, message=Message(role="tool", content=blocks))


def is_overflow(error: ProviderError) -> bool:
    """Return whether a provider says that the prompt is larger than its window."""
    if error.kind in ("rate_limit", "billing") or _NOT_OVERFLOW.search(str(error)):
        return False
    return error.kind == "context_overflow" or bool(_OVERFLOW.search(str(error)))


def run_error(kind: str, error: Exception) -> RunError:
    """Return an error whose message people can read; the log has the original."""
    if isinstance(error, SessionError) or kind not in _FOR_PEOPLE:
        return RunError(kind=_public(kind), message=str(error) or type(error).__name__)
    return RunError(kind=_public(kind), message=_FOR_PEOPLE[kind])


def _public(kind: str) -> str:
    if kind in ("auth", "auth_permanent"):
        return "auth_failure"
    named = {"rate_limit", "overloaded", "billing", "format", "model_not_found"}
    return "provider_error" if kind in named | {"unknown"} else kind
