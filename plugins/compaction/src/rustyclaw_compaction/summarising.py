"""Makes one summary out of many messages, in pieces that fit into the window."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Sequence

import anyio
from rustyclaw import Message, ProviderError, Summarize

from rustyclaw_compaction.chunks import (
    MARGIN,
    chunk_limit,
    chunks,
    halves,
    is_oversized,
    needs_parts,
    total,
)
from rustyclaw_compaction.config import SafeguardConfig
from rustyclaw_compaction.prompts import merge_prompt, summary_prompt
from rustyclaw_compaction.wording import Unit, middle_cut

logger = logging.getLogger(__name__)

#: Failures that smaller pieces, or none, may mend; any other ends the compaction,
#: since to keep the messages is better than to lose them.
BY_SIZE = ("context_overflow", "format")
_FIRST_WAIT, _LONGEST_WAIT, _JITTER = 0.5, 5.0, 0.2
_OVERSIZED_CHARS = 2_000


class Summariser:
    """Asks the model for summaries, as often as it takes.

    :param window: Of the model, in tokens.
    :param asked: What a person wants to be kept.
    :param sleep: Waits between two tries.
    """

    def __init__(
        self,
        summarize: Summarize,
        config: SafeguardConfig,
        window: int,
        asked: str = "",
        *,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._summarize = summarize
        self._config = config
        self._window = window
        self._asked = asked
        self._sleep = sleep

    async def summary(
        self, units: Sequence[Unit], before: str = "", problems: str = ""
    ) -> str:
        """Return a summary of units; of nothing but statistics if that must be.

        :param before: The summary so far.
        :param problems: What was wrong with the last try.
        :raises ProviderError: The model cannot be asked now.
        """
        if not units:
            return before or "No prior history."
        small = [unit for unit in units if not is_oversized(unit, self._window)]
        notes = "\n".join(
            _note(unit) for unit in units if is_oversized(unit, self._window)
        )
        try:
            text = await self._staged(small, before, problems) if small else before
            return "\n\n".join(filter(None, (text, notes)))
        except ProviderError as exc:
            if exc.kind not in BY_SIZE:
                raise
            logger.warning("no summary is possible, only a count remains: %s", exc)
        return "\n\n".join(filter(None, (before, _statistics(units), notes)))

    async def _staged(self, units: list[Unit], before: str, problems: str) -> str:
        """Summarise at once, or in two parts that are then merged."""
        limit = chunk_limit(units, self._window)
        if not needs_parts(units, limit):
            return await self._in_chunks(units, limit, before, problems)
        partial = [await self._in_chunks(part, limit, "", "") for part in halves(units)]
        texts = [f"Summary so far:\n{before}"] * bool(before)
        texts += [f"Part {n}:\n{text}" for n, text in enumerate(partial, 1)]
        system = merge_prompt(self._config, self._asked, problems)
        return await self.ask(system, "\n\n".join(texts))

    async def _in_chunks(
        self, units: list[Unit], limit: int, before: str, problems: str
    ) -> str:
        """Summarise chunk by chunk, each together with the summary so far."""
        system = summary_prompt(self._config, self._asked, problems)
        for chunk in chunks(units, limit):
            parts = [f"Summary so far:\n{before}"] * bool(before)
            parts += ["Conversation:", *(unit.text for unit in chunk)]
            before = await self.ask(system, "\n\n".join(parts))
        return before

    async def ask(self, system: str, text: str) -> str:
        """Ask the model once; try again what may go better a little later.

        :raises ProviderError: It did not; of kind ``format`` if no text came.
        """
        for attempt in range(self._config.retries):
            try:
                answer = await self._summarize(system, (Message.user(text),))
                if answer := answer.strip():
                    return answer
                error = ProviderError("the summary is empty", kind="format")
            except ProviderError as exc:
                if not exc.retryable:
                    raise
                error = exc
            if attempt + 1 < self._config.retries:
                wait = min(_FIRST_WAIT * 2**attempt, _LONGEST_WAIT)
                wait = max(wait, min(error.retry_after or 0, _LONGEST_WAIT))
                await self._sleep(wait * random.uniform(1 - _JITTER, 1 + _JITTER))
        raise error

    async def older_first(
        self, units: list[Unit], before: str, kept_tokens: int
    ) -> tuple[list[Unit], str]:
        """Summarise the oldest units apart while the rest is too much at once.

        :param kept_tokens: Size of what stays in the conversation.
        :returns: The units that remain to be summarised, and the summary so far.
        """
        share = self._window * self._config.max_history_share
        if kept_tokens <= share * MARGIN:
            return units, before
        dropped: list[Unit] = []
        while len(units) > 1 and total(units) > share:
            older, units = halves(units)
            dropped += older
        if dropped:
            try:
                before = await self.summary(dropped, before)
            except ProviderError as exc:
                logger.warning(
                    "%d old messages are not summed up: %s", len(dropped), exc
                )
        return units, before


def _note(unit: Unit) -> str:
    role, size = unit.messages[0].role, max(1, round(unit.tokens / 1000))
    excerpt = middle_cut(unit.text, _OVERSIZED_CHARS)
    return (
        f"Large {role} (~{size}K tokens) omitted from summary; an excerpt:\n{excerpt}"
    )


def _statistics(units: Sequence[Unit]) -> str:
    roles = [message.role for unit in units for message in unit.messages]
    return (
        f"A summary of {len(roles)} messages ({roles.count('user')} of the user, "
        f"{roles.count('assistant')} of the assistant, {roles.count('tool')} of tools) "
        "is unavailable due to size."
    )
