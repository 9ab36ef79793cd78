"""Asks operators whether an action may happen; no word means no."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

from rustyclaw.errors import Veto
from rustyclaw.messages import HookContext, Outbound, ToolCall


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
        if not self._operators:
            raise Veto(
                f"it needs an operator's approval and none is attached "
                f"({approval.reason})"
            )
        answers: list[bool] = []
        with anyio.move_on_after(self._timeout) as deadline:
            async with anyio.create_task_group() as group:

                async def ask(operator: Operator) -> None:
                    answers.append(await operator(approval))
                    group.cancel_scope.cancel()

                for operator in tuple(self._operators):
                    group.start_soon(ask, operator)
        if deadline.cancelled_caught or not answers:
            raise Veto(f"no operator answered in time ({approval.reason})")
        if not answers[0]:
            raise Veto(f"an operator refused it ({approval.reason})")
