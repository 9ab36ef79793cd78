"""Runs as clients see them: ``agent`` and ``chat`` events (sheet sections 11 and 12).

The core reports each piece of text; clients are told at most every 150 ms, with all
the text so far. What was held back is sent before anything else happens, so that
no client loses the end of a text.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import anyio
from rustyclaw import (
    Compacted,
    GatewayEvent,
    RunEnded,
    RunOptions,
    RunStarted,
    TextDelta,
    ThinkingDelta,
    ToolEnded,
    ToolStarted,
)

from rustyclaw_server.auth.scopes import READ
from rustyclaw_server.wire.frames import clean

if TYPE_CHECKING:
    from rustyclaw import (
        Gateway,
        Message,
        Notice,
        RunEvent,
        RunResult,
        Target,
        ToolCall,
    )

    from rustyclaw_server.wire.hub import Hub

_THROTTLE_SECONDS = 0.15
_KEPT_SECONDS = 600.0
_KEPT = 1000
#: Between two assistant messages of a run.
_BREAK = "\n\n"

StopReason = Literal["rpc", "stop", "timeout"]


@dataclass(slots=True, kw_only=True)
class LiveRun:
    """A run that clients may hear of, until some minutes after its end.

    :param key: The full session key.
    :param raw_key: The key as the client wrote it, which some events repeat.
    :param tool_conns: Connections that are told of its tools.
    :param verbose: ``full`` shows them the results as well.
    """

    run_id: str
    key: str
    raw_key: str = ""
    tool_conns: set[str] = field(default_factory=set)
    verbose: str = "off"
    reasoning: str = "off"
    started_at: int = 0
    ended_at: int = 0
    error: str = ""
    result: RunResult | None = None
    aborted: str = ""
    done: anyio.Event = field(default_factory=anyio.Event)
    _seq: int = 0
    _pieces: list[str] = field(default_factory=list)
    _unsent: list[str] = field(default_factory=list)
    _earlier: list[str] = field(default_factory=list)
    _thoughts: list[str] = field(default_factory=list)
    _begins_anew: bool = False
    _sent_at: float = 0.0

    @property
    def text(self) -> str:
        """What the current assistant message says so far."""
        return "".join(self._pieces)

    @property
    def whole(self) -> str:
        """What the run has said so far, in all of its assistant messages."""
        return _BREAK.join(filter(None, (*self._earlier, self.text)))


class RunBook:
    """All runs of a gateway, as its clients see them."""

    def __init__(self, gateway: Gateway, hub: Hub) -> None:
        self._gateway, self._hub = gateway, hub
        self._runs: OrderedDict[str, LiveRun] = OrderedDict()
        self._unsent: dict[str, LiveRun] = {}
        self._wake = anyio.Event()
        #: Told of each run that has ended.
        self.on_end: list[Callable[[LiveRun], None]] = []
        #: Sessions whose last run was aborted.
        self.aborted_last: set[str] = set()
        self.reasoning_of: dict[str, str] = {}
        self.verbose_of: dict[str, str] = {}

    def get(self, run_id: str) -> LiveRun | None:
        """Return a run that goes on, or ended not long ago."""
        return self._runs.get(run_id)

    def active_in(self, key: str) -> list[LiveRun]:
        """Return the runs of a session that have not ended."""
        return [
            run for run in self._runs.values() if run.key == key and not run.ended_at
        ]

    # --- Starting and stopping --------------------------------------------------------

    async def start(
        self,
        run: LiveRun,
        message: Message,
        options: RunOptions | None = None,
        target: Target | None = None,
    ) -> LiveRun:
        """Start a run, or queue it behind the one of its session.

        It is durable when this returns: a gateway that stops or is killed before the
        end leaves it to the next one, which tells of it under the same id.

        :param options: The id is that of the run.
        :param target: A chat that the answer goes to as well.
        :raises RustyclawError: It was not taken.
        """
        if known := self._runs.get(run.run_id):
            return known
        self._keep(run)
        options = replace(options or RunOptions(), run_id=run.run_id)
        try:
            await self._gateway.submit(
                message, session=run.key, options=options, target=target
            )
        except BaseException:
            del self._runs[run.run_id]
            run.ended_at, run.error = _now(), "it was not taken"
            run.done.set()
            raise
        return run

    async def find(self, *run_ids: str) -> LiveRun | None:
        """Return the first run that is known here, or was to an earlier process."""
        for run_id in run_ids:
            if known := self._runs.get(run_id):
                return known
        found = await self._gateway.submitted(*run_ids)
        if found is None:
            return None
        request, result = found
        if known := self._runs.get(request.run_id):  # meanwhile
            return known
        run = LiveRun(run_id=request.run_id, key=request.session)
        if result is not None:
            run.result, run.ended_at = result, _now()
            run.error = result.error.message if result.error else ""
            run.aborted = "stop" if result.aborted else ""
            run.done.set()
        self._keep(run)
        return run

    def abort(self, run: LiveRun, reason: StopReason) -> bool:
        """Abort a run; clients are told at once, and not again when it has ended."""
        if run.ended_at or run.aborted:
            return False
        self._flush(run)
        run.aborted = reason
        facts = {"stopReason": reason}
        if run.text:
            facts["message"] = assistant(run.text)  # type: ignore[assignment]  # JSON
        self._chat(run, "aborted", facts, key=run.raw_key or run.key)
        self._gateway.abort(run.key, run.run_id)  # which may end it at once
        return True

    def inject(
        self, key: str, run_id: str, message: dict[str, Any], session: str = ""
    ) -> None:
        """Show a message that no run has made, such as the answer to a command.

        :param key: What the event says, which may be a client's short form.
        :param session: The full key.
        """
        session = session or key
        payload: dict[str, Any] = {
            "runId": run_id,
            "sessionKey": key,
            "seq": 0,
            "state": "final",
        }
        payload["message"] = message
        self._hub.broadcast("chat", payload, scope=READ, session=session)

    def end_silently(self, key: str, run_id: str) -> None:
        """Tell clients that what they sent waits: a final without a message."""
        payload = {"runId": run_id, "sessionKey": key, "seq": 0, "state": "final"}
        self._hub.broadcast("chat", payload, scope=READ, session=key)

    def _keep(self, run: LiveRun) -> None:
        self._runs[run.run_id] = run
        oldest = time.time() * 1000 - _KEPT_SECONDS * 1000
        for name, known in list(self._runs.items()):
            over = known.ended_at and known.ended_at < oldest
            if not over and len(self._runs) <= _KEPT:
                break
            if known.ended_at:
                del self._runs[name]

    # --- What the core reports --------------------------------------------------------

    def hear(self, seen: GatewayEvent | Notice) -> None:
        """Take an event of the core; watches `Gateway.feed`."""
        if not isinstance(seen, GatewayEvent):
            return
        run = self._runs.get(seen.run_id)
        if run is None:  # of a channel, or of code in this process
            key = seen.session_key
            run = LiveRun(
                run_id=seen.run_id,
                key=key,
                verbose=self.verbose_of.get(key, "off"),
                reasoning=self.reasoning_of.get(key, "off"),
            )
            self._keep(run)
        self._take(run, seen.event)

    def _take(self, run: LiveRun, event: RunEvent) -> None:
        match event:
            case TextDelta(text=text):
                self._say(run, text)
            case ThinkingDelta(text=text) if text:
                self._think(run, text)
            case RunStarted():
                run.started_at = _now()
                self._agent(run, "lifecycle", phase="start", startedAt=run.started_at)
            case ToolStarted(call=call):
                self._flush(run)
                run._begins_anew = True
                self._tool(run, call, phase="start", args=dict(call.arguments))
            case ToolEnded(call=call, result=result):
                facts: dict[str, Any] = {"isError": result.is_error}
                facts["meta"] = _meta(call)
                content = [{"type": "text", "text": clean(result.text)}]
                facts["result"] = {"content": content}
                self._tool(run, call, phase="result", **facts)
            case Compacted():
                self._agent(run, "compaction", phase="start")
                self._agent(run, "compaction", phase="end", willRetry=True)
            case RunEnded(result=result):
                self._end(run, result)

    def _say(self, run: LiveRun, text: str) -> None:
        if run._begins_anew:
            run._begins_anew = False
            if run.text:
                run._earlier.append(run.text)
            run._pieces = []
        run._pieces.append(clean(text))
        run._unsent.append(clean(text))
        if time.monotonic() - run._sent_at >= _THROTTLE_SECONDS:
            self._flush(run)
        elif run.run_id not in self._unsent:
            self._unsent[run.run_id] = run
            self._wake.set()

    def _think(self, run: LiveRun, text: str) -> None:
        run._thoughts.append(clean(text))
        if run.reasoning == "stream":
            whole = "".join(run._thoughts)
            self._agent(run, "thinking", text=whole, delta=clean(text))

    async def flush_when_due(self) -> None:
        """Send what was held back, each time it is due; runs until cancelled."""
        while True:
            await self._wake.wait()
            await anyio.sleep(_THROTTLE_SECONDS)
            self._wake = anyio.Event()
            for run in list(self._unsent.values()):
                self._flush(run)

    def _flush(self, run: LiveRun) -> None:
        self._unsent.pop(run.run_id, None)
        if not run._unsent or run.aborted:
            return
        delta, run._unsent = "".join(run._unsent), []
        run._sent_at = time.monotonic()
        self._agent(run, "assistant", text=run.text, delta=delta)
        facts: dict[str, Any] = {"message": assistant(run.text), "deltaText": delta}
        newer = None
        if run._earlier:  # protocol 4 shows all that the run has said
            is_first = len(delta) == len(run.text)
            newer = {
                "message": assistant(run.whole),
                "deltaText": f"{_BREAK if is_first else ''}{delta}",
            }
        self._chat(run, "delta", facts, newer=newer, droppable=True)

    def _end(self, run: LiveRun, result: RunResult) -> None:
        self._flush(run)
        run.result, run.ended_at = result, _now()
        if result.error is not None and not run.aborted:
            self._fail(run, result.error.message)
            return
        aborted = result.aborted or bool(run.aborted)
        facts = {"endedAt": run.ended_at, **({"aborted": True} if aborted else {})}
        self._agent(run, "lifecycle", phase="end", **facts)
        if result.aborted and not run.aborted:  # by the terminal, or a chat command
            run.aborted = "stop"
            partial = {"message": assistant(run.text)} if run.text else {}
            self._chat(run, "aborted", {"stopReason": "stop", **partial})
        elif not aborted:
            self._finish(run, result)
        self._is_over(run)

    def _finish(self, run: LiveRun, result: RunResult) -> None:
        usage = result.usage
        facts: dict[str, Any] = {"usage": usage_of(usage), "stopReason": "stop"}
        newer = dict(facts)
        if text := clean(result.text):
            facts["message"] = assistant(text)
            newer["message"] = assistant(run.whole or text)
        self._chat(run, "final", facts, newer=newer)

    def _fail(self, run: LiveRun, problem: str, key: str = "") -> None:
        run.ended_at = run.ended_at or _now()
        run.error = str(self._gateway.redact(problem))
        facts = {"error": run.error, "endedAt": run.ended_at}
        self._agent(run, "lifecycle", phase="error", **facts)
        self._chat(run, "error", {"errorMessage": run.error}, key=key)
        self._is_over(run)

    def _is_over(self, run: LiveRun) -> None:
        (self.aborted_last.add if run.aborted else self.aborted_last.discard)(run.key)
        run.done.set()
        for told in self.on_end:
            told(run)

    # --- Events -----------------------------------------------------------------------

    def _agent(self, run: LiveRun, stream: str, **data: Any) -> None:
        payload = self._agent_payload(run, stream, data)
        self._hub.broadcast("agent", payload, scope=READ, session=run.key)

    def _agent_payload(
        self, run: LiveRun, stream: str, data: dict[str, Any]
    ) -> dict[str, Any]:
        run._seq += 1
        payload = {"runId": run.run_id, "stream": stream, "data": data}
        return payload | {"seq": run._seq, "ts": _now(), "sessionKey": run.key}

    def _tool(self, run: LiveRun, call: ToolCall, **data: Any) -> None:
        """Tell of a tool: the whole to who asked for it, else without the result."""
        named = {"name": call.name, "toolCallId": call.id}
        whole = self._gateway.redact({**data, **named})
        payload = self._agent_payload(run, "tool", dict(whole))  # type: ignore[call-overload]  # a mapping stays one
        watching = {c.id for c in self._hub if "tool-results" in c.caps and c.reads}
        self._hub.send_to(watching, "agent", payload)
        told = run.tool_conns - watching
        if told and run.verbose != "full":
            payload["data"].pop("result", None)
        self._hub.send_to(told, "agent", payload)

    def _chat(
        self,
        run: LiveRun,
        state: str,
        facts: dict[str, Any],
        *,
        newer: dict[str, Any] | None = None,
        key: str = "",
        droppable: bool = False,
    ) -> None:
        base = {"runId": run.run_id, "sessionKey": key or run.key}
        base |= {"seq": run._seq, "state": state}  # type: ignore[dict-item]  # JSON values
        self._hub.broadcast(
            "chat",
            base | facts,
            newer=None if newer is None else base | newer,
            scope=READ,
            session=run.key,
            droppable=droppable,
        )


def assistant(text: str) -> dict[str, Any]:
    """Return an assistant's message as clients know it."""
    content = [{"type": "text", "text": text}]
    return {"role": "assistant", "content": content, "timestamp": _now()}


def injected(text: str) -> dict[str, Any]:
    """Return an assistant's message that the gateway itself has written."""
    kinds = ("input", "output", "cacheRead", "cacheWrite", "total")
    usage = {**dict.fromkeys((*kinds[:4], "totalTokens"), 0)}
    return {
        **assistant(text),
        "stopReason": "stop",
        "usage": {**usage, "cost": dict.fromkeys(kinds, 0)},
        "api": "rustyclaw",
        "provider": "openclaw",
        "model": "gateway-injected",
    }


def usage_of(usage: Any) -> dict[str, int]:
    """Return tokens as clients know them."""
    return {
        "input": usage.input_tokens,
        "output": usage.output_tokens,
        "cacheRead": usage.cache_read_tokens,
        "cacheWrite": usage.cache_write_tokens,
        "totalTokens": usage.prompt_tokens + usage.output_tokens,
    }


def _meta(call: ToolCall) -> str:
    """Return a short hint at what a call is about, for a line of a log."""
    values = (v for v in call.arguments.values() if isinstance(v, str) and v)
    return next(values, call.name)[:80]


def _now() -> int:
    return int(time.time() * 1000)
