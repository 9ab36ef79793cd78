"""Guests: callers of a web chat, who are not to see anything but web chats.

A client of mode ``webchat`` without ``operator.admin`` is a page that strangers may
use. Whatever its scopes, it reaches the sessions ``agent:<id>:webchat:*`` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rustyclaw import MethodError

#: Where a method's parameters or an event's payload name sessions.
_KEYS = ("sessionKey", "key", "keys")
_FAMILIES = ("chat.", "sessions.")
#: Events that tell of nobody.
_EVENTS = frozenset({"tick", "shutdown"})


def check(method: str, params: Mapping[str, Any]) -> None:
    """Check that a guest may call a method.

    :raises MethodError: It is not for guests, or names another's session or none.
    """
    if method == "health":
        return
    if not method.startswith(_FAMILIES):
        raise MethodError("this method is not for guests of a web chat")
    named = [params[key] for key in _KEYS if params.get(key) is not None]
    keys = [k for name in named for k in (name if isinstance(name, list) else [name])]
    if not keys or not all(isinstance(k, str) and is_webchat(k) for k in keys):
        raise MethodError("guests of a web chat reach its own sessions alone")


def may_hear(event: str, payload: Any) -> bool:
    """Return whether an event is for guests."""
    if event in _EVENTS:
        return True
    key = payload.get("sessionKey") if isinstance(payload, Mapping) else None
    return isinstance(key, str) and is_webchat(key)


def is_webchat(key: str) -> bool:
    """Return whether a full session key is one of a web chat."""
    parts = key.strip().lower().split(":")
    return len(parts) > 3 and parts[0] == "agent" and parts[2] == "webchat"


def health(snapshot: Mapping[str, Any]) -> dict[str, Any]:
    """Return what guests learn of the gateway: that it is there."""
    none = {"path": "", "count": 0, "recent": []}
    agents = [{**agent, "sessions": none} for agent in snapshot["agents"]]
    empty: dict[str, Any] = {"channels": {}, "channelOrder": [], "channelLabels": {}}
    return {**snapshot, **empty, "agents": agents, "sessions": none}
