"""Which agent and which session an inbound message belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rustyclaw.sessions.key import SessionKey, for_inbound

if TYPE_CHECKING:
    from rustyclaw.config import Config
    from rustyclaw.config.model import Binding
    from rustyclaw.messages import Inbound

#: Tiers of a binding, most specific first; within one the config's order counts.
_PEER, _GUILD, _TEAM, _ACCOUNT, _CHANNEL = range(5)


def agent_for(config: Config, message: Inbound) -> str:
    """Return the id of the agent that serves a message.

    The most specific binding whose every given field matches wins: peer, guild,
    team, account, channel; then the default agent. A binding to an agent that
    does not exist falls back to the default agent.
    """
    matching = [b for b in config.bindings if _matches(b, message)]
    if not matching:
        return config.default_agent_id
    chosen = min(matching, key=_tier).agent
    return chosen if chosen in config.agent_ids else config.default_agent_id


def session_for(config: Config, message: Inbound) -> SessionKey:
    """Return the session that a message belongs to."""
    return for_inbound(
        message.target,
        message.sender,
        agent_for(config, message),
        config.session.dm_scope,
        config.session.identity_links,
    )


def _matches(binding: Binding, message: Inbound) -> bool:
    match, target = binding.match, message.target
    if match.channel != target.channel:
        return False
    if match.account_id != "*" and (match.account_id or "default") != target.account_id:
        return False
    if match.peer and (match.peer.kind, match.peer.id) != (
        target.chat_type,
        message.sender.id if target.chat_type == "dm" else target.chat_id,
    ):
        return False
    return all(
        wanted is None or message.facts.get(fact) == wanted
        for fact, wanted in (("guild_id", match.guild_id), ("team_id", match.team_id))
    )


def _tier(binding: Binding) -> int:
    match = binding.match
    if match.peer:
        return _PEER
    if match.guild_id:
        return _GUILD
    if match.team_id:
        return _TEAM
    return _CHANNEL if match.account_id == "*" else _ACCOUNT
