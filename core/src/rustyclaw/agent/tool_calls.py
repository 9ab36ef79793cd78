"""Runs the tool calls of a turn: policy, guards, approval, deadline, size limit."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from secrets import token_hex
from time import perf_counter
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from rustyclaw import hookspecs
from rustyclaw.agent.place import place_of
from rustyclaw.agent.policy import allowed_tools
from rustyclaw.agent.truncation import cut_text, result_limit
from rustyclaw.approvals import Approval, key_of
from rustyclaw.errors import Ask, ToolError, Veto
from rustyclaw.messages import ToolCall, ToolResult
from rustyclaw.runs import Reports, ToolEnded, ToolStarted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel

    from rustyclaw.agent.turn import Mind
    from rustyclaw.interfaces.tool import Tool, ToolContext
    from rustyclaw.messages import HookContext

logger = logging.getLogger(__name__)

#: Tokens of a reader that is no model.
_ROOM = 200_000
_RISKY = {"exec", "message"}
_TAINTED = "this run has read untrusted content"


@dataclass(slots=True)
class ToolCalls:
    """The tools that one run may use, and how they are called.

    :param reports: Told of each call when it begins and when it ends.
    :param result_limit: Characters of one result that the model is shown; the whole
        text of a longer one goes to a file in the workspace.
    """

    mind: Mind
    context: HookContext
    reports: Reports
    place: ToolContext
    tools: Mapping[str, Tool]
    result_limit: int

    async def answer(
        self, calls: Sequence[ToolCall], malformed: Mapping[int, str]
    ) -> list[ToolResult]:
        """Run calls; neighbours that only read run side by side.

        :param malformed: Place of a call that is not run -> what is wrong with it.
        :returns: One result for each call, in the order of the calls.
        """
        results: dict[int, ToolResult] = {}

        async def one(place: int) -> None:
            results[place] = await self._one(calls[place], malformed.get(place))

        def reads(place: int) -> bool:
            tool = self.tools.get(calls[place].name)
            return tool is not None and tool.effects == {"read"}

        for side_by_side, group in groupby(range(len(calls)), reads):
            places = list(group)
            if side_by_side and len(places) > 1:
                async with anyio.create_task_group() as tasks:
                    for place in places:
                        tasks.start_soon(one, place)
            else:
                for place in places:
                    await one(place)
        return [results[place] for place in range(len(calls))]

    async def _one(self, call: ToolCall, malformed: str | None) -> ToolResult:
        """Run a call, tell hooks and listeners, return what the transcript keeps."""
        hooks, context = self.mind.hooks, self.context
        await self.reports.emit(ToolStarted(call=call))
        if malformed is None:
            call, result, seconds = await self._run(call)
        else:
            result, seconds = ToolResult.error(malformed), 0.0
        result = replace(result, call_id=call.id, name=call.name)
        if len(result.text) > self.result_limit:
            path = Path(
                "tool-output", f"{token_hex(8)}.txt"
            )  # a run's id is a caller's
            result = await anyio.to_thread.run_sync(self._spool, result, path)
        await hooks.notify(
            hookspecs.after_tool_call,
            context=context,
            call=call,
            result=result,
            seconds=seconds,
        )
        kept = await hooks.apply(
            hookspecs.tool_result_persist, context=context, call=call, result=result
        )
        kept = replace(kept, call_id=call.id, name=call.name)
        if is_untrusted(result) or is_untrusted(kept):
            self.place = replace(self.place, tainted=True)
        await self.reports.emit(ToolEnded(call=call, result=kept, seconds=seconds))
        return kept

    async def _run(self, call: ToolCall) -> tuple[ToolCall, ToolResult, float]:
        """Return the call as the guards left it, its result, and how long it ran."""
        started = ended = 0.0
        try:
            tool = self.tools.get(call.name)
            if tool is None:
                from difflib import get_close_matches  # seldom needed

                near = get_close_matches(call.name, self.tools, 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ToolError(f"there is no tool {call.name!r} here{hint}")
            call = await self._judged(call)
            params = tool.parse(call)
            await self._check(tool, params, call)
            started = perf_counter()
            try:
                with anyio.move_on_after(tool.timeout_seconds) as deadline:
                    result = await tool.run(params, self.place)
            finally:
                ended = perf_counter()
            if deadline.cancelled_caught:
                limit = f"{tool.timeout_seconds:g} s"
                raise ToolError(f"{call.name!r} took longer than {limit}")
            if not isinstance(result, ToolResult) or not isinstance(result.text, str):
                raise TypeError(f"it returned {result!r:.80}")
        except Veto as veto:
            result = ToolResult.error(f"not allowed: {veto.reason}", refused=True)
        except Exception as exc:
            text = str(exc)
            if not isinstance(exc, ToolError):
                logger.exception("tool %r failed", call.name)
                text = f"{call.name!r} failed: {type(exc).__name__}: {exc}"
            result = ToolResult.error(self.mind.config.redactor.scrub(text))
        return call, result, ended - started

    async def _judged(self, call: ToolCall) -> ToolCall:
        """Return the call as the guards left it; name and id stay."""
        try:
            judged = await self.mind.hooks.apply(
                hookspecs.before_tool_call, context=self.context, call=call
            )
        except Ask as asked:
            judged = asked.value if isinstance(asked.value, ToolCall) else call
            await self._approve(replace(call, arguments=judged.arguments), asked)
        return replace(call, arguments=judged.arguments)

    async def _check(self, tool: Tool, params: BaseModel, call: ToolCall) -> None:
        """Let a tool judge its call; what a tainted run wants is asked in any case."""
        risky = self.place.tainted and tool.effects & _RISKY
        try:
            await tool.check(params, self.place)
            if risky:
                raise Ask("")
        except Ask as asked:
            if risky:  # what was allowed for always was not allowed to strangers
                key = f"{asked.key or key_of(self.context, call)} (tainted)"
                reason = f"{_TAINTED}: {asked.reason}".removesuffix(": ")
                asked = Ask(reason, key=key)
            await self._approve(call, asked)

    async def _approve(self, call: ToolCall, asked: Ask) -> None:
        context, reason = self.context, asked.reason
        approval = Approval(context=context, subject=call, reason=reason, key=asked.key)
        await self.mind.approvals.require(approval)

    def _spool(self, result: ToolResult, path: Path) -> ToolResult:
        """Write a long text to a file and return its head and tail."""
        file = self.place.workspace / path
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.write_text(result.text, "utf-8", "replace")
            hint = f"the whole text is in {path}"
        except OSError as exc:
            hint = f"the whole text could not be kept: {exc.strerror}"
        return replace(result, text=cut_text(result.text, self.result_limit, hint=hint))


def is_untrusted(result: ToolResult) -> bool:
    """Return whether a stranger may have written what a result says."""
    return bool(dict(result.details).get("untrusted"))


async def invoke(mind: Mind, context: HookContext, call: ToolCall) -> ToolResult:
    """Run a call that no model has made, judged as if one had.

    :raises ToolError: The session may not use such a tool, or there is none.
    """
    config, key = mind.config, context.session_key
    allowed = allowed_tools(config, context.agent_id, key, mind.tools)
    tools = {tool.name: tool for tool in allowed if tool.name == call.name}
    if not tools:
        raise ToolError(f"no tool {call.name!r} may be used in session {key!r}")

    limit = result_limit(_ROOM, config.agents.defaults.tool_result_max_chars)
    place = place_of(mind, context)
    calls = ToolCalls(mind, context, Reports(), place, tools, limit)
    (result,) = await calls.answer([call], {})
    return result
