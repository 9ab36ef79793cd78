"""The compactor: a summary by the model, guarded by what is kept without it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise

import anyio
import anyio.to_thread
from rustyclaw import CompactionRequest, Compactor, Message, ProviderError, Summarize

from rustyclaw_compaction import flush, kept
from rustyclaw_compaction.agents_file import read_sections
from rustyclaw_compaction.audit import identifiers, mended, problems, shortened
from rustyclaw_compaction.chunks import chunk_limit, chunks, total
from rustyclaw_compaction.config import SafeguardConfig
from rustyclaw_compaction.prompts import flush_prompt, prefix_prompt
from rustyclaw_compaction.summarising import Summariser
from rustyclaw_compaction.wording import CHARS_PER_TOKEN, Unit, chars_of, units

logger = logging.getLogger(__name__)

_UNKNOWN_WINDOW = 32_000
_BODY_CHARS, _RULES_CHARS = 16_000, 2_000
#: Of the window, in one prompt that looks for memories.
_FLUSH_SHARE = 0.6
#: What a compaction that runs out of time still needs at its end, in seconds.
_ENDING_SECONDS = 5.0


@dataclass(slots=True)
class _Material:
    """The messages of a request, sorted by what becomes of them.

    :ivar everything: All of them.
    :ivar history: To be summarised.
    :ivar prefix: The beginning of a turn whose end stays; summarised apart.
    :ivar quotes: Lines that quote the last turns.
    """

    everything: list[Unit]
    history: list[Unit] = field(default_factory=list)
    prefix: list[Unit] = field(default_factory=list)
    quotes: list[str] = field(default_factory=list)


class SafeguardCompactor(Compactor):
    """Summarises in pieces, checks the outcome, and adds what may not be lost."""

    Config = SafeguardConfig
    config: SafeguardConfig

    async def compact(self, request: CompactionRequest, summarize: Summarize) -> str:
        """Return the summary, with all that it carries.

        :raises ProviderError: The model cannot be asked, or nothing would be gained.
        """
        window = request.context_window or _UNKNOWN_WINDOW
        carried = kept.take_apart(request.previous_summary)
        model = Summariser(summarize, self.config, window, request.instructions)
        material = _sorted(units(request.messages), self.config.recent_turns)
        body = await self._body(request, material, carried, model, window)
        lasting, helpful = await self._blocks(request, material, carried)
        room = chars_of(request.messages) + len(request.previous_summary)
        summary = "\n\n".join(filter(None, (body, *lasting)))
        for block in filter(None, helpful):
            if len(summary) + len(block) + 2 < room:
                summary += f"\n\n{block}"
        # what a person wants to be kept is worth some room
        if len(summary) >= room and not request.instructions:
            raise ProviderError(
                "summarization failed: the summary would be no shorter than what it "
                "replaces; nothing was changed"
            )
        await self._flush(request, material, model, window)
        return summary

    async def _body(
        self,
        request: CompactionRequest,
        material: _Material,
        carried: kept.Carried,
        model: Summariser,
        window: int,
    ) -> str:
        """Return the model's part: audited, of bounded length, and mended."""
        ask = _last_ask(request.messages)
        stays = request.tokens - chars_of(request.messages) // CHARS_PER_TOKEN
        rest, before = await model.older_first(material.history, carried.body, stays)
        prefix = await self._prefix(material.prefix, model, window)
        strict = self.config.identifier_policy == "strict"
        wanted = identifiers(request.messages) if strict else []
        faults: list[str] = []
        text = before
        for _ in range(1 + self.config.quality_retries):
            text = kept.without_blocks(
                await model.summary(rest, before, "\n".join(faults))
            )
            text = shortened(text, min(_BODY_CHARS, window // 2))
            around = "\n".join((text, prefix, *material.quotes))
            faults = problems(around, wanted, ask)
            if not (faults and rest and self.config.quality_retries):
                break
        if faults:
            logger.info("the summary was mended: %s", "; ".join(faults))
        text = mended(text, [w for w in wanted if w not in around])
        return "\n\n".join(filter(None, (text, prefix)))

    async def _prefix(
        self, prefix: Sequence[Unit], model: Summariser, window: int
    ) -> str:
        """Return what the rest of a turn needs to know of its beginning."""
        if not prefix:
            return ""
        if total(prefix) > chunk_limit(prefix, window):
            answer = await model.summary(prefix)
        else:
            text = "\n\n".join(unit.text for unit in prefix)
            answer = await model.ask(prefix_prompt(self.config), text)
        return f"## Beginning of the turn that follows\n{kept.without_blocks(answer)}"

    async def _blocks(
        self, request: CompactionRequest, material: _Material, carried: kept.Carried
    ) -> tuple[list[str], list[str]]:
        """Return what the summary carries word for word.

        :returns: What has to be in it, and what is added if there is room.
        """
        messages, config = request.messages, self.config
        new = [*request.instructions.splitlines()]
        new += kept.pinned(messages, config.pin_markers)
        facts = kept.limited((*carried.pinned, *new), config.pinned_chars)
        read, modified = kept.files(messages)
        modified |= carried.modified
        rules = ""
        if request.workspace is not None and config.critical_sections:
            rules = await anyio.to_thread.run_sync(
                read_sections, request.workspace, config.critical_sections, _RULES_CHARS
            )
        lasting = [
            kept.block(kept.PINNED, (f"- {fact}" for fact in facts)),
            kept.block(kept.RECENT, material.quotes),
        ]
        return lasting, [
            kept.block(kept.FAILURES, kept.failures(messages)),
            kept.block(kept.READ, kept.listed((read | carried.read) - modified)),
            kept.block(kept.MODIFIED, kept.listed(modified)),
            kept.block(kept.RULES, rules.splitlines()),
        ]

    async def _flush(
        self,
        request: CompactionRequest,
        material: _Material,
        model: Summariser,
        window: int,
    ) -> None:
        """Write what should last to the workspace; a failure costs nothing else."""
        workspace = request.workspace
        if (
            not self.config.memory_flush
            or workspace is None
            or not flush.is_wanted(request.session_key)
        ):
            return
        left = anyio.current_effective_deadline() - anyio.current_time()
        system, limit = flush_prompt(self.config), int(window * _FLUSH_SHARE)
        with anyio.move_on_after(
            min(self.config.flush_seconds, left - _ENDING_SECONDS)
        ):
            for chunk in chunks(material.everything, limit):
                text = "\n\n".join(unit.text for unit in chunk)[: limit * 4]
                try:
                    notes = flush.notes_in(await model.ask(system, text))
                    if notes:
                        today = date.today()
                        await anyio.to_thread.run_sync(
                            flush.append, workspace, notes, today
                        )
                except (ProviderError, OSError) as exc:
                    logger.warning("cannot write memories before a compaction: %s", exc)
                    return


def _sorted(all_units: list[Unit], recent_turns: int) -> _Material:
    """Sort units into history, the beginning of a split turn, and quoted turns."""
    material = _Material(everything=all_units)
    starts = [n for n, u in enumerate(all_units) if u.messages[0].role == "user"]
    last = all_units[-1].messages[-1] if all_units else Message.assistant("")
    if last.role != "assistant" and starts:
        material.prefix = all_units[starts[-1] :]
        all_units, starts = all_units[: starts[-1]], starts[:-1]
    places = [*starts[len(starts) - min(recent_turns, len(starts)) :], len(all_units)]
    material.history = all_units[: places[0]]
    for start, end in pairwise(places):
        turn = all_units[start:end]
        said = [m for u in turn for m in u.messages if m.role != "tool"]
        ends = said[:1] if len(said) == 1 else [said[0], said[-1]]
        material.quotes += map(kept.quote, ends)
        if len(said) > 2 or not all(map(kept.fits_a_quote, ends)):
            material.history += turn  # a quote alone would lose the rest
    return material


def _last_ask(messages: Sequence[Message]) -> str:
    asked = (m.text for m in reversed(messages) if m.role == "user")
    return next((text for text in asked if text.strip()), "")
