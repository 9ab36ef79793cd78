"""The rules: which old tool results of a conversation are cut or cleared.

Nothing here knows of hooks or time. Messages are only ever replaced by copies in
which the text of a result is shorter; no block is added, removed or moved.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal

from rustyclaw import Image, Message, Text, Thinking, ToolCall, ToolResult

from rustyclaw_pruning.config import PLACEHOLDER, PruningConfig, SoftTrim, ToolRules

CHARS_PER_TOKEN = 4
IMAGE_CHARS = 8_000
_UNKNOWN_CHARS = 256
_UNSERIALISABLE_CHARS = 128

#: What was done to a result, by the place of its message and of its block.
Place = tuple[int, int]
Deed = Literal["trim", "clear"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """A pruned conversation.

    :param deeds: What was done to which call's result, by the call's id.
    """

    messages: tuple[Message, ...]
    deeds: Mapping[str, Deed]


def prune(messages: Sequence[Message], window: int, config: PruningConfig) -> Pruned:
    """Return a conversation with its old tool results trimmed or cleared.

    :param window: Of the model, in tokens.
    """
    kept = Pruned(messages=tuple(messages), deeds={})
    limit = window * CHARS_PER_TOKEN
    size = sum(map(size_of, messages))
    if limit <= 0 or size < config.soft_trim_ratio * limit:
        return kept
    results = dict(_prunable(messages, config))
    deeds: dict[str, Deed] = {}
    for place, result in results.items():
        trimmed = soft_trim(result, config.soft_trim)
        if trimmed is not result:
            size -= len(result.text) - len(trimmed.text)
            results[place], deeds[result.call_id] = trimmed, "trim"
    left = sum(len(result.text) for result in results.values())
    if config.hard_clear.enabled and left >= config.min_prunable_tool_chars:
        for place, result in results.items():
            if size < config.hard_clear_ratio * limit:
                break
            cleared = hard_clear(result, config)
            if cleared is not result:
                size -= len(result.text) - len(cleared.text)
                results[place], deeds[result.call_id] = cleared, "clear"
    return Pruned(messages=_with(messages, results), deeds=deeds) if deeds else kept


def repeat(
    messages: Sequence[Message], deeds: Mapping[str, Deed], config: PruningConfig
) -> tuple[Message, ...]:
    """Return a conversation pruned exactly as before, and no further."""
    results: dict[Place, ToolResult] = {}
    for place, result in _results(messages):
        deed = deeds.get(result.call_id)
        if deed == "trim":
            results[place] = soft_trim(result, config.soft_trim)
        elif deed == "clear":
            results[place] = hard_clear(result, config)
    return _with(messages, results)


def last_turns(
    messages: Sequence[Message], turns: int, mark: str
) -> tuple[Message, ...]:
    """Return the last turns of a conversation; a turn begins with a user's message.

    :param mark: How the summary of a compaction begins; it is kept.
    """
    starts = [n for n, message in enumerate(messages) if message.role == "user"]
    if len(starts) <= turns:
        return tuple(messages)
    kept = list(messages[starts[-turns] :])
    summary = messages[starts[0]].content[:1]
    if summary and isinstance(summary[0], Text) and summary[0].text.startswith(mark):
        kept[0] = replace(kept[0], content=(*summary, *kept[0].content))
    return tuple(kept)


# --- Sizes ------------------------------------------------------------------------


def size_of(message: Message) -> int:
    """Return the approximate size of a message, in characters."""
    return sum(map(_block_size, message.content))


def _block_size(block: object) -> int:
    if isinstance(block, Text | Thinking):
        return len(block.text)
    if isinstance(block, ToolCall):
        try:
            return len(block.name) + len(json.dumps(dict(block.arguments)))
        except (TypeError, ValueError, RecursionError):
            return len(block.name) + _UNSERIALISABLE_CHARS
    if isinstance(block, ToolResult):
        return len(block.text) + sum(map(_block_size, block.media))
    return IMAGE_CHARS if isinstance(block, Image) else _UNKNOWN_CHARS


# --- What may be pruned -----------------------------------------------------------


def _prunable(
    messages: Sequence[Message], config: PruningConfig
) -> Iterator[tuple[Place, ToolResult]]:
    """Yield the results that are not protected, the oldest first."""
    users = (n for n, message in enumerate(messages) if message.role == "user")
    start, end = next(users, len(messages)), len(messages)
    if keep := config.keep_last_assistants:
        assistants = [n for n, m in enumerate(messages) if m.role == "assistant"]
        if len(assistants) < keep:
            return
        end = assistants[-keep]
    for place, result in _results(messages):
        if (
            start < place[0] < end
            and not result.media
            and not (result.is_error and config.keep_errors)
            and allows(config.tools, result.name)
        ):
            yield place, result


def allows(rules: ToolRules, name: str) -> bool:
    """Return whether results of a tool may be pruned."""

    def named(patterns: Sequence[str]) -> bool:
        return any(fnmatchcase(name.lower(), p.strip().lower()) for p in patterns)

    return not named(rules.deny) and (not rules.allow or named(rules.allow))


def _results(messages: Sequence[Message]) -> Iterator[tuple[Place, ToolResult]]:
    for number, message in enumerate(messages):
        for index, block in enumerate(message.content):
            if isinstance(block, ToolResult):
                yield (number, index), block


# --- What is done -----------------------------------------------------------------


def soft_trim(result: ToolResult, rules: SoftTrim) -> ToolResult:
    """Return a result with its head and tail alone; itself if it is short."""
    text, head, tail = result.text, rules.head_chars, rules.tail_chars
    if len(text) <= rules.max_chars:
        return result
    note = (
        f"[Tool result trimmed: kept first {head} and last {tail} characters "
        f"of {len(text)}.]"
    )
    trimmed = f"{text[:head]}\n...\n{text[len(text) - tail :]}\n\n{note}"
    return replace(result, text=trimmed) if len(trimmed) < len(text) else result


def hard_clear(result: ToolResult, config: PruningConfig) -> ToolResult:
    """Return a result with a placeholder for a text; itself if that is no shorter."""
    text = config.hard_clear.placeholder.strip() or PLACEHOLDER
    return replace(result, text=text) if len(text) < len(result.text) else result


def _with(
    messages: Sequence[Message], results: Mapping[Place, ToolResult]
) -> tuple[Message, ...]:
    """Return messages with other results in some places; the same if in none."""
    if not results:
        return tuple(messages)
    changed: dict[int, dict[int, ToolResult]] = {}
    for (number, index), result in results.items():
        changed.setdefault(number, {})[index] = result
    pruned = list(messages)
    for number, blocks in changed.items():
        content = enumerate(messages[number].content)
        pruned[number] = replace(
            messages[number],
            content=tuple(blocks.get(index, block) for index, block in content),
        )
    return tuple(pruned)
