"""Models and the vendors that offer them."""

from __future__ import annotations

import time
from typing import Any, Literal

from rustyclaw_server.auth.scopes import READ
from rustyclaw_server.methods.base import Anything, Context, method
from rustyclaw_server.wire.frames import Wire


class ListParams(Wire):
    """Parameters of ``models.list``; all views are the models of enabled providers."""

    view: Literal["default", "configured", "all"] | None = None


class ListResult(Wire):
    """The models."""

    models: list[dict[str, Any]]


@method("models.list", scope=READ, params=ListParams, result=ListResult)
async def models_list(params: ListParams, context: Context) -> dict[str, Any]:
    """Return the models of all enabled providers; one that is broken offers none."""
    return {"models": await context.server.catalog.rows()}


class AuthResult(Wire):
    """Whether each provider can be used."""

    ts: int
    providers: list[dict[str, Any]]


@method("models.authStatus", scope=READ, params=Anything, result=AuthResult)
async def models_auth_status(params: Anything, context: Context) -> dict[str, Any]:
    """Return whether each enabled provider opens with what it was given."""
    problems = await context.server.catalog.problems()
    redact = context.gateway.redact
    providers = [
        {
            "provider": name,
            "displayName": name.replace("_", " ").replace("-", " ").title(),
            "status": "missing" if problem else "static",
            "profiles": [],
            **({"reason": redact(problem)} if problem else {}),
        }
        for name, problem in problems.items()
    ]
    return {"ts": int(time.time() * 1000), "providers": providers}
