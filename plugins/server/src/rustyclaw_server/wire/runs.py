"""Runs as clients see them: ``agent`` and ``chat`` events (sheet sections 11 and 12).

The core reports each piece of text; clients are told at most every 150 ms, with all
the text so far. What was held back is sent before anything else happens, so that
no client loses the end of a text.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

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
from rustyclaw_server.wire import items
from rustyclaw_server.wire.frames import clean
from rustyclaw_server.wire.liverun import BREAK, LiveRun, StopReason
from rustyclaw_server.wire.words import assistant, now_ms, usage_of

if TYPE_CHECKING:
    from rustyclaw import (
        Gateway,
        Message,
        Notice,
        RunEvent,
        RunResult,
        Target,
        ToolCall,
        ToolResult,
    )

    from rustyclaw_server.wire.hub import Hub

_THROTTLE_SECONDS = 0.15
_KEPT_SECONDS = 600.0
_KEPT = 1000


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
            run.ended_at, run.error = now_ms(), "it was not taken"
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
            run.result, run.ended_at = result, now_ms()
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
                run.started_at = now_ms()
                self._agent(run, "lifecycle", phase="start", startedAt=run.started_at)
            case ToolStarted(call=call):
                self._flush(run)
                run._begins_anew = True
                run._called_at[call.id] = now_ms()
                self._tool(run, call, phase="start", args=dict(call.arguments))
                self._items(run, call)
            case ToolEnded(call=call, result=result):
                facts: dict[str, Any] = {"isError": result.is_error}
                facts["meta"] = items.hint(call)
                content = [{"type": "text", "text": clean(result.text)}]
                facts["result"] = {"content": content}
                self._tool(run, call, phase="result", **facts)
                self._items(run, call, result)
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
                "deltaText": f"{BREAK if is_first else ''}{delta}",
            }
        self._chat(run, "delta", facts, newer=newer, droppable=True)

    def _end(self, run: LiveRun, result: RunResult) -> None:
        self._flush(run)
        run.result, run.ended_at = result, now_ms()
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
        run.ended_at = run.ended_at or now_ms()
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
        return payload | {"seq": run._seq, "ts": now_ms(), "sessionKey": run.key}

    def _tool(self, run: LiveRun, call: ToolCall, **data: Any) -> None:
        """Tell of a tool: the whole to who asked for it, else without the result."""
        named = {"name": call.name, "toolCallId": call.id}
        whole = self._gateway.redact({**data, **named})
        payload = self._agent_payload(run, "tool", dict(whole))  # type: ignore[call-overload]  # a mapping stays one
        watching = self._watching()
        self._hub.send_to(watching, "agent", payload)
        told = run.tool_conns - watching
        if told and run.verbose != "full":
            payload["data"].pop("result", None)
        self._hub.send_to(told, "agent", payload)

    def _items(
        self, run: LiveRun, call: ToolCall, result: ToolResult | None = None
    ) -> None:
        """Tell those of protocol 4 who hear of tools what the run works on."""
        newer = {c.id for c in self._hub if c.protocol >= 4}
        watching = self._watching() & newer
        groups = ((watching, True), ((run.tool_conns & newer) - watching, False))
        at = run._called_at.get(call.id, now_ms())
        for connections, sees in groups:
            shown = items.begun(call, at)
            if result is not None:
                sees = sees or run.verbose == "full"
                shown = items.ended(call, result, at, now_ms(), sees)
            for stream, data in shown if connections else ():
                data = dict(self._gateway.redact(data))  # type: ignore[call-overload]  # a mapping stays one
                payload = self._agent_payload(run, stream, data)
                self._hub.send_to(connections, "agent", payload)

    def _watching(self) -> set[str]:
        """Return the connections that are told the results of tools."""
        return {c.id for c in self._hub if "tool-results" in c.caps and c.reads}

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
