"""Takes the messages of channels: decided about, made durable, and only then ours."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import time
from typing import TYPE_CHECKING

from rustyclaw import approvers
from rustyclaw.errors import Busy, ChannelError, SessionError
from rustyclaw.routing import session_for
from rustyclaw.sessions.journal import Reply

if TYPE_CHECKING:
    from rustyclaw.delivery import Delivery
    from rustyclaw.gateway import Gateway
    from rustyclaw.messages import Inbound

logger = logging.getLogger(__name__)


async def accept(
    gateway: Gateway, message: Inbound, wake: Callable[[str], None]
) -> bool:
    """Do what `Gateway.accept` promises.

    :param wake: Has a session look into the inbox.
    """
    delivery = _delivery(gateway, message)
    delivery.status.last_message = time()
    decision = await gateway.state.access.decide(message, delivery.channel.config)
    if not decision.serve:
        logger.info("message %s is not served", message.source)
        if not decision.reply:
            return True
        name = message.target.channel
        gateway.feed.announce("pairing", {"channel": name}, "operator.pairing")
    try:
        key = str(session_for(gateway.config, message))
    except SessionError as exc:  # another delivery would not mend it
        logger.error("message %s is dropped: %s", message.source, exc)
        return True
    answer = decision.reply or None
    if decision.serve:
        answer = await _answer_at_once(gateway, message, key)
    reply = Reply.to(message, key, answer) if answer else None
    is_new = await gateway.state.journal.accept(message, key, reply)
    if reply:
        delivery.wake()
    elif is_new:
        wake(key)
    return is_new


def _delivery(gateway: Gateway, message: Inbound) -> Delivery:
    """Return the channel of a message, if it may bring one now."""
    name = message.target.channel
    if gateway.draining:
        raise Busy("the gateway is stopping; try again later")
    if (delivery := gateway.deliveries.get(name)) is None:
        problem = f"no channel {name!r} is open here; name the channel's own"
        raise ChannelError(problem, permanent=True)
    if delivery.status.state == "stopped":
        raise Busy(f"channel {name!r} is stopped; start it, then try again")
    return delivery


async def _answer_at_once(gateway: Gateway, message: Inbound, key: str) -> str | None:
    """Answer what must not queue: ``/stop``, and decisions of approvers."""
    words = message.text.lower().split()
    is_stop = words == ["/stop"]
    if not is_stop and words[:1] not in approvers.WORDS:
        return None
    if await gateway.state.journal.knows(message.source):
        return None
    if is_stop:
        return await gateway.command("/stop", key)
    return approvers.decide(gateway, message)
