"""The chat commands that every channel and the terminal understand."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rustyclaw.gateway import Gateway

_HELP = """\
/new or /reset  begin a new conversation
/stop           stop what I am doing
/status         show model, size and usage of this conversation
/help           show this list"""


async def answer(gateway: Gateway, text: str, session: str) -> str | None:
    """Return the answer to a chat command, or ``None`` if the text is none."""
    match text.strip().lower():
        case "/new" | "/reset":
            await gateway.reset(session)
            return "Here begins a new conversation."
        case "/stop":
            return "Stopped." if gateway.abort(session) else "Nothing is running."
        case "/status":
            return await _status(gateway, session)
        case "/help":
            return _HELP
    return None


async def _status(gateway: Gateway, session: str) -> str:
    info = await gateway.state.sessions.get_or_create(session)
    agents = gateway.config.agents
    named = [a.model for a in agents.list if a.id == info.agent_id]
    model = next(filter(None, (info.model, *named, agents.defaults.model)), "default")
    return (
        f"session {info.key}\nmodel {model}\n"
        f"context {info.context_tokens} tokens, used {info.usage.input_tokens} in "
        f"and {info.usage.output_tokens} out, {info.compactions} compactions"
    )
