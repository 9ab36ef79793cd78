"""The Channel interface: a chat platform, and webhooks as plain values.

A whole channel, in outline::

    class CarrierChannel(Channel):
        Config = CarrierConfig                       # a subclass of ChannelConfig
        capabilities = Capabilities(text_limit=4096)

        async def run(self, inbox: Inbox) -> None:
            async for update in self.api.updates(after=self.offset):
                await inbox.accept(inbound(update))  # durable and de-duplicated,
                self.offset = update.id              # and only then acknowledged

        async def send(self, target: Target, message: Outbound) -> Sent:
            return Sent(message_id=await self.api.post(target.chat_id, message.text))
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field

from rustyclaw.interfaces import Connected, PluginConfig
from rustyclaw.messages import Inbound, Outbound, Sent, Target


class ChannelConfig(PluginConfig):
    """The settings that every channel has: who may talk to the assistant.

    Subclass it for the platform's own settings.
    """

    enabled: bool = Field(True, description="start this channel")
    dm_policy: Literal["pairing", "allowlist", "open", "disabled"] = Field(
        "pairing", description="who may write in private"
    )
    allow_from: tuple[str, ...] = Field(
        (), description="ids of allowed senders; `*` is everybody"
    )
    group_policy: Literal["open", "allowlist", "disabled"] = Field(
        "allowlist", description="which groups are served"
    )
    group_allow_from: tuple[str, ...] = Field(
        (), description="ids of allowed groups; `*` is every group"
    )
    require_mention: bool = Field(True, description="in groups, answer only when named")


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a platform can do.

    :param text_limit: Longest message in characters; longer ones are split.
    :param idempotent_send: A send repeated with the same ``Outbound.id`` arrives
        once. Without it, a send whose outcome a crash left unknown is not
        repeated but reported.
    :param draft_seconds: `Channel.draft` may be called so often; ``None``: never.
    """

    text_limit: int = 4096
    media: bool = False
    idempotent_send: bool = False
    draft_seconds: float | None = None


class Inbox(Protocol):
    """Where a channel hands over what arrived."""

    async def accept(self, message: Inbound) -> bool:
        """Make a message durable; return ``False`` for one that was known.

        When this returns, the channel may acknowledge to the platform.

        :raises StorageError: It was not accepted; do not acknowledge.
        :raises Busy: The gateway drains; do not acknowledge.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class WebRequest:
    """An HTTP request to a webhook; ``body`` is the exact bytes that were signed."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    peer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebResponse:
    """The answer to a webhook; an iterator as ``body`` is sent piece by piece."""

    status: int = 200
    body: bytes | AsyncIterator[bytes] = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A webhook that a server plugin mounts; bodies over the limit never arrive.

    :param path: Such as ``/line/webhook``; one that ends in ``/*`` takes all below.
    """

    method: str
    path: str
    handler: Callable[[WebRequest], Awaitable[WebResponse]]
    max_body_bytes: int = 1_048_576


class Channel(Connected, ABC):
    """A chat platform: enter it, run it until cancelled, send through it.

    :ivar capabilities: What the platform can do; settings may have a say in it.
    :ivar folder: Where it may keep what a restart must not lose, such as an offset.
        The gateway sets it before the channel is entered; make it when it is needed.
    """

    folder: Path
    Config = ChannelConfig
    capabilities: Capabilities = Capabilities()

    @abstractmethod
    async def run(self, inbox: Inbox) -> None:
        """Receive until cancelled. REQUIRED.

        If it raises, the gateway runs it again after a growing pause.
        """

    @abstractmethod
    async def send(self, target: Target, message: Outbound) -> Sent:
        """Send one message that fits the ``text_limit``. REQUIRED.

        :raises ChannelError: Not sent; tried again unless ``permanent``.
        """

    async def draft(
        self, target: Target, text: str, draft: str | None, reply_to: str | None
    ) -> str | None:
        """Show what there is of an answer; `send` puts the whole in its place.

        Called while a run goes on, if ``capabilities.draft_seconds`` is set: first
        with neither text nor draft, as a sign that somebody is at work. What is
        returned then is on the disk before any text is shown, so that a gateway that
        is killed goes on with the same draft. A draft with an empty text is to
        vanish: no answer will come.

        :param text: All that was said until now.
        :param draft: What a call for this answer returned before.
        :param reply_to: The id of the message that is answered, after a crash as
            well: platforms that take an idempotency key can make one of it.
        :returns: The platform's id of the draft, which `Outbound.draft` will name.
        :raises ChannelError: It cannot be shown; the answer comes all the same.
        """
        return draft

    def status(self) -> Mapping[str, Any]:
        """Return facts for people who ask how the channel is, as JSON values."""
        return {}

    def routes(self) -> Sequence[Route]:
        """Return the webhooks to mount."""
        return ()
