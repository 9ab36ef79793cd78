"""Asks operators whether an action may happen; no word means no."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

from rustyclaw.errors import Veto
from rustyclaw.messages import HookContext, Outbound, ToolCall

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A question to an operator: exactly this action, or not."""

    context: HookContext
    subject: ToolCall | Outbound
    reason: str


#: Shows a question to a person and returns the answer.
Operator = Callable[[Approval], Awaitable[bool]]


class Approvals:
    """The attached operators.

    :param timeout_seconds: After that without an answer, the answer is no.
    """

    def __init__(self, timeout_seconds: float = 120.0) -> None:
        self._operators: list[Operator] = []
        self._timeout = timeout_seconds

    def attach(self, operator: Operator) -> Callable[[], None]:
        """Let an operator be asked; returns what detaches it again."""
        self._operators.append(operator)
        return lambda: self._operators.remove(operator)

    async def require(self, approval: Approval) -> None:
        """Return if an operator allows it; the first answer counts.

        :raises Veto: It was refused, or nobody answered, or nobody is there.
        """
        answers: list[bool] = []

        async def ask(operator: Operator) -> None:
            try:
                answers.append(await operator(approval))
                group.cancel_scope.cancel()
            except Exception:  # another operator may still answer
                logger.exception("an operator could not be asked")

        with anyio.move_on_after(self._timeout):
            async with anyio.create_task_group() as group:
                for operator in tuple(self._operators):
                    group.start_soon(ask, operator)
        if not self._operators:
            problem = "it needs an operator's approval and none is attached"
        elif not answers:
            problem = "no operator answered in time"
        elif not answers[0]:
            problem = "an operator refused it"
        else:
            return
        raise Veto(f"{problem} ({approval.reason})")
