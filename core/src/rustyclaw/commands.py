"""The chat commands that every channel and the terminal understand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rustyclaw.gateway import Gateway

_HELP = """\
/new or /reset  begin a new conversation
/stop           stop what I am doing
/status         show model, size and usage of this conversation
/help           show this list"""


class ChatCommands:
    """Answers messages that begin with a slash."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._answers: dict[str, Callable[[str], Awaitable[str]]] = {
            "/new": self._new,
            "/reset": self._new,
            "/stop": self._stop,
            "/status": self._status,
            "/help": self._help,
        }

    async def answer(self, text: str, session: str) -> str | None:
        """Return the answer to a command, or ``None`` if the text is none."""
        answer = self._answers.get(text.strip().lower())
        return None if answer is None else await answer(session)

    async def _new(self, session: str) -> str:
        await self._gateway.reset(session)
        return "Here begins a new conversation."

    async def _stop(self, session: str) -> str:
        return "Stopped." if self._gateway.abort(session) else "Nothing is running."

    async def _status(self, session: str) -> str:
        info = await self._gateway.state.sessions.get_or_create(session)
        model = info.model or self._gateway.config.agents.defaults.model or "default"
        return (
            f"session {info.key}\nmodel {model}\n"
            f"context {info.context_tokens} tokens, used {info.usage.input_tokens} in "
            f"and {info.usage.output_tokens} out, {info.compactions} compactions"
        )

    async def _help(self, session: str) -> str:
        return _HELP
