"""Runs the tool calls of a turn: policy, guards, approval, deadline, size limit."""

from __future__ import annotations

import difflib
import logging
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from rustyclaw import hookspecs
from rustyclaw.agent.truncation import cut_text
from rustyclaw.approvals import Approval, Approvals
from rustyclaw.errors import Ask, ToolError, Veto
from rustyclaw.messages import (
    HookContext,
    RunEvent,
    ToolCall,
    ToolEnded,
    ToolResult,
    ToolStarted,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from rustyclaw.hooks import Hooks
    from rustyclaw.interfaces.tool import Tool, ToolContext

logger = logging.getLogger(__name__)


class ToolCalls:
    """The tools that one run may use, and how they are called.

    :param result_limit: Characters of one result that the model is shown; the whole
        text of a longer one goes to a file in the workspace.
    :param emit: Receives `ToolStarted` and `ToolEnded`.
    """

    def __init__(
        self,
        tools: Sequence[Tool],
        hooks: Hooks,
        approvals: Approvals,
        context: HookContext,
        place: ToolContext,
        result_limit: int,
        emit: Callable[[RunEvent], Awaitable[None]],
    ) -> None:
        self._tools: Mapping[str, Tool] = {tool.name: tool for tool in tools}
        self._hooks = hooks
        self._approvals = approvals
        self._context = context
        self._place = place
        self._limit = result_limit
        self._emit = emit

    async def run(
        self, calls: Sequence[ToolCall], malformed: Mapping[str, str]
    ) -> list[ToolResult]:
        """Run calls; neighbours that only read run side by side.

        :param malformed: Calls that are not run, with what is wrong with them.
        :returns: One result for each call, in the order of the calls.
        """
        results: dict[int, ToolResult] = {}

        async def one(index: int) -> None:
            call = calls[index]
            results[index] = await self._one(call, malformed.get(call.id))

        batch: list[int] = []
        for index, call in enumerate(calls):
            batch.append(index)
            is_last = index + 1 == len(calls)
            if is_last or not (self._reads(call) and self._reads(calls[index + 1])):
                if len(batch) == 1:
                    await one(index)
                else:
                    async with anyio.create_task_group() as group:
                        for member in batch:
                            group.start_soon(one, member)
                batch = []
        return [results[index] for index in range(len(calls))]

    def _reads(self, call: ToolCall) -> bool:
        tool = self._tools.get(call.name)
        return tool is not None and tool.effects == {"read"}

    async def _one(self, call: ToolCall, malformed: str | None) -> ToolResult:
        await self._emit(ToolStarted(call=call))
        started = perf_counter()
        tool = self._tools.get(call.name)
        if malformed is not None:
            result = ToolResult.error(malformed)
        elif tool is None:
            result = ToolResult.error(self._unknown(call.name))
        else:
            try:
                call = await self._judged(call)
                params = tool.parse(call)
                try:
                    await tool.check(params, self._place)
                except Ask as asked:
                    await self._approve(call, asked.reason)
                started = perf_counter()
                with anyio.fail_after(tool.timeout_seconds):
                    result = await tool.run(params, self._place)
            except Veto as veto:
                result = ToolResult.error(f"not allowed: {veto.reason}", refused=True)
            except ToolError as exc:
                result = ToolResult.error(str(exc))
            except TimeoutError:
                limit = f"{tool.timeout_seconds:g} s"
                result = ToolResult.error(f"{call.name!r} took longer than {limit}")
            except Exception as exc:
                logger.exception("tool %r failed", call.name)
                result = ToolResult.error(
                    f"{call.name!r} failed: {type(exc).__name__}: {exc}"
                )
        seconds = perf_counter() - started
        result = replace(result, call_id=call.id, name=call.name)
        if len(result.text) > self._limit:
            result = await anyio.to_thread.run_sync(self._spool, result)
        await self._hooks.notify(
            hookspecs.after_tool_call,
            context=self._context,
            call=call,
            result=result,
            seconds=seconds,
        )
        kept = await self._hooks.apply(
            hookspecs.tool_result_persist,
            context=self._context,
            call=call,
            result=result,
        )
        kept = replace(kept, call_id=call.id, name=call.name)
        await self._emit(ToolEnded(call=call, result=kept, seconds=seconds))
        return kept

    async def _judged(self, call: ToolCall) -> ToolCall:
        """Return the call as the guards left it; name and id stay."""
        try:
            judged = await self._hooks.apply(
                hookspecs.before_tool_call, context=self._context, call=call
            )
        except Ask as asked:
            judged = asked.value if isinstance(asked.value, ToolCall) else call
            await self._approve(judged, asked.reason)
        return replace(call, arguments=judged.arguments)

    async def _approve(self, call: ToolCall, reason: str) -> None:
        await self._approvals.require(
            Approval(context=self._context, subject=call, reason=reason)
        )

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(name, self._tools, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"there is no tool {name!r} here{hint}"

    def _spool(self, result: ToolResult) -> ToolResult:
        """Write a long text to a file and return its head and tail."""
        name = f"{self._context.run_id}-{result.call_id or 'call'}.txt"
        safe = "".join(c if c.isalnum() or c in "-." else "_" for c in name)[-120:]
        path = Path("tool-output") / safe
        try:
            (self._place.workspace / path.parent).mkdir(mode=0o700, exist_ok=True)
            (self._place.workspace / path).write_text(result.text, "utf-8", "replace")
            hint = f"the whole text is in {path}"
        except OSError as exc:
            hint = f"the whole text could not be kept: {exc.strerror}"
        return replace(result, text=cut_text(result.text, self._limit, hint=hint))
