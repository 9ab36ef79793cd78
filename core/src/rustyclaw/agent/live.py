"""A session in use: its index row, its transcript and its conversation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from rustyclaw.agent.context import Conversation
from rustyclaw.messages import Message, ToolCall, ToolResult
from rustyclaw.sessions.entries import Entry

if TYPE_CHECKING:
    from rustyclaw.interfaces.provider import TranscriptPolicy
    from rustyclaw.sessions.store import SessionInfo, SessionStore
    from rustyclaw.sessions.transcript import Transcript


@dataclass(slots=True)
class LiveSession:
    """What is kept in memory of a session, so that a turn need not read its file.

    The file stays the truth: `reload` reads it again if anybody changed it.

    :ivar sources: Inbox ids of the user messages in the transcript.
    :ivar answers: Inbox id -> the entry that answered it.
    """

    store: SessionStore
    info: SessionInfo
    transcript: Transcript
    sources: set[str] = field(default_factory=set)
    answers: dict[str, Entry] = field(default_factory=dict)
    _conversation: Conversation | None = None
    _policy: TranscriptPolicy | None = None
    _found: tuple[SessionInfo | None, bool] = (None, False)

    @classmethod
    async def open(cls, store: SessionStore, key: str) -> LiveSession:
        """Load a session; create it if it is new."""
        info = await store.get_or_create(key)
        session = cls(store, info, await store.transcript(info))
        session._index(session.transcript.entries)
        return session

    def look(self) -> None:
        """See what others have changed since the last run; it blocks."""
        self._found = self.store.look(self.info.key), self.transcript.is_ours()

    async def reload(self) -> None:
        """Take over what `look` has seen: index row and, if it changed, transcript."""
        (now, is_ours), old = self._found, self.info
        self.info = now or await self.store.get_or_create(old.key)
        if not is_ours or self.info.session_id != old.session_id:
            self.transcript = await self.store.transcript(self.info)
            self.sources, self.answers, self._conversation = set(), {}, None
            self._index(self.transcript.entries)

    def talk(self, policy: TranscriptPolicy) -> Conversation:
        """Return the conversation in the form that a provider wants."""
        if self._conversation is None or self._policy != policy:
            self._policy = policy
            self._conversation = Conversation(self.transcript.entries, policy)
        return self._conversation

    def rebuild(self) -> None:
        """Forget the conversation, after entries were changed or compacted."""
        self._conversation = None

    async def append(self, *entries: Entry, sync: bool = False) -> None:
        """Write entries to the transcript and add them to the conversation.

        :raises StorageError: The disk refused; nothing was added.
        """
        if entries:
            await self.transcript.visit(partial(self.write, *entries, sync=sync))

    def write(self, *entries: Entry, sync: bool = False) -> None:
        """Append as `append` does; it blocks: for a visit to the transcript."""
        if entries:
            self.transcript.write(entries, sync)
        self._index(entries)
        for entry in entries:
            if self._conversation is not None and entry.message is not None:
                self._conversation.add(entry.message)

    def unanswered_calls(self) -> list[ToolCall]:
        """Return the tool calls at the end of the transcript that have no result."""
        newest_first = (entry.message for entry in reversed(self.transcript.entries))
        return unanswered(message for message in newest_first if message is not None)

    def _index(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.source:
                self.sources.add(entry.source)
            self.answers.update(dict.fromkeys(entry.answers, entry))


def unanswered(newest_first: Iterable[Message]) -> list[ToolCall]:
    """Return the tool calls at the end of a conversation that have no result."""
    answered = set()
    for message in newest_first:
        if message.role != "tool":
            return [call for call in message.tool_calls if call.id not in answered]
        answered |= {b.call_id for b in message.content if isinstance(b, ToolResult)}
    return []
