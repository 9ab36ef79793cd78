"""Nodes: see them, have them do something, and hear from them."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import anyio
from pydantic import Field
from rustyclaw import Message, MethodError, RunOptions

from rustyclaw_server.auth.scopes import NODE, PAIRING, READ, WRITE
from rustyclaw_server.methods.base import Anything, Context, Loose, method
from rustyclaw_server.wire.attachments import media_of
from rustyclaw_server.wire.frames import Wire, clean
from rustyclaw_server.wire.liverun import LiveRun

_MAX_TRIGGERS, _TRIGGER_CHARS = 32, 64
Id = Field(min_length=1, max_length=256)


# --- For operators --------------------------------------------------------------------


class NodeListResult(Wire):
    """Nodes, those that are connected first."""

    ts: int
    nodes: list[dict[str, Any]]


@method("node.list", scope=READ, params=Anything, result=NodeListResult)
async def node_list(params: Anything, context: Context) -> dict[str, Any]:
    """List the nodes that are connected or paired."""
    return {"ts": int(time.time() * 1000), "nodes": context.server.nodes.rows()}


class DescribeParams(Wire):
    """Parameters of ``node.describe``."""

    node_id: str = Id


@method("node.describe", scope=READ, params=DescribeParams, result=Loose)
async def node_describe(params: DescribeParams, context: Context) -> dict[str, Any]:
    """Return what is known of a node."""
    row = context.server.nodes.row(params.node_id)
    return {"ts": int(time.time() * 1000), **row}


class RenameParams(Wire):
    """Parameters of ``node.rename``."""

    node_id: str = Id
    display_name: str = Field(min_length=1, max_length=200)


class RenameResult(Wire):
    """The node under its new name."""

    node_id: str
    display_name: str


@method("node.rename", scope=PAIRING, params=RenameParams, result=RenameResult)
async def node_rename(params: RenameParams, context: Context) -> dict[str, Any]:
    """Give a node another name."""
    name = clean(params.display_name).strip()
    if not name:
        raise MethodError("displayName required")
    row = context.server.nodes.row(params.node_id)
    await context.server.devices.rename(row["nodeId"], name)
    return {"nodeId": params.node_id, "displayName": name}


class InvokeParams(Wire):
    """Parameters of ``node.invoke``."""

    node_id: str = Id
    command: str = Id
    params: Any = None
    timeout_ms: int | None = Field(None, ge=1, le=600_000)
    idempotency_key: str = Field(min_length=1, max_length=256)


class InvokeResult(Wire):
    """What the node has answered."""

    ok: bool
    node_id: str
    command: str
    payload: Any
    payload_json: str | None = Field(alias="payloadJSON")


@method("node.invoke", scope=WRITE, params=InvokeParams, result=InvokeResult)
async def node_invoke(params: InvokeParams, context: Context) -> dict[str, Any]:
    """Have a node do something; a repeated key does not do it again."""
    server, key = context.server, f"node.invoke:{params.idempotency_key}"
    once: _Once | None = server.dedupe.get(key)
    if once is not None:
        await once.done.wait()
        return once.outcome()
    server.nodes.check(params.node_id, params.command)
    server.dedupe.keep(key, once := _Once())
    try:
        once.answer = await server.nodes.invoke(
            params.node_id,
            params.command,
            params.params,
            seconds=(params.timeout_ms or 30_000) / 1000,
            idempotency_key=params.idempotency_key,
        )
    except MethodError as exc:
        once.error = exc
    finally:
        once.done.set()
    return once.outcome()


@dataclass(slots=True)
class _Once:
    """What a node was asked for once; others with the same key share the answer."""

    done: anyio.Event = field(default_factory=anyio.Event)
    answer: dict[str, Any] = field(default_factory=dict)
    error: MethodError | None = None

    def outcome(self) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        if not self.answer:
            raise MethodError("who asked first has gone", code="UNAVAILABLE")
        return self.answer


# --- For nodes ------------------------------------------------------------------------


class ResultParams(Wire):
    """Parameters of ``node.invoke.result``."""

    id: str = Id
    node_id: str = Id
    ok: bool
    payload: Any = None
    payload_json: str | None = Field(None, alias="payloadJSON")
    error: dict[str, Any] | None = None


class ResultResult(Wire):
    """It was taken; ``ignored``: nobody waits for it any more."""

    ok: bool
    ignored: bool | None = None


@method("node.invoke.result", scope=NODE, params=ResultParams, result=ResultResult)
async def node_invoke_result(params: ResultParams, context: Context) -> dict[str, Any]:
    """Take a node's answer to ``node.invoke.request``."""
    connection = context.connection
    if connection is None or connection.device_id != params.node_id:
        raise MethodError("nodeId mismatch")
    facts = params.model_dump(by_alias=True, exclude_none=True)
    if context.server.nodes.resolve(params.id, params.node_id, facts):
        return {"ok": True}
    return {"ok": True, "ignored": True}


class EventParams(Wire):
    """Parameters of ``node.event``; the payload is JSON, as text or not."""

    event: str = Id
    payload: Any = None
    payload_json: str | None = Field(None, alias="payloadJSON", max_length=10_000_000)


class EventResult(Wire):
    """It was taken."""

    ok: bool


@method("node.event", scope=NODE, params=EventParams, result=EventResult)
async def node_event(params: EventParams, context: Context) -> dict[str, Any]:
    """Take what a node tells: a subscription, speech, a request to the agent.

    Events that nobody knows are taken as well, as old gateways do.
    """
    facts = _facts(params)
    connection = context.connection
    if params.event in ("chat.subscribe", "chat.unsubscribe"):
        key = context.gateway.key(_text(facts, "sessionKey") or "main")
        if connection is not None:
            hub = context.server.hub
            is_new = params.event == "chat.subscribe"
            (hub.subscribe if is_new else hub.unsubscribe)(connection, key)
    elif params.event == "voice.transcript":
        await _run(_text(facts, "text"), facts, context)
    elif params.event == "agent.request":
        await _run(_text(facts, "message"), facts, context)
    return {"ok": True}


def _facts(params: EventParams) -> dict[str, Any]:
    value = params.payload
    if value is None and params.payload_json:
        try:
            value = json.loads(params.payload_json)
        except (ValueError, RecursionError):
            raise MethodError("payloadJSON is not JSON") from None
    return value if isinstance(value, dict) else {}


def _text(facts: dict[str, Any], name: str) -> str:
    value = facts.get(name)
    return clean(value).strip() if isinstance(value, str) else ""


async def _run(text: str, facts: dict[str, Any], context: Context) -> None:
    """Start a run for a node; a node has no say in tools, models or the prompt."""
    if not text:
        return
    if context.gateway.draining:
        raise MethodError("the gateway is stopping; try again", code="UNAVAILABLE")
    raw = _text(facts, "sessionKey") or "main"
    key = context.gateway.key(raw)
    context.gateway.config.agent(key.split(":")[1])
    attachments = facts.get("attachments")
    media = media_of(attachments if isinstance(attachments, list) else [])
    runs = context.server.runs
    run = LiveRun(
        run_id=str(uuid4()),
        key=key,
        raw_key=raw,
        verbose=runs.verbose_of.get(key, "off"),
    )
    seconds = facts.get("timeoutSeconds")
    limit = float(seconds) if isinstance(seconds, int) and seconds > 0 else None
    options = RunOptions(
        thinking=_text(facts, "thinking") or None, timeout_seconds=limit
    )
    await runs.start(run, Message.user(text, *media), options)


# --- Words that wake ------------------------------------------------------------------


class TriggersResult(Wire):
    """The words that wake nodes which listen."""

    triggers: list[str]


class TriggersParams(Wire):
    """Parameters of ``voicewake.set``."""

    triggers: list[str] = Field(max_length=1000)


@method("voicewake.get", scope=READ, params=Anything, result=TriggersResult)
async def voicewake_get(params: Anything, context: Context) -> dict[str, Any]:
    """Return the words that wake nodes which listen."""
    return {"triggers": context.server.voice_words()}


@method("voicewake.set", scope=WRITE, params=TriggersParams, result=TriggersResult)
async def voicewake_set(params: TriggersParams, context: Context) -> dict[str, Any]:
    """Choose the words that wake nodes; none means those of the start."""
    server = context.server
    words = (clean(word).strip()[:_TRIGGER_CHARS] for word in params.triggers)
    chosen = list(filter(None, words))[:_MAX_TRIGGERS]
    await server.notes.set("voicewake", chosen)
    answer = {"triggers": server.voice_words()}
    server.hub.broadcast("voicewake.changed", answer)
    return answer
