"""Approvals: ask an operator, answer, and see what was allowed for always.

An answer must come from an operator who is connected as a device. Code of this
process and the command line of this home cannot give one: the agent's own tools may
come to use either.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any, Literal

from pydantic import Field
from rustyclaw import MethodError

from rustyclaw_server.approvals import Question
from rustyclaw_server.auth.scopes import ADMIN, APPROVALS
from rustyclaw_server.methods.base import Anything, Context, method
from rustyclaw_server.wire.frames import Wire, clean, plain

_DEFAULT_MS, _LONGEST_MS = 120_000, 3_600_000
Id = Field(min_length=1, max_length=128)
Note = Field(None, max_length=4096)


# --- Asking and answering -------------------------------------------------------------


class AskParams(Wire):
    """Parameters of ``exec.approval.request``; ``null`` is as good as nothing."""

    command: str = Field(min_length=1, max_length=65_536)
    id: str | None = Field(None, min_length=1, max_length=128)
    cwd: str | None = Note
    host: str | None = Note
    security: str | None = Note
    ask: str | None = Note
    agent_id: str | None = Note
    resolved_path: str | None = Note
    session_key: str | None = Note
    timeout_ms: int | None = Field(None, ge=1, le=_LONGEST_MS)
    two_phase: bool | None = None


class Outcome(Wire):
    """The decision; ``null`` if nobody made one in time."""

    id: str
    decision: Literal["allow-once", "allow-always", "deny"] | None
    created_at_ms: int
    expires_at_ms: int


@method("exec.approval.request", scope=APPROVALS, params=AskParams, result=Outcome)
async def approval_request(params: AskParams, context: Context) -> dict[str, Any]:
    """Ask the operators about a command, and wait for the decision."""
    shown = params.model_dump(
        by_alias=True, exclude={"id", "timeout_ms", "two_phase", "command"}
    )
    request = {"command": clean(params.command), **shown}
    seconds = (params.timeout_ms or _DEFAULT_MS) / 1000
    desk = context.server.approvals
    question = desk.open(request, seconds, params.id or "")
    if params.two_phase:
        context.caller.progress({"status": "accepted", **_times(question)})
    await desk.wait(question)
    return question.outcome()


def _times(question: Question) -> dict[str, Any]:
    row = question.row()
    del row["request"]
    return row


class WaitParams(Wire):
    """Parameters of ``exec.approval.waitDecision``."""

    id: str = Id


@method(
    "exec.approval.waitDecision", scope=APPROVALS, params=WaitParams, result=Outcome
)
async def approval_wait(params: WaitParams, context: Context) -> dict[str, Any]:
    """Wait for the decision on a question that somebody has asked."""
    question = context.server.approvals.get(params.id)
    await context.server.approvals.wait(question)
    return question.outcome()


class ResolveParams(Wire):
    """Parameters of ``exec.approval.resolve``."""

    id: str = Id
    decision: str = Field(max_length=64)


class Done(Wire):
    """It is done."""

    ok: bool


@method("exec.approval.resolve", scope=APPROVALS, params=ResolveParams, result=Done)
async def approval_resolve(params: ResolveParams, context: Context) -> dict[str, Any]:
    """Decide a question; the first answer counts."""
    connection = context.connection
    if connection is None:
        problem = "only an operator's client may decide"
        raise MethodError(f"{problem}; connect one, such as the Control UI")
    client = connection.client
    by = client.display_name or client.id
    context.server.approvals.resolve(params.id, params.decision, by)
    return {"ok": True}


class PendingResult(Wire):
    """The questions that wait, the oldest first."""

    approvals: list[dict[str, Any]]


@method("approvals.list", scope=APPROVALS, params=Anything, result=PendingResult)
async def approvals_list(params: Anything, context: Context) -> dict[str, Any]:
    """List the questions that wait for an answer."""
    return {"approvals": [q.row() for q in context.server.approvals.pending()]}


# --- What is allowed for always -------------------------------------------------------


class AllowedResult(Wire):
    """What is allowed for always, the newest first."""

    allowed: list[dict[str, Any]]


@method("approvals.allowed", scope=APPROVALS, params=Anything, result=AllowedResult)
async def approvals_allowed(params: Anything, context: Context) -> dict[str, Any]:
    """List what operators have allowed for always."""
    rows = await context.gateway.state.allowances()
    return {"allowed": [{"key": key, "since": _ms(since)} for key, since in rows]}


class ForgetParams(Wire):
    """Parameters of ``approvals.forget``."""

    key: str = Field(min_length=1, max_length=1_000_000)


class ForgetResult(Wire):
    """Whether it was allowed until now."""

    ok: bool
    forgotten: bool


@method("approvals.forget", scope=APPROVALS, params=ForgetParams, result=ForgetResult)
async def approvals_forget(params: ForgetParams, context: Context) -> dict[str, Any]:
    """Ask again next time about something that was allowed for always."""
    return {"ok": True, "forgotten": await context.gateway.state.forget(params.key)}


# --- The same as the file of OpenClaw -------------------------------------------------


class FileParams(Wire):
    """Parameters of ``exec.approvals.set``."""

    file: dict[str, Any]
    base_hash: str | None = Field(None, max_length=128)


class FileResult(Wire):
    """What is allowed for always, in the form of OpenClaw's file."""

    path: str
    exists: bool
    hash: str
    file: dict[str, Any]


@method("exec.approvals.get", scope=ADMIN, params=Anything, result=FileResult)
async def exec_approvals_get(params: Anything, context: Context) -> dict[str, Any]:
    """Return what is allowed for always, by agent."""
    return await _snapshot(context)


async def _snapshot(context: Context) -> dict[str, Any]:
    agents: dict[str, Any] = {}
    for key, since in await context.gateway.state.allowances():
        agent_id = key.partition(" ")[0]
        allowed = agents.setdefault(agent_id, {"allowlist": []})["allowlist"]
        row = {"id": _id_of(key), "pattern": key.partition(" ")[2] or key}
        allowed.append({**row, "lastUsedAt": _ms(since)})
    file = {"version": 1, "socket": {}, "defaults": {}, "agents": agents}
    return {
        "path": str(context.gateway.home / "state.db"),
        "exists": bool(agents),
        "hash": sha256(json.dumps(file, sort_keys=True).encode()).hexdigest(),
        "file": file,
    }


@method("exec.approvals.set", scope=ADMIN, params=FileParams, result=FileResult)
async def exec_approvals_set(params: FileParams, context: Context) -> dict[str, Any]:
    """Take back what is left out of the file; nothing can be added to it."""
    now = await _snapshot(context)
    if now["exists"] and not params.base_hash:
        text = "exec approvals base hash required; re-run exec.approvals.get and retry"
        raise MethodError(text)
    if params.base_hash and params.base_hash != now["hash"]:
        text = "exec approvals changed since last load; re-run exec.approvals.get and"
        raise MethodError(f"{text} retry")
    kept = set(_ids_in(params.file))
    known = {_id_of(key): key for key, _ in await context.gateway.state.allowances()}
    if kept - known.keys() or _has_defaults(params.file):
        remedy = "answer a question with allow-always, or set tools.exec in the config"
        raise MethodError(f"exec approvals can only be taken back here; {remedy}")
    for name in known.keys() - kept:
        await context.gateway.state.forget(known[name])
    return await _snapshot(context)


def _ids_in(file: dict[str, Any]) -> list[str]:
    """Return the ids of the entries of a file; an entry without one counts as new."""
    agents = file.get("agents") or {}
    if not isinstance(agents, dict):
        raise MethodError("invalid exec.approvals.set params: at /file/agents: object")
    return [
        str(entry.get("id") or entry) if isinstance(entry, dict) else str(entry)
        for agent in agents.values()
        if isinstance(agent, dict)
        for entry in agent.get("allowlist") or ()
    ]


def _has_defaults(file: dict[str, Any]) -> bool:
    """Return whether a file sets what only the config can set."""
    agents = file.get("agents") or {}
    rest = [set(agent) - {"allowlist"} for agent in agents.values()]
    return bool(file.get("defaults")) or any(rest)


def _id_of(key: str) -> str:
    return sha256(key.encode(errors="surrogatepass")).hexdigest()[:16]


class NodeParams(Wire):
    """Parameters of ``exec.approvals.node.get``."""

    node_id: str = Id


class NodeFileParams(Wire):
    """Parameters of ``exec.approvals.node.set``."""

    node_id: str = Id
    file: dict[str, Any]
    base_hash: str | None = Field(None, max_length=128)


@method("exec.approvals.node.get", scope=ADMIN, params=NodeParams)
async def node_approvals_get(params: NodeParams, context: Context) -> Any:
    """Return the approvals that a node keeps for itself."""
    return await _relay(params.node_id, "get", {}, context)


@method("exec.approvals.node.set", scope=ADMIN, params=NodeFileParams)
async def node_approvals_set(params: NodeFileParams, context: Context) -> Any:
    """Change the approvals that a node keeps for itself."""
    facts = params.model_dump(by_alias=True, exclude_none=True, exclude={"node_id"})
    return await _relay(params.node_id, "set", plain(facts), context)


async def _relay(node_id: str, verb: str, params: Any, context: Context) -> Any:
    answer = await context.server.nodes.invoke(
        node_id, f"system.execApprovals.{verb}", params, reserved=True
    )
    return answer["payload"]


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
