"""Which agent and which session an inbound message belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rustyclaw.sessions.key import SessionKey, for_inbound

if TYPE_CHECKING:
    from rustyclaw.config import Config
    from rustyclaw.config.model import Match
    from rustyclaw.messages import Inbound


def session_for(config: Config, message: Inbound) -> SessionKey:
    """Return the session that a message belongs to.

    :raises SessionError: An id in the message is empty.
    """
    session, agent = config.session, agent_for(config, message)
    target, sender = message.target, message.sender
    return for_inbound(target, sender, agent, session.dm_scope, session.identity_links)


def agent_for(config: Config, message: Inbound) -> str:
    """Return the id of the agent that serves a message.

    The most specific binding whose every given field matches wins: peer, guild,
    team, account, channel, and among equals the first in the config; then the
    default agent. A binding to an agent that does not exist means the default one.
    """
    matching = [b for b in config.bindings if _matches(b.match, message)]
    if matching:
        chosen = min(matching, key=lambda binding: _tier(binding.match)).agent
        if chosen in config.agent_ids:
            return chosen
    return config.default_agent_id


def _matches(match: Match, message: Inbound) -> bool:
    target, facts = message.target, message.facts
    is_dm = target.chat_type == "dm"
    peer = (target.chat_type, message.sender.id if is_dm else target.chat_id)
    return (
        match.channel == target.channel
        and (match.account_id or "default") in ("*", target.account_id)
        and (match.peer is None or (match.peer.kind, match.peer.id) == peer)
        and match.guild_id in (None, facts.get("guild_id"))
        and match.team_id in (None, facts.get("team_id"))
    )


def _tier(match: Match) -> int:
    """Return how specific a binding is, the most specific being the least."""
    given = (match.peer, match.guild_id, match.team_id, match.account_id != "*", True)
    return [bool(part) for part in given].index(True)
