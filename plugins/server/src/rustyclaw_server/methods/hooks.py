"""The hooks, and who is on them; event ``hook`` shows their calls."""

from __future__ import annotations

from typing import Any

from rustyclaw_server.auth.scopes import READ
from rustyclaw_server.hookevents import CAPABILITY
from rustyclaw_server.methods.base import Anything, Context, method
from rustyclaw_server.wire.frames import Wire


class ListResult(Wire):
    """The hooks in the order of a message's life."""

    capability: str
    hooks: list[dict[str, Any]]


@method("hooks.list", scope=READ, params=Anything, result=ListResult)
async def hooks_list(params: Anything, context: Context) -> dict[str, Any]:
    """Return all hooks, the plugins on each, and how often those have failed."""
    hooks = context.gateway.hooks
    rows = []
    for fact in hooks.facts():
        hook, kind, doc = fact
        plugins = [
            {"name": name, "faults": hooks.fault_counts[name]}
            for name in hooks.plugins_on(hook)
        ]
        row: dict[str, Any] = {"name": hook, "kind": kind, "description": doc}
        rows.append(row | {"plugins": plugins})
    return {"capability": CAPABILITY, "hooks": rows}
