"""OpenClaw's older pairing of nodes, which old apps still call.

A node that is paired here cannot connect by that alone; see `devices` for how it can.
"""

from __future__ import annotations

import secrets
from hashlib import sha256
from typing import Any, Literal
from uuid import uuid4

from pydantic import Field
from rustyclaw import MethodError

from rustyclaw_server.auth.scopes import PAIRING
from rustyclaw_server.auth.secret import same
from rustyclaw_server.methods.base import Context, Nothing, method
from rustyclaw_server.methods.devices import Id, PairListResult, RequestParams
from rustyclaw_server.wire.frames import Wire

_NODES = "nodes.legacy"
_PENDING = "nodes.legacy.pending"
_PENDING_MS = 300_000
_MAX_NODES = 200


class NodePairParams(Wire):
    """Parameters of ``node.pair.request``: what a node says of itself."""

    node_id: str = Id
    display_name: str | None = Field(None, max_length=200)
    platform: str | None = Field(None, max_length=100)
    version: str | None = Field(None, max_length=100)
    core_version: str | None = Field(None, max_length=100)
    ui_version: str | None = Field(None, max_length=100)
    device_family: str | None = Field(None, max_length=100)
    model_identifier: str | None = Field(None, max_length=100)
    caps: list[str] | None = Field(None, max_length=64)
    commands: list[str] | None = Field(None, max_length=512)
    permissions: dict[str, bool] | None = Field(None, max_length=256)
    remote_ip: str | None = Field(None, max_length=100)
    silent: bool | None = None


class NodePairResult(Wire):
    """The request as it waits; whether it is a new one."""

    status: Literal["pending"]
    request: dict[str, Any]
    created: bool


@method(
    "node.pair.request", scope=PAIRING, params=NodePairParams, result=NodePairResult
)
async def node_pair_request(params: NodePairParams, context: Context) -> dict[str, Any]:
    """Ask that a node be paired, the older way."""
    server, waiting = context.server, _waiting(context)
    for known in waiting.values():
        if known["nodeId"] == params.node_id:
            return {"status": "pending", "request": known, "created": False}
    if len(waiting) >= _MAX_NODES:
        raise MethodError("too many nodes wait to be paired", code="UNAVAILABLE")
    facts = params.model_dump(by_alias=True, exclude_none=True)
    request: dict[str, Any] = {"requestId": str(uuid4()), **facts}
    paired = server.notes.get(_NODES, {})
    request |= {"isRepair": params.node_id in paired, "ts": server.devices.now()}
    await server.notes.set(_PENDING, {**waiting, request["requestId"]: request})
    server.hub.broadcast("node.pair.requested", request, scope=PAIRING)
    return {"status": "pending", "request": request, "created": True}


def _waiting(context: Context) -> dict[str, dict[str, Any]]:
    oldest = context.server.devices.now() - _PENDING_MS
    waiting: dict[str, dict[str, Any]] = context.server.notes.get(_PENDING, {})
    return {name: one for name, one in waiting.items() if one["ts"] > oldest}


@method("node.pair.list", scope=PAIRING, params=Nothing, result=PairListResult)
async def node_pair_list(params: Nothing, context: Context) -> dict[str, Any]:
    """List the nodes that were paired the older way, and those that ask to be."""
    paired = context.server.notes.get(_NODES, {}).values()
    rows = [{k: v for k, v in node.items() if k != "tokenHash"} for node in paired]
    return {"pending": list(_waiting(context).values()), "paired": rows}


class NodeApproveResult(Wire):
    """The node with its token, which is shown this once."""

    request_id: str
    node: dict[str, Any]


@method(
    "node.pair.approve", scope=PAIRING, params=RequestParams, result=NodeApproveResult
)
async def node_pair_approve(params: RequestParams, context: Context) -> dict[str, Any]:
    """Pair a node, the older way."""
    request = await _take(params.request_id, "approved", context)
    notes, now = context.server.notes, context.server.devices.now()
    nodes, token = notes.get(_NODES, {}), secrets.token_urlsafe(32)
    left_out = ("requestId", "isRepair", "ts", "silent")
    node = {k: v for k, v in request.items() if k not in left_out}
    created = nodes.get(node["nodeId"], {}).get("createdAtMs", now)
    node |= {"createdAtMs": created, "approvedAtMs": now}
    if len(nodes) >= _MAX_NODES and node["nodeId"] not in nodes:
        raise MethodError("too many nodes are paired", code="UNAVAILABLE")
    kept = {**node, "tokenHash": _digest(token)}
    await notes.set(_NODES, {**nodes, node["nodeId"]: kept})
    return {"requestId": params.request_id, "node": {**node, "token": token}}


class NodeRejectResult(Wire):
    """The node that was refused."""

    request_id: str
    node_id: str


@method(
    "node.pair.reject", scope=PAIRING, params=RequestParams, result=NodeRejectResult
)
async def node_pair_reject(params: RequestParams, context: Context) -> dict[str, Any]:
    """Refuse a node that asks to be paired, the older way."""
    request = await _take(params.request_id, "rejected", context)
    return {"requestId": params.request_id, "nodeId": request["nodeId"]}


async def _take(request_id: str, decision: str, context: Context) -> dict[str, Any]:
    """Return a request that no longer waits, and tell what became of it."""
    server, waiting = context.server, _waiting(context)
    request = waiting.pop(request_id, None)
    if request is None:
        raise MethodError("unknown requestId")
    await server.notes.set(_PENDING, waiting)
    payload = {"requestId": request_id, "nodeId": request["nodeId"]}
    payload |= {"decision": decision, "ts": server.devices.now()}
    server.hub.broadcast("node.pair.resolved", payload, scope=PAIRING)
    return request


class NodeVerifyParams(Wire):
    """Parameters of ``node.pair.verify``."""

    node_id: str = Id
    token: str = Field(min_length=1, max_length=4096)


class NodeVerifyResult(Wire):
    """Whether the token is that of the node."""

    ok: bool
    node: dict[str, Any] | None = None


@method(
    "node.pair.verify", scope=PAIRING, params=NodeVerifyParams, result=NodeVerifyResult
)
async def node_pair_verify(
    params: NodeVerifyParams, context: Context
) -> dict[str, Any]:
    """Check the token of a node that was paired the older way."""
    node = context.server.notes.get(_NODES, {}).get(params.node_id)
    if node is None or not same(_digest(params.token), node["tokenHash"]):
        return {"ok": False}
    return {"ok": True, "node": {k: v for k, v in node.items() if k != "tokenHash"}}


def _digest(token: str) -> str:
    return sha256(token.encode(errors="surrogatepass")).hexdigest()
