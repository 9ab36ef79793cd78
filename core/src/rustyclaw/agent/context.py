"""From a transcript to what a provider is sent: repaired, and never rewritten.

Histories come damaged: a crash between a call and its result, a result twice, a
vendor that was changed. A provider refuses such a history as a whole, so it is
repaired in memory, by the `TranscriptPolicy` of the provider; the file stays.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha1

from rustyclaw.agent.truncation import cut_text
from rustyclaw.interfaces.provider import TranscriptPolicy
from rustyclaw.messages import (
    Audio,
    Block,
    File,
    Image,
    Message,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from rustyclaw.sessions.entries import Entry

#: Characters of one tool result that no window is large enough for.
RESULT_LIMIT = 400_000
SUMMARY_MARK = "[Summary of the conversation so far]"
MISSING_RESULT = "the result is missing in the history; this error stands in for it"
START = "(the conversation begins here)"

_CHARS_PER_TOKEN, _MEDIA_TOKENS = 4, 1600
_ALLOWED = {
    "user": (Text, Image, Audio, File),
    "assistant": (Text, Thinking, ToolCall),
    "tool": (ToolResult,),
}


@dataclass(slots=True)
class RepairReport:
    """How many tool results were made up, moved, or dropped."""

    added: int = 0
    moved: int = 0
    duplicates: int = 0
    orphans: int = 0


def build(
    entries: Iterable[Entry],
    policy: TranscriptPolicy,
    *,
    result_limit: int = RESULT_LIMIT,
) -> list[Message]:
    """Return the messages that entries stand for, fit for a provider."""
    return Conversation(entries, policy, result_limit=result_limit).messages


def estimate(message: Message) -> int:
    """Return the approximate size of a message in tokens."""
    return -(-_weight(message.content) // _CHARS_PER_TOKEN)


class Conversation:
    """The messages of a session; made once, then kept up to date as it goes on.

    :param result_limit: Longest text of one tool result, in characters.
    :ivar report: What had to be repaired when it was made.
    """

    def __init__(
        self,
        entries: Iterable[Entry],
        policy: TranscriptPolicy,
        *,
        result_limit: int = RESULT_LIMIT,
    ) -> None:
        self._policy = policy
        self._limit = result_limit
        self.rebuild(entries)

    def rebuild(self, entries: Iterable[Entry]) -> None:
        """Begin again from entries, as after a compaction."""
        self.report = RepairReport()
        self._messages: list[Message] = []
        self._weight = 0
        self._ids: set[str] = set()
        self._tries: Counter[str] = Counter()
        self._open: list[tuple[str, str]] = []  # unanswered calls: old and new id
        for message in _paired(_effective(list(entries)), self._policy, self.report):
            self.add(message)

    @property
    def messages(self) -> list[Message]:
        """All messages, oldest first."""
        messages = list(self._messages)
        if messages and self._policy.trim_last_assistant:
            messages[-1] = _trimmed(messages[-1])
        return messages

    @property
    def tokens(self) -> int:
        """The approximate size of all messages."""
        return -(-self._weight // _CHARS_PER_TOKEN)

    def add(self, message: Message) -> None:
        """Add the next message; results must follow the calls that they answer."""
        role, policy = message.role, self._policy
        content = tuple(self._fit(message))
        if all(isinstance(block, Thinking) for block in content):
            return  # nothing is left that a provider takes for a message
        if not self._messages and role != "user" and policy.start_with_user:
            self.add(Message.user(START))
        self._weight += _weight(content)
        joins = policy.merge_roles or role == "tool"
        if joins and self._messages and self._messages[-1].role == role:
            content = (*self._messages.pop().content, *content)
        self._messages.append(Message(role=role, content=content))

    def _fit(self, message: Message) -> Iterator[Block]:
        """Yield the blocks that the provider takes, with ids that it takes."""
        if message.tool_calls:
            self._open = []
        for block in message.content:
            if not isinstance(block, _ALLOWED[message.role]):
                continue
            if isinstance(block, ToolCall):
                new = self._new_id(block.id)
                self._open.append((block.id, new))
                yield block if new == block.id else replace(block, id=new)
            elif isinstance(block, ToolResult):
                yield from self._answer(block)
            elif isinstance(block, Thinking):
                if self._policy.keep_thinking:
                    yield block
            elif not isinstance(block, Text) or block.text.strip():
                yield block

    def _answer(self, result: ToolResult) -> Iterator[ToolResult]:
        """Yield a result with the id that its call has; nothing if there is none."""
        pair = next((pair for pair in self._open if pair[0] == result.call_id), None)
        if pair is None:
            self.report.orphans += 1
            return
        self._open.remove(pair)
        yield replace(result, call_id=pair[1], text=cut_text(result.text, self._limit))

    def _new_id(self, old: str) -> str:
        """Return an id that the provider takes and that no other call has."""
        mode = self._policy.tool_call_ids
        while (new := _call_id(old, mode, self._tries[old])) in self._ids:
            self._tries[old] += 1
        self._ids.add(new)
        return new


def _effective(entries: Sequence[Entry]) -> list[Message]:
    """Return the messages that the last compaction left, its summary first."""
    places = range(len(entries))
    markers = [i for i in places if entries[i].kind == "compaction"]
    start, summary = 0, ""
    if markers:
        kept, summary = entries[markers[-1]].first_kept_id, entries[markers[-1]].summary
        start = next((i for i in places if entries[i].id == kept), markers[-1])
    messages = [e.message for e in entries[start:] if e.message is not None]
    if summary:
        messages.insert(0, Message.user(f"{SUMMARY_MARK}\n\n{summary}"))
    return messages


def _paired(
    messages: Iterable[Message], policy: TranscriptPolicy, report: RepairReport
) -> Iterator[Message]:
    """Put each result after its call; add the missing ones, drop what is too much.

    A result belongs to the newest call before it that has its id and waits.
    """
    turns: list[tuple[Message, dict[int, ToolResult]]] = []
    waiting: dict[str, list[tuple[int, int]]] = {}
    for message in messages:
        for block in message.content:
            if isinstance(block, ToolResult) and (slots := waiting.get(block.call_id)):
                turn, place = slots.pop()
                turns[turn][1][place] = block
                report.moved += turn != len(turns) - 1
            elif isinstance(block, ToolResult):
                report.orphans += slots is None
                report.duplicates += slots is not None
        if message.role == "tool":
            continue
        calls = enumerate(message.content) if message.role == "assistant" else ()
        for place, block in reversed(list(calls)):
            if isinstance(block, ToolCall) and block.name:
                waiting.setdefault(block.id, []).append((len(turns), place))
        turns.append((message, {}))
    for message, results in turns:
        if message.role == "assistant" and message.tool_calls:
            yield from _with_results(message, results, policy, report)
        else:
            yield message


def _with_results(
    message: Message,
    results: dict[int, ToolResult],
    policy: TranscriptPolicy,
    report: RepairReport,
) -> Iterator[Message]:
    content: list[Block] = []
    answers: list[Block] = []
    for place, block in enumerate(message.content):
        if isinstance(block, ToolCall):
            result = results.get(place)
            if result is None and policy.synthesize_results and block.name:
                result = ToolResult.error(MISSING_RESULT)
                report.added += 1
            if result is None:
                continue
            answers.append(replace(result, call_id=block.id, name=block.name))
        content.append(block)
    yield Message(role="assistant", content=tuple(content))
    yield Message(role="tool", content=tuple(answers))


def _call_id(old: str, mode: str, attempt: int) -> str:
    """Return the id that a call gets; each attempt gives another one."""
    if mode == "keep":
        return f"{old or 'defaulttoolid'}{f'x{attempt + 1}' if attempt else ''}"
    seed = old if attempt < 2 else f"{old}x{attempt}"
    digest = sha1(
        seed.encode(errors="surrogatepass"), usedforsecurity=False
    ).hexdigest()
    letters = re.sub(r"[^a-zA-Z0-9]", "", old)
    if mode == "strict9":
        if attempt or 0 < len(letters) < 9:
            return digest[:9]
        return letters[:9] or "defaultid"
    base = letters[:40] or ("sanitizedtoolid" if old else "defaulttoolid")
    return base[:32] + digest[:8] if attempt else base


def _trimmed(message: Message) -> Message:
    last = message.content[-1]
    if message.role != "assistant" or not isinstance(last, Text):
        return message
    content = (*message.content[:-1], Text(text=last.text.rstrip()))
    return Message(role="assistant", content=content)


def _weight(content: Iterable[Block]) -> int:
    """Return the approximate size of blocks in characters."""
    total = 0
    for block in content:
        if isinstance(block, Text | Thinking):
            total += len(block.text)
        elif isinstance(block, ToolCall):
            total += len(block.name) + len(str(dict(block.arguments)))
        elif isinstance(block, ToolResult):
            total += len(block.text) + _weight(block.media)
        else:
            total += _MEDIA_TOKENS * _CHARS_PER_TOKEN
    return total
