"""Questions to operators: may this happen? Of runs, and of clients (nodes' hosts).

The gateway's own questions come through `Gateway.approvals`, but only while somebody
is connected who may answer: without that, no word means no at once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import anyio
from rustyclaw import MethodError, ToolCall

from rustyclaw_server.auth.scopes import APPROVALS
from rustyclaw_server.wire.frames import clean

if TYPE_CHECKING:
    from rustyclaw import Approval, Decision, Gateway

    from rustyclaw_server.wire.connection import Connection
    from rustyclaw_server.wire.hub import Hub

_REMEMBERED_MS = 15_000
_MAX_PENDING = 256
_SHOWN_CHARS = 4000
DECISIONS = ("allow-once", "allow-always", "deny")


@dataclass(slots=True, kw_only=True)
class Question:
    """What an operator is asked; times in milliseconds since the epoch."""

    id: str
    request: dict[str, Any]
    created_at: int
    expires_at: int
    decision: Decision | None = None
    resolved_at: int = 0
    decided: anyio.Event = field(default_factory=anyio.Event)

    def row(self) -> dict[str, Any]:
        """Return it as clients are told of it."""
        row: dict[str, Any] = {"id": self.id, "request": self.request}
        return row | {"createdAtMs": self.created_at, "expiresAtMs": self.expires_at}

    def outcome(self) -> dict[str, Any]:
        """Return the decision; ``null`` if nobody made one in time."""
        row: dict[str, Any] = {"id": self.id, "decision": self.decision}
        return row | {"createdAtMs": self.created_at, "expiresAtMs": self.expires_at}


class ApprovalDesk:
    """All questions that wait, and those that were answered just now."""

    def __init__(self, gateway: Gateway, hub: Hub) -> None:
        self._gateway, self._hub = gateway, hub
        self._questions: dict[str, Question] = {}
        self._detach: Callable[[], None] | None = None

    def look(self, connection: Connection) -> None:
        """See whether somebody is there who may answer, as somebody came or went."""
        somebody = any(c.may_see(APPROVALS) for c in self._hub)
        if somebody and self._detach is None:
            self._detach = self._gateway.approvals.attach(self._ask)
        elif not somebody and self._detach is not None:
            self._detach()
            self._detach = None

    def pending(self) -> list[Question]:
        """Return the questions that wait, the oldest first."""
        return [q for q in self._questions.values() if not q.resolved_at]

    def get(self, question_id: str) -> Question:
        """Return a question, up to some seconds after it was answered.

        :raises MethodError: There is none.
        """
        self._forget_old()
        if question_id not in self._questions:
            raise MethodError("approval expired or not found")
        return self._questions[question_id]

    def open(self, request: dict[str, Any], seconds: float, name: str = "") -> Question:
        """Ask all who may answer.

        :raises MethodError: The id is taken, or too many questions wait.
        """
        self._forget_old()
        if name and name in self._questions:
            raise MethodError(f"approval {name!r} is asked already")
        if len(self._questions) >= _MAX_PENDING:
            raise MethodError("too many approvals wait", code="UNAVAILABLE")
        now = _now()
        question = Question(
            id=name or str(uuid4()),
            request=request,
            created_at=now,
            expires_at=now + int(seconds * 1000),
        )
        self._questions[question.id] = question
        self._hub.broadcast("exec.approval.requested", question.row(), scope=APPROVALS)
        return question

    async def wait(self, question: Question) -> Decision | None:
        """Return the decision, or ``None`` when the time is over."""
        left = max(question.expires_at - _now(), 0) / 1000
        with anyio.move_on_after(left):
            await question.decided.wait()
        if not question.resolved_at:
            self._close(question)
        return question.decision

    def resolve(self, question_id: str, decision: str, by: str) -> Question:
        """Decide a question.

        :param by: Who has decided, for the others.
        :raises MethodError: It is no decision, or no such question waits.
        """
        if decision not in DECISIONS:
            raise MethodError("invalid decision")
        question = self._questions.get(question_id)
        if question is None or question.resolved_at:
            raise MethodError("unknown approval id")
        question.decision = cast("Decision", decision)
        self._close(question)
        payload: dict[str, Any] = {"id": question.id, "decision": decision}
        payload |= {"resolvedBy": by, "ts": question.resolved_at}
        self._hub.broadcast("exec.approval.resolved", payload, scope=APPROVALS)
        return question

    def _close(self, question: Question) -> None:
        question.resolved_at = _now()
        question.decided.set()

    def _forget_old(self) -> None:
        oldest = _now() - _REMEMBERED_MS
        for name, question in list(self._questions.items()):
            if question.resolved_at and question.resolved_at < oldest:
                del self._questions[name]

    # --- The gateway's own questions --------------------------------------------------

    async def _ask(self, approval: Approval) -> Decision:
        """Put a question of a run; an operator of `Gateway.approvals`."""
        seconds = max(approval.expires_at - time.time(), 0.0)
        request = self._gateway.redact(_request(approval))
        question = self.open(cast("dict[str, Any]", request), seconds, approval.id)
        try:
            decision = await self.wait(question)
            if decision is None:  # the gateway's own deadline says so, better
                await anyio.sleep_forever()
            return cast("Decision", decision)
        finally:
            if not question.resolved_at:  # another operator, or the end of the run
                self._withdraw(question)

    def _withdraw(self, question: Question) -> None:
        self._close(question)
        payload: dict[str, Any] = {"id": question.id, "decision": None}
        payload |= {"resolvedBy": None, "ts": question.resolved_at}
        self._hub.broadcast("exec.approval.resolved", payload, scope=APPROVALS)


def _request(approval: Approval) -> dict[str, Any]:
    """Return what a run wants to do, in the form of the sheet, and why we ask."""
    subject, context = approval.subject, approval.context
    facts: dict[str, Any] = {}
    if isinstance(subject, ToolCall):
        arguments, tool = dict(subject.arguments), subject.name
        command = arguments.get("command")
        if not isinstance(command, str):
            command = f"{tool} {json.dumps(arguments, default=str)}"
        facts["cwd"] = arguments.get("cwd")
    else:
        command, tool = f"send: {subject.text}", "message"
    cwd = facts.get("cwd")
    return {
        "command": _shown(command),
        "cwd": cwd if isinstance(cwd, str) else None,
        "host": "gateway",
        "security": None,
        "ask": None,
        "agentId": context.agent_id,
        "resolvedPath": None,
        "sessionKey": context.session_key,
        "tool": tool,
        "reason": approval.reason,
    }


def _shown(command: str) -> str:
    """Return a command; of a very long one it is said that it goes on."""
    rest = len(command) - _SHOWN_CHARS
    more = f"... ({rest} more characters are not shown)" if rest > 0 else ""
    return clean(command[:_SHOWN_CHARS]) + more


def _now() -> int:
    return int(time.time() * 1000)
