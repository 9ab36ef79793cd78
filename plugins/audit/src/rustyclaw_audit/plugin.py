"""The hook plugin: turns each hook into a record and hands it to the writer."""

from __future__ import annotations

import json
import logging
from collections import deque
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.to_thread
from rustyclaw import (
    CompactionRequest,
    CompactionResult,
    Gateway,
    HookContext,
    Inbound,
    ModelRequest,
    ModelResponse,
    Outbound,
    Prompt,
    RunResult,
    Sent,
    Target,
    ToolCall,
    ToolResult,
    hookimpl,
)

from rustyclaw_audit.config import AuditConfig
from rustyclaw_audit.log import AuditLog

logger = logging.getLogger(__name__)

_PREVIEW = 200
_RETRY_SECONDS = 5.0


class AuditPlugin:
    """Watches all seventeen hooks; transforms and guards are answered with nothing.

    Hooks only append to a bounded buffer. A background task writes it to the disk;
    if the disk refuses, records wait, and those that find no room are counted.
    """

    Config = AuditConfig

    def __init__(self, config: AuditConfig | None = None) -> None:
        self.config = config or AuditConfig()
        self.dropped = 0
        self._buffer: deque[dict[str, Any]] = deque()
        self._gateway: Gateway | None = None
        self._log: AuditLog | None = None
        self._more: anyio.Event | None = None
        self._writing = anyio.Lock()
        self._told = False

    # --- The gateway wakes and sleeps -------------------------------------------

    @hookimpl
    async def gateway_start(self, gateway: Gateway) -> None:
        """Open the log and start the writer."""
        self._gateway = gateway
        self._log = AuditLog(Path(gateway.home) / "audit")
        self._more = anyio.Event()
        self._record("gateway_start", None, serving=gateway.serving)
        await anyio.to_thread.run_sync(self._log.remove_old, self.config.keep_days)
        gateway.spawn(self._write_all)

    @hookimpl(trylast=True)
    async def gateway_stop(self, reason: str) -> None:
        """Write what still waits."""
        self._record("gateway_stop", None, reason=reason)
        await self._flush()

    # --- A message arrives --------------------------------------------------------

    @hookimpl
    async def message_received(self, context: HookContext, message: Inbound) -> None:
        """Record who wrote, and how much."""
        self._record(
            "message_received",
            context,
            sender=message.sender.id,
            chat=message.target.chat_id,
            chat_type=message.target.chat_type,
            message=message.message_id,
            **self._text(message.text),
        )

    @hookimpl
    async def session_start(self, context: HookContext, resumed: bool) -> None:
        """Record that a session is in use."""
        self._record("session_start", context, resumed=resumed)

    # --- The agent thinks -----------------------------------------------------------

    @hookimpl
    async def before_agent_start(self, context: HookContext, prompt: Prompt) -> None:
        """Record that a run starts."""
        self._record("before_agent_start", context, **self._text(prompt.message.text))

    @hookimpl(trylast=True)
    async def llm_input(self, context: HookContext, request: ModelRequest) -> None:
        """Record what a model is asked: sizes and tools, as other plugins left it."""
        self._record(
            "llm_input",
            context,
            model=request.model,
            messages=len(request.messages),
            tools=[tool.name for tool in request.tools],
        )

    @hookimpl
    async def llm_output(self, context: HookContext, response: ModelResponse) -> None:
        """Record what a model call cost."""
        self._record(
            "llm_output",
            context,
            model=response.model,
            stop_reason=response.stop_reason,
            input_tokens=response.usage.prompt_tokens,
            output_tokens=response.usage.output_tokens,
            tool_calls=[call.name for call in response.message.tool_calls],
            **self._text(response.message.text),
        )

    # --- Tools ------------------------------------------------------------------------

    @hookimpl(trylast=True)
    async def before_tool_call(self, context: HookContext, call: ToolCall) -> None:
        """Record a call before it runs, so that it is known even if it kills us."""
        self._record("before_tool_call", context, **self._call(call))

    @hookimpl
    async def after_tool_call(
        self, context: HookContext, call: ToolCall, result: ToolResult, seconds: float
    ) -> None:
        """Record how a call ended."""
        self._record(
            "after_tool_call",
            context,
            **self._call(call),
            is_error=result.is_error,
            refused=bool(result.details.get("refused")),
            seconds=round(seconds, 4),
            **self._text(result.text),
        )

    @hookimpl
    async def tool_result_persist(
        self, context: HookContext, call: ToolCall, result: ToolResult
    ) -> None:
        """Record how much of a result is kept."""
        self._record(
            "tool_result_persist", context, tool=call.name, characters=len(result.text)
        )

    # --- Compaction -------------------------------------------------------------------

    @hookimpl
    async def before_compaction(
        self, context: HookContext, request: CompactionRequest
    ) -> None:
        """Record what is about to be summarised."""
        count = len(request.messages)
        self._record(
            "before_compaction", context, messages=count, tokens=request.tokens
        )

    @hookimpl
    async def after_compaction(
        self, context: HookContext, result: CompactionResult
    ) -> None:
        """Record what a compaction brought."""
        self._record(
            "after_compaction",
            context,
            entries=result.entries,
            tokens_before=result.tokens_before,
            tokens_after=result.tokens_after,
        )

    # --- The run ends and the answer leaves -----------------------------------------

    @hookimpl
    async def agent_end(self, context: HookContext, result: RunResult) -> None:
        """Record how a run ended."""
        self._record(
            "agent_end",
            context,
            seconds=round(result.seconds, 4),
            tool_calls=result.tool_calls,
            input_tokens=result.usage.prompt_tokens,
            output_tokens=result.usage.output_tokens,
            aborted=result.aborted,
            error=result.error.kind if result.error else None,
        )

    @hookimpl(trylast=True)
    async def message_sending(
        self, context: HookContext, target: Target, message: Outbound
    ) -> None:
        """Record a message before it leaves."""
        self._record(
            "message_sending", context, chat=target.chat_id, **self._text(message.text)
        )

    @hookimpl
    async def message_sent(
        self,
        context: HookContext,
        target: Target,
        message: Outbound,
        sent: Sent | None,
        error: str | None,
    ) -> None:
        """Record a platform's receipt, or why there is none."""
        self._record(
            "message_sent",
            context,
            chat=target.chat_id,
            outbound=message.id,
            message=sent.message_id if sent else None,
            error=error,
        )

    # --- A session ends ---------------------------------------------------------------

    @hookimpl
    async def before_reset(self, context: HookContext, reason: str) -> None:
        """Record that a session is about to begin anew."""
        self._record("before_reset", context, reason=reason)

    @hookimpl
    async def session_end(self, context: HookContext, reason: str) -> None:
        """Record that a session has ended."""
        self._record("session_end", context, reason=reason)

    # --- Records ----------------------------------------------------------------------

    def _record(self, hook: str, context: HookContext | None, **facts: Any) -> None:
        if len(self._buffer) >= self.config.buffer_records:
            self.dropped += 1
            return
        record = {"time": datetime.now(UTC).isoformat(), "hook": hook}
        if context is not None:
            record["agent"] = context.agent_id
            record["session"] = context.session_key
            if context.run_id:
                record["run"] = context.run_id
            if context.channel:
                record["channel"] = context.channel
        self._buffer.append({**record, **facts})
        if self._more is not None:
            self._more.set()

    def _text(self, text: str) -> dict[str, Any]:
        known: dict[str, Any] = {"characters": len(text)}
        return known | {"text": text} if self.config.include_text else known

    def _call(self, call: ToolCall) -> dict[str, Any]:
        """Return a call's name, a digest of its arguments, and how they begin.

        The digest is of the redacted ones: a short secret could be guessed from it.
        """
        redacted = self._redacted(dict(call.arguments))
        shown = json.dumps(redacted, sort_keys=True, default=str)
        return {
            "tool": call.name,
            "call": call.id,
            "arguments_sha256": sha256(shown.encode()).hexdigest(),
            "arguments": shown[:_PREVIEW],
        }

    def _redacted(self, value: object) -> object:
        return value if self._gateway is None else self._gateway.redact(value)

    # --- Writing ----------------------------------------------------------------------

    async def _write_all(self) -> None:
        """Write until cancelled; after an error try again later."""
        while self._more is not None:
            await self._more.wait()
            self._more = anyio.Event()
            if not await self._flush():
                await anyio.sleep(_RETRY_SECONDS)
                self._more.set()

    async def _flush(self) -> bool:
        """Write what waits; return ``False`` if the disk refused."""
        async with self._writing:
            if self._log is None or not self._buffer:
                return True
            records, count = list(self._buffer), len(self._buffer)
            if self.dropped:
                records.append({"hook": "audit", "dropped": self.dropped})
            plain = cast("list[dict[str, Any]]", self._redacted(records))
            try:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(self._log.append, plain)
            except OSError as exc:
                if not self._told:
                    logger.error("the audit log cannot be written: %s", exc)
                self._told = True
                return False
            self._told, self.dropped = False, 0
            for _ in range(count):
                self._buffer.popleft()
            return True
