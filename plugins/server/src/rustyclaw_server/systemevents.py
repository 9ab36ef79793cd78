"""What a session is told with its next message: texts that are nobody's message."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

from rustyclaw import Message, Text

from rustyclaw_server.wire.frames import clean
from rustyclaw_server.wire.liverun import LiveRun

if TYPE_CHECKING:
    from rustyclaw import Prompt

    from rustyclaw_server.server import Server

_PER_SESSION, _SESSIONS, _CHARS = 20, 1000, 4000


class SystemEvents:
    """Texts that wait, by session; the oldest go when there are too many."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._waiting: dict[str, deque[str]] = {}

    def add(self, key: str, text: str) -> None:
        """Tell a session something with its next message; the same thing once.

        :param key: The full key of the session.
        """
        texts = self._waiting.setdefault(key, deque(maxlen=_PER_SESSION))
        text = " ".join(clean(text).split())[:_CHARS]
        if text and text not in (line.partition("] ")[2] for line in texts):
            texts.append(
                f"[{time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}] {text}"
            )
        while len(self._waiting) > _SESSIONS:
            del self._waiting[next(iter(self._waiting))]

    def waiting(self, key: str) -> list[str]:
        """Return what a session has not been told yet."""
        return list(self._waiting.get(key, ()))

    def put_into(self, key: str, prompt: Prompt) -> Prompt | None:
        """Return a prompt with what waits for its session, which then waits no more."""
        texts = self._waiting.pop(key, None)
        if not texts:
            return None
        head = Text(text="\n".join(f"System: {text}" for text in texts))
        message = prompt.message
        return replace(
            prompt, message=replace(message, content=(head, *message.content))
        )

    async def wake(self, text: str, *, now: bool, session: str = "main") -> str:
        """Tell a session something, at once or with its next message.

        At once means a run, whose answer goes to the chat that the session last used.

        :returns: The id of the run; empty if there is none.
        :raises ConfigError: There is no such agent.
        """
        gateway = self._server.gateway
        key = gateway.key(session)
        gateway.config.agent(key.split(":")[1])  # an unknown agent is an error now
        if not now:
            self.add(key, text)
            return ""
        run = LiveRun(run_id=str(uuid4()), key=key)
        message = Message.user(f"System: {clean(text)[:_CHARS]}")
        info = await gateway.state.sessions.get(key)
        target = info.last_target if info else None
        if target is not None and target.channel not in gateway.deliveries:
            target = None
        await self._server.runs.start(run, message, target=target)
        return run.run_id
