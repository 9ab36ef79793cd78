"""Approvals by chat: questions go to who may answer them, and ``/allow`` comes back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio

from rustyclaw.approvals import Approval, Decision
from rustyclaw.errors import RustyclawError
from rustyclaw.messages import Inbound, Outbound, ToolCall

if TYPE_CHECKING:
    from rustyclaw.gateway import Gateway

#: What a message must begin with to be an answer.
WORDS = (["/allow"], ["/deny"])
_MOST_CHARACTERS = 3000


def decide(gateway: Gateway, message: Inbound) -> str:
    """Obey ``/allow ID [always]`` or ``/deny ID``; return what the sender is told."""
    if f"{message.target.channel}:{message.sender.id}" not in _approvers(gateway):
        return "You may not decide that; `gateway.approvers` says who may."
    decision: Decision
    match message.text.lower().split():
        case ["/allow", approval_id]:
            decision = "allow-once"
        case ["/allow", approval_id, "always"]:
            decision = "allow-always"
        case ["/deny", approval_id]:
            decision = "deny"
        case _:
            return "Write /allow ID, /allow ID always, or /deny ID."
    try:
        gateway.approvals.resolve(approval_id, decision)
    except RustyclawError as exc:
        return f"That did not work: {exc}"
    return "Denied." if decision == "deny" else "Allowed."


async def announce(gateway: Gateway, approval: Approval) -> Decision:
    """Put a question into the private chats of the approvers; an operator.

    A question about a message is not: it would need another message, and so on.
    """
    if isinstance(approval.subject, ToolCall):
        text = _question(gateway, approval, approval.subject)
        for name in _approvers(gateway):
            channel, _, sender = name.partition(":")
            last = await gateway.state.journal.last_private(channel, sender)
            if last is not None and channel in gateway.deliveries:
                session, target = last
                await gateway.post(target, Outbound(text=text), session)
    await anyio.sleep_forever()
    raise AssertionError("it sleeps until it is cancelled")


def _approvers(gateway: Gateway) -> tuple[str, ...]:
    return gateway.config.gateway.approvers


def _question(gateway: Gateway, approval: Approval, call: ToolCall) -> str:
    arguments = gateway.redact(
        json.loads(json.dumps(dict(call.arguments), default=str))
    )
    shown = json.dumps(arguments, ensure_ascii=False)
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in shown)
    if (more := len(text) - _MOST_CHARACTERS) > 0:
        text = f"{text[:_MOST_CHARACTERS]} [{more} more characters are not shown]"
    minutes = (approval.expires_at - approval.created_at) / 60
    return (
        f"May {call.name!r} run in {approval.context.session_key}?\n{text}\n"
        f"{gateway.redact(approval.reason)}\n\nWithin {minutes:g} minutes: "
        f"/allow {approval.id}, /allow {approval.id} always, or /deny {approval.id}"
    )
