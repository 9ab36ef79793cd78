"""The life of each message, for clients that want to see it: event ``hook``.

A call of a hook is told to connections that declared the capability ``hook-events``
and may read. One that cannot keep up misses some.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rustyclaw_server.auth.scopes import READ

if TYPE_CHECKING:
    from rustyclaw import HookCall

    from rustyclaw_server.wire.hub import Hub

CAPABILITY = "hook-events"


class HookEvents:
    """Passes calls of hooks on."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def tell(self, call: HookCall) -> None:
        """Tell those who watch; a monitor of `Gateway.hooks`, so it must be quick."""
        if not self._hub.wants(CAPABILITY):
            return
        context = call.context
        payload = {
            "hook": call.hook,
            "plugin": call.plugin,
            "seconds": round(call.seconds, 6),
            "outcome": call.outcome,
            "runId": context.run_id if context else "",
            "sessionKey": context.session_key if context else "",
            "ts": int(time.time() * 1000),
        }
        self._hub.broadcast("hook", payload, scope=READ, cap=CAPABILITY, droppable=True)
