"""Asks operators whether an action may happen; no word means no."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from secrets import token_hex
from typing import Literal, Protocol

import anyio

from rustyclaw.errors import RustyclawError, Veto
from rustyclaw.messages import HookContext, Outbound, ToolCall

logger = logging.getLogger(__name__)

Decision = Literal["allow-once", "allow-always", "deny"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A question to an operator: exactly this action, or not.

    :param key: What "always" is remembered by; default: exactly this tool call.
    :param created_at: Seconds since the epoch, as ``expires_at``.
    """

    context: HookContext
    subject: ToolCall | Outbound
    reason: str
    key: str = ""
    id: str = field(default_factory=lambda: token_hex(4))
    created_at: float = field(default_factory=time.time)
    expires_at: float = 0.0


#: Shows a question to a person and returns the answer, or waits to be cancelled.
Operator = Callable[[Approval], Awaitable[Decision]]


class Memory(Protocol):
    """What was allowed for always."""

    async def is_allowed(self, key: str) -> bool:
        """Return whether an action was allowed for always."""

    async def allow(self, key: str) -> None:
        """Allow an action for always."""


class Approvals:
    """The attached operators, and the questions that wait for them.

    :param timeout_seconds: After that without an answer, the answer is no.
    :ivar memory: Where "always" is kept; without one it means "once".
    :ivar pending: The questions that wait, by id.
    """

    def __init__(self, timeout_seconds: float = 120.0) -> None:
        self._operators: list[Operator] = []
        self._timeout = timeout_seconds
        self._decided: dict[str, tuple[anyio.Event, list[Decision]]] = {}
        self.memory: Memory | None = None
        self.pending: dict[str, Approval] = {}

    def attach(self, operator: Operator) -> Callable[[], None]:
        """Let an operator be asked; returns what detaches it again."""
        self._operators.append(operator)
        return lambda: self._operators.remove(operator)

    def resolve(self, approval_id: str, decision: Decision) -> Approval:
        """Decide a question that waits; return it.

        :raises RustyclawError: No such question waits, or it is decided already.
        """
        event, answers = self._decided.get(approval_id, (None, []))
        if event is None or event.is_set():
            raise RustyclawError(f"no approval {approval_id!r} waits; it may be over")
        answers.append(decision)
        event.set()
        return self.pending[approval_id]

    async def require(self, approval: Approval) -> None:
        """Return if an operator allows it; the first answer counts.

        :raises Veto: It was refused, or nobody answered, or nobody is there.
        """
        key = approval.key or key_of(approval.context, approval.subject)
        if key and self.memory and await self.memory.is_allowed(key):
            return
        if not self._operators:
            problem = "it needs an operator's approval and none is attached"
            raise Veto(f"{problem} ({approval.reason})")
        approval = replace(approval, expires_at=approval.created_at + self._timeout)
        decision = await self._ask(approval)
        if decision is None:
            raise Veto(f"no operator answered in time ({approval.reason})")
        if decision not in ("allow-once", "allow-always"):  # whatever else it is
            raise Veto(f"an operator refused it ({approval.reason})")
        if decision == "allow-always" and key and self.memory:
            await self.memory.allow(key)

    async def _ask(self, approval: Approval) -> Decision | None:
        decided, answers = self._decided[approval.id] = (anyio.Event(), [])

        async def ask(operator: Operator) -> None:
            try:
                answers.append(await operator(approval))
                decided.set()
            except Exception:  # another operator may still answer
                logger.exception("an operator could not be asked")

        self.pending[approval.id] = approval
        try:
            with anyio.move_on_after(self._timeout):
                async with anyio.create_task_group() as group:
                    for operator in tuple(self._operators):
                        group.start_soon(ask, operator)
                    await decided.wait()
                    group.cancel_scope.cancel()
        finally:
            del self.pending[approval.id], self._decided[approval.id]
        return answers[0] if answers else None


def key_of(context: HookContext, subject: ToolCall | Outbound) -> str:
    """Return what names exactly this tool call; a message is never allowed always."""
    if not isinstance(subject, ToolCall):
        return ""
    arguments = json.dumps(dict(subject.arguments), sort_keys=True, default=str)
    return f"{context.agent_id} {subject.name} {arguments}"
