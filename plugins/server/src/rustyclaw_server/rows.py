"""Sessions as clients list them (sheet section 10, ``sessions.list``)."""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
from rustyclaw import RustyclawError, Text

from rustyclaw_server.wire.frames import clean

if TYPE_CHECKING:
    from rustyclaw import Gateway

    from rustyclaw_server.server import Server

_ASKING_SECONDS = 1.0
_RETRY_SECONDS = 30.0
_TITLE_CHARS, _LAST_CHARS = 60, 200
_GLANCES = 1000
#: Isolated runs of a schedule have sessions of their own, which nobody browses.
_HIDDEN = re.compile(r"agent:[^:]+:cron:.+:run:.+")
_KIND = re.compile(r"agent:[^:]+:([^:]+):(?:[^:]+:)?(dm|direct|group|channel):.+")
_SPACES = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model as clients are told of it; ``window`` is 0 if nobody knows."""

    provider: str
    model: str
    window: int = 0


@dataclass(frozen=True, slots=True)
class Glance:
    """What a conversation is about, at a glance."""

    title: str
    last: str


class SessionRows:
    """Describes sessions; remembers what takes a while to find out."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._models: dict[str | None, tuple[ModelFacts, float]] = {}
        self._glances: OrderedDict[tuple[str, float], Glance] = OrderedDict()

    @property
    def _gateway(self) -> Gateway:
        return self._server.gateway

    @staticmethod
    def is_hidden(key: str) -> bool:
        """Return whether a session is left out of lists."""
        return _HIDDEN.fullmatch(key) is not None

    async def model_of(self, info: Any = None) -> ModelFacts:
        """Return the model of a session, or of one that has chosen none.

        A provider that takes long to open is not waited for.
        """
        config = self._gateway.config
        agent_id = info.agent_id if info else config.default_agent_id
        own = config.agent(agent_id).model if agent_id in config.agent_ids else None
        spec = (info.model if info else None) or own or config.agents.defaults.model
        facts, until = self._models.get(spec, (None, 0.0))
        if facts is not None and time.monotonic() < until:
            return facts
        name, _, model = (spec or "").partition("/")
        facts, until = ModelFacts(name, model), time.monotonic() + _RETRY_SECONDS
        try:
            with anyio.move_on_after(_ASKING_SECONDS):
                found = await self._gateway.models.resolve(spec)
                name, _, model = found.label.partition("/")
                facts, until = ModelFacts(name, model, found.window), float("inf")
        except RustyclawError:  # it is missing or broken, which the doctor says
            pass
        self._models[spec] = (facts, until)
        return facts

    async def row(self, info: Any) -> dict[str, Any]:
        """Return a session's row."""
        kind, channel = _kind(info.key)
        row = {"key": info.key, "kind": "direct" if kind == "direct" else "group"}
        if channel:
            row["channel"] = channel
        return row | await self.entry(info)

    async def entry(self, info: Any) -> dict[str, Any]:
        """Return what is kept of a session."""
        model, target = await self.model_of(info), info.last_target
        kind, channel = _kind(info.key)
        surface = channel or (target.channel if target else "") or "webchat"
        usage, settings = info.usage, self._server.settings.get(info.key)
        entry: dict[str, Any] = {
            "sessionId": info.session_id,
            "updatedAt": int(info.updated_at * 1000),
            "chatType": kind,
            "origin": {"provider": surface, "surface": surface, "chatType": kind},
            "systemSent": bool(info.context_tokens),
            "abortedLastRun": info.key in self._server.runs.aborted_last,
            "totalTokensFresh": bool(info.context_tokens),
            "modelProvider": model.provider,
            "model": model.model,
            "deliveryContext": _delivery(target),
            "lastChannel": target.channel if target else "webchat",
        }
        if info.context_tokens:
            entry |= {
                "inputTokens": usage.input_tokens,
                "outputTokens": usage.output_tokens,
                "totalTokens": info.context_tokens,
            }
        if model.window:
            entry["contextTokens"] = model.window
        if info.compactions:
            entry["compactionCount"] = info.compactions
        optional = {
            "label": info.label,
            "thinkingLevel": info.thinking,
            "modelOverride": info.model,
            "lastTo": target.chat_id if target else None,
            "lastAccountId": target.account_id if target else None,
        }
        return (
            entry
            | {name: value for name, value in optional.items() if value}
            | dict(settings)
        )

    async def glance(self, info: Any) -> Glance:
        """Return title and last message; both are empty if nothing was said."""
        name = (info.session_id, info.updated_at)
        found = self._glances.get(name)
        if found is None:
            transcript = await self._gateway.state.sessions.transcript(info)
            found = self._glances[name] = _glance(transcript.entries)
            while len(self._glances) > _GLANCES:
                self._glances.popitem(last=False)
        self._glances.move_to_end(name)
        return found


def _kind(key: str) -> tuple[str, str]:
    """Return ``direct``, ``group`` or ``channel``, and the channel of a key."""
    found = _KIND.fullmatch(key)
    if found is None:
        return "direct", ""
    kind = "direct" if found[2] in ("dm", "direct") else found[2]
    own = found[2] == "dm" and found[1] == "dm"
    return kind, "" if own else found[1]


def _delivery(target: Any) -> dict[str, Any]:
    if target is None:
        return {"channel": "webchat"}
    facts = {"channel": target.channel, "to": target.chat_id}
    return facts | {"accountId": target.account_id}


def _glance(entries: Any) -> Glance:
    title = last = ""
    for entry in entries:
        message = entry.message
        if message is None or message.role == "tool":
            continue
        said = one_line(message.content)
        if said and message.role == "user":
            title = title or said
        last = said or last
    return Glance(title=shorten(title, _TITLE_CHARS), last=shorten(last, _LAST_CHARS))


def one_line(content: Any) -> str:
    """Return the text of a message on one line."""
    texts = (block.text for block in content if isinstance(block, Text))
    return _SPACES.sub(" ", clean(" ".join(texts))).strip()


def shorten(text: str, limit: int) -> str:
    """Return a text of at most so many characters, with dots if it was longer."""
    return text if len(text) <= limit else f"{text[: max(limit - 3, 0)]}..."
