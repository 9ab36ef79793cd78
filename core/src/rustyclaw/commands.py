"""The chat commands that every channel and the terminal understand."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from rustyclaw.errors import SessionError, StorageError

if TYPE_CHECKING:
    from rustyclaw.gateway import Gateway

logger = logging.getLogger(__name__)

_HELP = """\
/new or /reset  begin a new conversation
/compact [WHAT] shorten this conversation; WHAT says what to keep above all
/model [SPEC]   show the model, or use another such as `provider/model`; `default`
/think [LEVEL]  show how hard the model thinks, or change it; `default`
/stop           stop what I am doing
/status         show model, size and usage of this conversation
/help           show this list"""


async def answer(gateway: Gateway, text: str, session: str) -> str | None:
    """Return the answer to a chat command, or ``None`` if the text is none."""
    word, rest = [*text.split(maxsplit=1), "", ""][:2]
    try:
        match (word.lower(), rest.strip()):
            case ("/new" | "/reset", ""):
                await gateway.reset(session)
                return "Here begins a new conversation."
            case ("/stop", ""):
                return "Stopped." if gateway.abort(session) else "Nothing is running."
            case ("/status", ""):
                return await _status(gateway, session)
            case ("/help", ""):
                return _HELP
            case ("/compact", what):
                return await _compact(gateway, session, what)
            case ("/model" | "/think" as setting, value):
                return await _setting(gateway, session, setting, value)
    except (SessionError, StorageError):  # it may work later
        raise
    except Exception as exc:  # of a provider or a compactor
        logger.warning("%s in session %s: %s", word, session, exc)
        return gateway.config.redactor.scrub(f"That did not work: {exc}")
    return None


async def _compact(gateway: Gateway, session: str, what: str) -> str:
    result = await gateway.compact(session, what)
    if result is None:
        return "There is nothing to shorten yet."
    before, after = result.tokens_before, result.tokens_after
    return f"Shortened from about {before} to {after} tokens."


async def _setting(gateway: Gateway, session: str, setting: str, value: str) -> str:
    """Show or change a setting of a session; ``default`` is what the config says."""
    sessions, agents = gateway.state.sessions, gateway.config.agents
    info = await sessions.get_or_create(session)
    if value:
        kept = None if value.lower() == "default" else value
        if setting == "/model" and kept:
            await gateway.models.resolve(kept)  # a wrong one is an error now, not later
        name = "model" if setting == "/model" else "thinking"
        info = await sessions.patch(session, **{name: kept})
    agent = gateway.config.agent(info.agent_id)
    if setting == "/model":
        model = info.model or agent.model or agents.defaults.model
        return f"model {model or 'default'}"
    return f"thinking {info.thinking or agent.thinking or agents.defaults.thinking}"


async def _status(gateway: Gateway, session: str) -> str:
    model = await _setting(gateway, session, "/model", "")
    info = await gateway.state.sessions.get_or_create(session)
    return (
        f"session {info.key}\n{model}\n"
        f"context {info.context_tokens} tokens, used {info.usage.input_tokens} in "
        f"and {info.usage.output_tokens} out, {info.compactions} compactions"
    )
