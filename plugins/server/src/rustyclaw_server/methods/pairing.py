"""Senders who ask to be let in."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from rustyclaw import Outbound, RustyclawError

from rustyclaw_server.auth.scopes import PAIRING
from rustyclaw_server.methods.base import Anything, Context, method
from rustyclaw_server.wire.frames import Wire


class PairingRow(Wire):
    """A sender who waits."""

    channel: str
    code: str
    sender: str
    name: str | None
    created_at: int


class PairingList(Wire):
    """The senders who wait, the oldest first."""

    pending: list[PairingRow]


@method("pairing.list", scope=PAIRING, params=Anything, result=PairingList)
async def pairing_list(params: Anything, context: Context) -> dict[str, Any]:
    """Return the senders who wait to be let in."""
    rows = await context.gateway.state.access.pending()
    return {
        "pending": [
            {
                "channel": row.channel,
                "code": row.code,
                "sender": row.sender,
                "name": row.name,
                "createdAt": int(row.created * 1000),
            }
            for row in rows
        ]
    }


class PairingParams(Wire):
    """Parameters of ``pairing.approve`` and ``pairing.reject``."""

    channel: str = Field(min_length=1, max_length=64)
    code: str = Field(min_length=1, max_length=64)


class PairingResult(Wire):
    """Whom it was about; ``told`` says whether they get a message."""

    ok: bool
    channel: str
    sender: str
    name: str | None
    told: bool


@method("pairing.approve", scope=PAIRING, params=PairingParams, result=PairingResult)
async def pairing_approve(params: PairingParams, context: Context) -> dict[str, Any]:
    """Let a sender in, and tell them so."""
    gateway = context.gateway
    request = await gateway.state.access.approve(params.channel, params.code)
    told, asked = False, await gateway.state.journal.find(request.source)
    if asked is not None:
        session, message = asked
        out = Outbound(
            text="You are paired. Write whatever you like.",
            id=f"{request.source}:paired",
        )
        try:
            await gateway.post(message.target, out, session)
            told = True
        except (
            RustyclawError
        ):  # the channel is not open here; they may write all the same
            told = False
    return _resolved(context, request, "approved", told)


@method("pairing.reject", scope=PAIRING, params=PairingParams, result=PairingResult)
async def pairing_reject(params: PairingParams, context: Context) -> dict[str, Any]:
    """Turn a sender away, who may ask again."""
    access = context.gateway.state.access
    request = await access.reject(params.channel, params.code)
    return _resolved(context, request, "rejected", False)


def _resolved(
    context: Context, request: Any, decision: str, told: bool
) -> dict[str, Any]:
    payload = {"channel": request.channel, "sender": request.sender}
    event = {**payload, "decision": decision}
    context.server.hub.broadcast("pairing", event, scope=PAIRING)
    return {"ok": True, **payload, "name": request.name, "told": told}
