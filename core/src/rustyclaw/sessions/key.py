"""Session keys: the name of a conversation, such as ``agent:main:telegram:dm:42``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from rustyclaw.errors import SessionError

if TYPE_CHECKING:
    from rustyclaw.messages import Sender, Target

DmScope = Literal["main", "per_peer", "per_channel_peer", "per_account_channel_peer"]

_KEY = re.compile(r"agent:[a-z0-9][a-z0-9_-]{0,63}(?::[^/\\:]+)+")
_KEY_LIMIT, _PART_LIMIT = 512, 96


@dataclass(frozen=True, slots=True)
class SessionKey:
    """The name of one session: lower-case, printable, and never part of a path.

    :param rest: ``main``, ``telegram:dm:42``, ``slack:channel:c1:thread:7``,
        ``cron:<job>``, ``subagent:<uuid>``, or what a plugin chose.
    :raises SessionError: The text cannot be a key.
    """

    agent_id: str
    rest: str

    def __post_init__(self) -> None:
        text = str(self)
        plain = text.isprintable() and text == text.lower() and ":" not in self.agent_id
        if not plain or len(text) > _KEY_LIMIT or not _KEY.fullmatch(text):
            raise SessionError(
                f"{text[:80]!r} is not a session key; write `agent:<id>:<name>`, "
                "such as `agent:main:main`, without slashes"
            )

    def __str__(self) -> str:
        return f"agent:{self.agent_id}:{self.rest}"

    @classmethod
    def parse(cls, text: str) -> SessionKey:
        """Read a full key; upper-case letters become lower-case."""
        prefix, _, tail = text.strip().lower().partition(":")
        agent_id, _, rest = tail.partition(":")
        return cls(agent_id, rest if prefix == "agent" else "")

    @classmethod
    def of(cls, agent_id: str, *parts: str) -> SessionKey:
        """Join parts that may hold any character; odd ones are percent-encoded."""
        return cls(agent_id, ":".join(map(_part, parts)))


@lru_cache(maxsize=1024)
def resolve(text: str, default_agent: str) -> SessionKey:
    """Read a full key, or the short form of a key of the default agent."""
    text = text.strip().lower()
    is_full = text.startswith("agent:")
    return SessionKey.parse(text) if is_full else SessionKey(default_agent, text)


def for_inbound(
    target: Target,
    sender: Sender,
    agent_id: str,
    dm_scope: DmScope,
    identity_links: Mapping[str, Sequence[str]],
) -> SessionKey:
    """Return the session that a message belongs to.

    :param identity_links: A person's name, and ``channel:id`` of each account.
    """
    if target.chat_type != "dm":
        kind = "group" if target.chat_type == "group" else "channel"
        parts = [target.channel, kind, target.chat_id]
    elif dm_scope == "main":
        parts = ["main"]
    else:
        account = f"{target.channel}:{sender.id}".lower()
        links = identity_links.items()
        names = [n for n, accounts in links if account in map(str.lower, accounts)]
        parts = [target.channel, target.account_id, "dm", (names or [sender.id])[0]]
        skipped = {"per_peer": (0, 1), "per_channel_peer": (1,)}.get(dm_scope, ())
        parts = [part for place, part in enumerate(parts) if place not in skipped]
    if target.thread_id:
        parts += ["thread", target.thread_id]
    return SessionKey.of(agent_id, *parts)


def _part(text: str) -> str:
    """Encode one part; a very long one keeps its head and gets a digest."""
    part = quote(text.lower(), safe="!@+=~,;#&", errors="surrogatepass").lower()
    if len(part) <= _PART_LIMIT:
        return part
    digest = sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]
    return f"{part[:60]}~{digest}"
