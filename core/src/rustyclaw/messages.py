"""The values that flow through the gateway: frozen, slotted, keyword-only.

Outside data (config, tool parameters, wire frames) is checked by pydantic and
then becomes one of these. A plugin that wants another value returns a changed
copy (`dataclasses.replace`). Sizes are in tokens, times in seconds, timestamps
in seconds since the epoch, binary data in bytes (base64 only exists on disk).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

ChatType = Literal["dm", "group", "channel", "thread"]
Role = Literal["user", "assistant", "tool"]
StopReason = Literal["stop", "length", "tool_calls", "refusal", "error"]

# --- What a message is made of ------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Plain text, Markdown allowed."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A picture. ``media_type`` is a MIME type such as ``image/png``."""

    data: bytes
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """A recording, with the words in it once somebody transcribed it."""

    data: bytes
    media_type: str
    transcript: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """Any other attachment; ``name`` is untrusted and never a path."""

    data: bytes
    media_type: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Thinking:
    """A model's reasoning. ``signature`` is opaque and replayed unchanged."""

    text: str
    signature: str | None = None
    redacted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """The model asks for a tool. ``arguments`` is the decoded JSON object."""

    id: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    signature: str | None = None  # opaque and replayed unchanged, as of `Thinking`


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What a tool answered; the core fills ``call_id`` and ``name``.

    :param is_error: The tool failed; ``text`` then says how, for the model.
    :param details: JSON values for people and plugins; never sent to a model.
    """

    text: str = ""
    is_error: bool = False
    media: tuple[Image | Audio | File, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    call_id: str = ""
    name: str = ""

    @classmethod
    def error(cls, text: str, **details: Any) -> ToolResult:
        """Return a failed result."""
        return cls(text=text, is_error=True, details=details)


Media = Image | Audio | File
Block = Text | Image | Audio | File | Thinking | ToolCall | ToolResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a conversation, as a provider is shown it.

    ``user`` holds text and media, ``assistant`` text, thinking and tool calls,
    ``tool`` the results of the calls in the assistant message just before.
    """

    role: Role
    content: tuple[Block, ...]

    @classmethod
    def user(cls, text: str, *media: Media) -> Message:
        """Return a user message of a text and its attachments."""
        return cls(role="user", content=(Text(text=text), *media))

    @classmethod
    def assistant(cls, text: str) -> Message:
        """Return an assistant message that only says ``text``."""
        return cls(role="assistant", content=(Text(text=text),))

    @property
    def text(self) -> str:
        """The text blocks, joined by line breaks."""
        return "\n".join(b.text for b in self.content if isinstance(b, Text))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls, in the model's order."""
        return tuple(b for b in self.content if isinstance(b, ToolCall))


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one or several model calls; cached ones are not in ``input``."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
        )

    @property
    def prompt_tokens(self) -> int:
        """All that the model had to read: the size of the current context."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens


# --- Between the gateway and a chat platform ----------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who wrote a message; only ``id`` is trustworthy, names can be chosen."""

    id: str
    name: str | None = None
    username: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a message goes: the chat it came from, not the person."""

    channel: str
    chat_id: str
    account_id: str = "default"
    chat_type: ChatType = "dm"
    thread_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound:
    """A message that arrived from a platform.

    :param message_id: The platform's own id; with the target's channel and
        account it identifies the message, so that a redelivery is dropped.
    :param mentioned: The bot was named; groups may require it.
    :param facts: Further platform facts for routing: ``guild_id``, ``team_id``.
    """

    message_id: str
    sender: Sender
    target: Target
    text: str = ""
    media: tuple[Media, ...] = ()
    mentioned: bool = False
    reply_to: str | None = None
    timestamp: float = 0.0
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """The id of this message across all channels, as journals keep it."""
        return f"{self.target.channel}:{self.target.account_id}:{self.message_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbound:
    """A message to send.

    :param id: Stays the same when a send is repeated after a crash; platforms
        that accept an idempotency key get this one.
    :param draft: The draft that it takes the place of; see `Channel.draft`.
    """

    text: str
    media: tuple[Media, ...] = ()
    reply_to: str | None = None
    silent: bool = False
    id: str = ""
    draft: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A platform's receipt."""

    message_id: str | None = None


# --- Between the agent and a provider -----------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSchema:
    """A tool as a model is shown it; ``parameters`` is a JSON Schema object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One model call. ``thinking`` is ``off`` or a level such as ``low``.

    :param context_window: Most tokens, with those of the answer; 0: not known.
    :param conversation: Stays the same for as long as the vendor's cache of what was
        said may be of use: not after a reset or a compaction.
    """

    model: str
    system: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSchema, ...] = ()
    max_tokens: int = 4096
    temperature: float | None = None
    thinking: str = "off"
    extra: Mapping[str, Any] = field(default_factory=dict)
    context_window: int = 0
    session_key: str = ""
    run_id: str = ""
    conversation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A model that a provider offers; sizes in tokens."""

    id: str
    context_window: int = 200_000
    max_output_tokens: int = 4096
    vision: bool = False
    reasoning: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta:
    """More of the answer."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkingDelta:
    """More reasoning; a ``signature`` closes the block it belongs to."""

    text: str = ""
    signature: str | None = None
    redacted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallDelta:
    """More of tool call ``index``: pieces of its id, name and JSON arguments."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""
    signature: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The model call has ended well. A stream without it was cut off.

    :param model: ``provider/model`` that answered, if it is not the one asked.
    :param thinking: The level at which it did, if it is not the one asked.
    """

    stop_reason: StopReason = "stop"
    usage: Usage = Usage()
    model: str = ""
    thinking: str = ""


StreamEvent = TextDelta | ThinkingDelta | ToolCallDelta | Finished


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelResponse:
    """One finished model call: who answered, the message, and what it cost."""

    model: str
    message: Message
    stop_reason: StopReason
    usage: Usage
    seconds: float
    thinking: str = ""


# --- Where a hook fires, and what the transforms may change -------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class HookContext:
    """Where a hook fires. ``run_id`` is empty outside of a run."""

    agent_id: str
    session_key: str
    run_id: str = ""
    channel: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a run starts from: the system prompt and the user's message."""

    system: str
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactionRequest:
    """The older part of a conversation that shall become a summary.

    :param messages: What will be replaced; it never splits a call from its result.
    :param previous_summary: The summary that stands before ``messages``, if any.
    :param tokens: Estimated size of the whole conversation before.
    :param instructions: What an operator asked to keep, or an empty text.
    :param context_window: Tokens that a request to the model may have; 0: not known.
    :param workspace: The agent's folder.
    """

    messages: tuple[Message, ...]
    previous_summary: str
    tokens: int
    instructions: str = ""
    context_window: int = 0
    session_key: str = ""
    workspace: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactionResult:
    """A compaction that took place; sizes are estimates."""

    summary: str
    tokens_before: int
    tokens_after: int
    entries: int
