"""Finds the user's turn in a request: what was asked, and what happened since.

The provider keeps no state. All that it knows of a running turn is in the messages,
and its own calls are recognised by their ids: ``call_<turn>_<number>``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rustyclaw import Message, Text, ToolCall, ToolResult

# The core adds "x2" to an id that the conversation has already.
_OWN_ID = re.compile(r"call_(\d{1,9})_(\d{1,9})(?:x\d+)?")
# In a group the core puts the speaker's name before what is said.
_SPEAKER = re.compile(r"^\[[^\]\n]{1,100}\] ")
# How the core's own messages begin; they come first and the user did not write them.
NOT_THE_USER = (
    "[Summary of the conversation so far]",
    "(the conversation begins here)",
)
_NO_RESULT = ToolResult.error("no result arrived")


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The user's last request, and what has happened since.

    :param position: Its place among the requests of the conversation, from 1.
    :param number: The turn's part of the call ids: ``position``, or more if an
        earlier call already has that number (a compaction cuts messages away).
    :param text: What the user wrote.
    :param has_media: There was something that is not text.
    :param rounds: Assistant messages with tool calls since then.
    :param calls: The tool calls since then, in order.
    :param results: Their results, by call id.
    """

    position: int
    number: int
    text: str
    has_media: bool
    rounds: int
    calls: tuple[ToolCall, ...]
    results: Mapping[str, ToolResult]

    def call_id(self, number: int) -> str:
        """Return the id of a call of this turn."""
        return f"call_{self.number}_{number}"

    def result_of(self, number: int) -> ToolResult | None:
        """Return the result of a call of this turn; ``None`` if it was not made."""
        for call in self.calls:
            own = _OWN_ID.fullmatch(call.id)
            if own and int(own[2]) == number:
                return self.results.get(call.id, _NO_RESULT)
        return None

    def foreign_calls(self) -> list[ToolCall]:
        """Return the calls that another model made before a failover to this one."""
        return [call for call in self.calls if not _OWN_ID.fullmatch(call.id)]


def last_turn(messages: Sequence[Message]) -> Turn:
    """Return the turn that a request is about.

    A turn lasts until an assistant message without tool calls. What the user writes
    before that one, in several messages or while tools run, is one request.
    """
    if messages and messages[0].text.startswith(NOT_THE_USER):
        messages = messages[1:]
    starts: list[int] = []
    answered = True
    for index, message in enumerate(messages):
        if message.role == "user" and answered:
            starts.append(index)
            answered = False
        elif message.role == "assistant":
            answered = answered or not message.tool_calls
    start = starts[-1] if starts else 0
    turn = messages[start:]
    asked = [message for message in turn if message.role == "user"]
    earlier = [
        int(own[1])
        for message in messages[:start]
        for call in message.tool_calls
        if (own := _OWN_ID.fullmatch(call.id))
    ]
    return Turn(
        position=len(starts),
        number=max([len(starts), *(number + 1 for number in earlier)]),
        text="\n".join(_SPEAKER.sub("", m.text, count=1) for m in asked),
        has_media=any(not isinstance(b, Text) for m in asked for b in m.content),
        rounds=sum(bool(message.tool_calls) for message in turn),
        calls=tuple(call for message in turn for call in message.tool_calls),
        results={
            block.call_id: block
            for message in turn
            if message.role == "tool"
            for block in message.content
            if isinstance(block, ToolResult)
        },
    )
