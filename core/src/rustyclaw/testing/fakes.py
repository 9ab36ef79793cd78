"""A scripted provider, and a chat platform with a ledger; no network, no sleep."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Literal

import anyio
from anyio.lowlevel import checkpoint

from rustyclaw.errors import Busy, ChannelError, ProviderError, StorageError
from rustyclaw.interfaces.channel import Capabilities, Channel, ChannelConfig, Inbox
from rustyclaw.interfaces.provider import Provider
from rustyclaw.messages import (
    ChatType,
    Finished,
    Inbound,
    Media,
    ModelInfo,
    ModelRequest,
    Outbound,
    Sender,
    Sent,
    StreamEvent,
    Target,
    TextDelta,
    ToolCallDelta,
    Usage,
)

_PIECE = 5  # characters of a delta: few, so that texts and JSON break in odd places

# --- The provider -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Call:
    """A tool call in a script."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Hang:
    """A place in a script where the stream stalls until it is cancelled."""


def call(name: str, **arguments: Any) -> list[Any]:
    """Script a tool call; add several up to make them at once."""
    return [_Call(name, arguments)]


def fault(*, after: int = 0, error: Exception | None = None) -> list[Any]:
    """Script a stream that breaks after some events; without an error it just ends."""
    return [*[TextDelta(text="...")] * after, *([error] if error else [])]


def hang(*, after: int = 0) -> list[Any]:
    """Script a stream that stalls after some events."""
    return [*fault(after=after), _Hang()]


class FakeProvider(Provider):
    """A provider that answers from a script, one item for each model call.

    An item is a text; a list of texts and `call` items, which is one answer; a
    list of stream events, streamed as it is (without `Finished`: cut off); an
    exception; a `fault` or `hang`; or a function of the request that returns one.

    :param script: The items. ``None``: each request is answered with its own text.
    :param default: The item to use once the script has ended.
    :ivar requests: All requests so far.
    """

    default_model = "fake"

    def __init__(
        self,
        config: Any = None,
        *,
        script: Sequence[Any] | None = None,
        default: Any = None,
        context_window: int = 200_000,
    ) -> None:
        super().__init__(config)
        self.script = list(script or ())
        self.default = _echo if script is None and default is None else default
        self.context_window = context_window
        self.requests: list[ModelRequest] = []

    async def models(self) -> Sequence[ModelInfo]:
        """Return the one fake model."""
        return (ModelInfo(id="fake", context_window=self.context_window),)

    async def stream(self, request: ModelRequest) -> AsyncIterator[StreamEvent]:
        """Play the next item of the script."""
        number = len(self.requests)
        self.requests.append(request)
        item = self.script[number] if number < len(self.script) else self.default
        if item is None:
            raise ProviderError(
                f"the script ended after {len(self.script)} model calls; "
                "add an item, or give FakeProvider a `default`",
                kind="format",
                provider="fake",
            )
        while callable(item):
            item = item(request)
        parts = item if isinstance(item, list | tuple) else [item]
        for step in _steps(parts, request, f"call_{number + 1}"):
            await checkpoint()
            if isinstance(step, Exception):
                raise step
            if isinstance(step, _Hang):
                await anyio.sleep_forever()
            else:
                yield step


def _echo(request: ModelRequest) -> str:
    asked = [m.text for m in request.messages if m.role == "user" and m.text]
    return asked[-1] if asked else "hello"


def _steps(
    parts: Sequence[Any], request: ModelRequest, prefix: str
) -> list[StreamEvent | Exception | _Hang]:
    """Turn an item of a script into what happens in the stream."""
    steps: list[StreamEvent | Exception | _Hang] = []
    length, calls = 0, 0
    for part in parts:
        if isinstance(part, str):
            length += len(part)
            steps += [TextDelta(text=piece) for piece in _pieces(part)]
        elif isinstance(part, _Call):
            calls += 1
            text, call_id = json.dumps(part.arguments), f"{prefix}_{calls}"
            length += len(text)
            steps.append(ToolCallDelta(index=calls - 1, id=call_id, name=part.name))
            steps += [
                ToolCallDelta(index=calls - 1, arguments=piece)
                for piece in _pieces(text)
            ]
        else:
            steps.append(part)
    if any(isinstance(part, str | _Call) for part in parts):
        asked = len(request.system) + sum(len(m.text) + 20 for m in request.messages)
        usage = Usage(input_tokens=_tokens(asked), output_tokens=_tokens(length))
        reason: Literal["tool_calls", "stop"] = "tool_calls" if calls else "stop"
        steps.append(Finished(stop_reason=reason, usage=usage))
    return steps


def _pieces(text: str) -> list[str]:
    return [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)]


def _tokens(characters: int) -> int:
    return characters // 4 + 1


# --- The chat platform --------------------------------------------------------


class FakeChannelConfig(ChannelConfig):
    """Everybody may talk, as long as a test does not say otherwise."""

    dm_policy: Literal["pairing", "allowlist", "open", "disabled"] = "open"
    allow_from: tuple[str, ...] = ("*",)
    group_policy: Literal["open", "allowlist", "disabled"] = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """A message that stands on the fake platform."""

    target: Target
    message: Outbound
    message_id: str

    @property
    def text(self) -> str:
        """What it says."""
        return self.message.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafted:
    """A call of `Channel.draft`, and what it returned."""

    target: Target
    text: str
    draft: str | None
    reply_to: str | None
    reference: str


class FakeChannel(Channel):
    """A chat platform that remembers, and outlives the gateways that use it.

    :param name: Its entry-point name.
    :param draft_seconds: Show drafts, so often.
    :ivar drafts: All calls of `draft`.
    :ivar open_drafts: The text of each draft that stands on the platform, by its id.
    :ivar pending: Messages by id that nobody has acknowledged; they are delivered
        again and again, by each new `run` as well.
    :ivar acknowledged: Messages that were.
    :ivar posted: What was sent.
    """

    Config = FakeChannelConfig
    capabilities = Capabilities(text_limit=4096, media=True, idempotent_send=True)
    redeliver_seconds = 0.02

    def __init__(
        self,
        config: Any = None,
        *,
        name: str = "fake",
        draft_seconds: float | None = None,
    ) -> None:
        super().__init__(config)
        self.name = name
        if draft_seconds is not None:
            self.capabilities = replace(self.capabilities, draft_seconds=draft_seconds)
        self.drafts: list[Drafted] = []
        self.open_drafts: dict[str, str] = {}
        self.pending: dict[str, Inbound] = {}
        self.acknowledged: list[Inbound] = []
        self.posted: list[Posted] = []
        self._faults: list[tuple[Exception, bool]] = []
        self._numbers = count(1)
        self._read = 0
        self._changed: anyio.Event | None = None

    async def deliver(
        self,
        text: str,
        *,
        sender: str = "alice",
        chat: str | None = None,
        chat_type: ChatType = "dm",
        message_id: str | None = None,
        mentioned: bool = False,
        media: tuple[Media, ...] = (),
    ) -> Inbound:
        """Let somebody write; returns at once, the platform keeps delivering."""
        message = Inbound(
            message_id=message_id or f"in-{next(self._numbers)}",
            sender=Sender(id=sender),
            target=Target(
                channel=self.name, chat_id=chat or sender, chat_type=chat_type
            ),
            text=text,
            media=media,
            mentioned=mentioned,
        )
        self.pending[message.message_id] = message
        self._change()
        await checkpoint()
        return message

    async def run(self, inbox: Inbox) -> None:
        """Deliver what is pending until it is acknowledged."""
        self._change()  # an event of an earlier run may belong to another event loop
        while True:
            changed = self._next_change()
            for message in list(self.pending.values()):
                try:
                    await inbox.accept(message)
                except (StorageError, Busy):
                    continue  # as platforms do: it comes again
                self.pending.pop(message.message_id, None)
                self.acknowledged.append(message)
                self._change()
            with anyio.move_on_after(
                self.redeliver_seconds if self.pending else float("inf")
            ):
                await changed.wait()

    async def send(self, target: Target, message: Outbound) -> Sent:
        """Post a message, once for each `Outbound.id`."""
        await checkpoint()
        error, lands = self._faults.pop(0) if self._faults else (None, True)
        known = {p.message.id: p.message_id for p in self.posted if p.message.id}
        repeated = self.capabilities.idempotent_send and message.id in known
        message_id = known[message.id] if repeated else f"out-{len(self.posted) + 1}"
        if lands and not repeated:
            if self.open_drafts.pop(message.draft or "", None) is not None:
                message_id = str(message.draft)
            self.posted.append(
                Posted(target=target, message=message, message_id=message_id)
            )
            self._change()
        if error is not None:
            raise error
        return Sent(message_id=message_id)

    async def draft(
        self, target: Target, text: str, draft: str | None, reply_to: str | None
    ) -> str | None:
        """Show a draft, or have it vanish."""
        await checkpoint()
        reference = draft or f"draft-{len(self.drafts) + 1}"
        if text or draft is None:
            self.open_drafts[reference] = text
        else:
            self.open_drafts.pop(reference, None)
        self.drafts.append(
            Drafted(
                target=target,
                text=text,
                draft=draft,
                reply_to=reply_to,
                reference=reference,
            )
        )
        self._change()
        return reference

    async def shows(self, text: str, *, timeout_seconds: float = 5.0) -> str:
        """Wait until a draft has a text; return the draft's id.

        :raises TimeoutError: It did not in time.
        """
        with anyio.fail_after(timeout_seconds):
            while text not in self.open_drafts.values():
                await self._next_change().wait()
        return next(d for d, shown in self.open_drafts.items() if shown == text)

    def fail_next(self, error: Exception | None = None, *, lands: bool = False) -> None:
        """Make one more send fail.

        :param error: What it raises; a `ChannelError` that may be tried again.
        :param lands: The message arrives all the same: only the receipt is lost.
        """
        error = error or ChannelError("the fake platform is out of reach; try again")
        self._faults.append((error, lands))

    async def next_sent(self, *, timeout_seconds: float = 5.0) -> Posted:
        """Return the next message that was not read yet; wait for it.

        :raises TimeoutError: None came in time.
        """
        with anyio.fail_after(timeout_seconds):
            while self._read >= len(self.posted):
                await self._next_change().wait()
        self._read += 1
        return self.posted[self._read - 1]

    def _next_change(self) -> anyio.Event:
        if self._changed is None:
            self._changed = anyio.Event()
        return self._changed

    def _change(self) -> None:
        if self._changed is not None:
            self._changed.set()
        self._changed = None
