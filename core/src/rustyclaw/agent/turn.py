"""One run of an agent: model and tools take turns until there is an answer.

The order of the hooks here is the middle part of `hookspecs`. Every entry is in the
transcript before the next step starts, so a run that is killed can be continued.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter, time
from typing import TYPE_CHECKING

import anyio

from rustyclaw import hookspecs
from rustyclaw.agent.compaction import compact_session
from rustyclaw.agent.live import unanswered
from rustyclaw.agent.model_calls import ModelCalls
from rustyclaw.agent.place import place_of, workspace_of
from rustyclaw.agent.policy import allowed_tools
from rustyclaw.agent.prompt import system_prompt
from rustyclaw.agent.recovery import RunFailed, run_error
from rustyclaw.agent.stream import Assembler
from rustyclaw.agent.tool_calls import ToolCalls, is_untrusted
from rustyclaw.agent.truncation import result_limit
from rustyclaw.errors import RustyclawError, SessionError, StorageError
from rustyclaw.messages import (
    CompactionResult,
    HookContext,
    Message,
    ModelResponse,
    Prompt,
    Target,
    ToolCall,
    ToolResult,
    ToolSchema,
    Usage,
)
from rustyclaw.runs import Reports, RunError, RunOptions, RunResult
from rustyclaw.sessions.entries import Entry

if TYPE_CHECKING:
    from pathlib import Path

    from rustyclaw.agent.live import LiveSession
    from rustyclaw.agent.models import Model, Models
    from rustyclaw.approvals import Approvals
    from rustyclaw.config import Config
    from rustyclaw.hooks import Hooks
    from rustyclaw.interfaces.tool import Tool
    from rustyclaw.loading import Loader
    from rustyclaw.registry import Registry

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A user's message for a run. ``source`` is its inbox id, if it has one."""

    message: Message
    source: str | None = None


@dataclass(slots=True, kw_only=True)
class Run:
    """What a run is given.

    :param reports: Tells the events to those who listen.
    :param target: The chat that the answer goes to, if it goes to one.
    :param steer: Returns messages to add before the next model call.
    :param scope: Cancel it to abort the run; what was said until then is kept.
    """

    id: str
    session: LiveSession
    incoming: list[Incoming]
    reports: Reports
    target: Target | None = None
    options: RunOptions = field(default_factory=RunOptions)
    steer: Callable[[], Awaitable[list[Incoming]]] | None = None
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    started_at: float = field(default_factory=time)
    context: HookContext = field(init=False)

    def __post_init__(self) -> None:
        info = self.session.info
        self.context = HookContext(
            agent_id=info.agent_id,
            session_key=info.key,
            run_id=self.id,
            channel=self.target.channel if self.target else "",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Mind:
    """What all runs of a gateway share."""

    config: Config
    home: Path
    hooks: Hooks
    tools: Registry[Tool]
    approvals: Approvals
    models: Models
    loader: Loader
    _schemas: dict[str, tuple[Tool, ToolSchema]] = field(default_factory=dict)

    def schema(self, tool: Tool) -> ToolSchema:
        """Return a tool's schema, made once: that may cost more than a turn."""
        if tool.name not in self._schemas or self._schemas[tool.name][0] is not tool:
            self._schemas[tool.name] = (tool, tool.schema)
        return self._schemas[tool.name][1]


class Turn:
    """One run in progress; use `execute` once."""

    def __init__(self, mind: Mind, run: Run) -> None:
        self._mind = mind
        self._run = run
        self._session = run.session
        self._model: ModelCalls | None = None
        self._tool_count = 0
        self._theirs: tuple[ToolCall, ...] = ()

    async def execute(self) -> RunResult:
        """Run until there is an answer, an error or an abort.

        :raises StorageError: The transcript cannot be written; nothing is answered.
        :raises SessionError: The transcript cannot be read.
        :raises RunFailed: It brings results that nobody waits for; nothing is changed.
        """
        self._check_incoming()
        started = perf_counter()
        limit = self._mind.config.agents.defaults.timeout_seconds
        limit = min(limit, self._run.options.timeout_seconds or limit)
        response: ModelResponse | None = None
        error: RunError | None = None
        with self._run.scope, anyio.move_on_after(limit) as deadline:
            try:
                response = await self._converse(*await self._prepare())
            except (StorageError, SessionError):
                raise
            except Exception as exc:
                if not isinstance(exc, RunFailed | RustyclawError):
                    logger.exception("run %s failed", self._run.id)
                error = run_error(exc, self._mind.config.redactor.scrub)
        if deadline.cancelled_caught:
            error = RunError(kind="timeout", message=f"the run took over {limit:g} s")
        with anyio.CancelScope(shield=True):
            if response is None:
                await self._close(error)
            result = await self._result(response, error, perf_counter() - started)
        return result

    async def compact(
        self, instructions: str, keep: int | None
    ) -> CompactionResult | None:
        """Shorten the session because somebody asked; ``None``: nothing to shorten.

        :raises ProviderError: The summary could not be made; nothing has changed.
        """
        mind, run = self._mind, self._run
        model, nothing = await self._find_model(), Message.user("")
        prompt = Prompt(system="", message=nothing)
        calls = ModelCalls(mind, run, model, (), nothing, prompt, 0)
        result = await compact_session(
            run.session, model, mind, run.context, calls.summarize, instructions, keep
        )
        if result is not None:
            self._model, calls.compactions = calls, 1
            await self._append_last()
        return result

    async def _find_model(self) -> Model:
        """Return the model that the run, the session or the config names."""
        config = self._mind.config
        return await self._mind.models.resolve(
            self._run.options.model
            or self._session.info.model
            or config.agent(self._run.context.agent_id).model
            or config.agents.defaults.model
        )

    async def _prepare(self) -> tuple[ModelCalls, ToolCalls]:
        """Append the user's messages, find the model, assemble the prompt."""
        mind, run, context = self._mind, self._run, self._run.context
        options = run.options
        if options.history and not self._session.transcript.entries:
            await self._session.append(*map(Entry.of, options.history))
        config, agent_id = mind.config, context.agent_id
        defaults, info = config.agents.defaults, run.session.info
        workspace = workspace_of(config, mind.home, agent_id)
        persona = info.system_prompt
        then = partial(system_prompt, config, agent_id, workspace, persona)
        system = await self._append_incoming(run.incoming, then)
        model = await self._find_model()
        place = replace(place_of(mind, context), tainted=self._is_tainted())
        asked = run.incoming[-1].message
        prompt = await mind.hooks.apply(
            hookspecs.before_agent_start,
            context=context,
            prompt=Prompt(
                system=f"{system}\n\n{options.system}".strip(), message=asked
            ),
        )
        limit = result_limit(model.window, defaults.tool_result_max_chars)
        tools = allowed_tools(config, agent_id, context.session_key, mind.tools)
        taken = {schema.name for schema in options.tools}  # the caller's come first
        tools = [tool for tool in tools if tool.name not in taken]
        schemas = (*map(mind.schema, tools), *options.tools)
        self._model = ModelCalls(mind, run, model, schemas, asked, prompt, limit)
        by_name = {tool.name: tool for tool in tools}
        tools_now = ToolCalls(mind, context, run.reports, place, by_name, limit)
        return self._model, tools_now

    async def _converse(self, model: ModelCalls, tools: ToolCalls) -> ModelResponse:
        """Call model and tools in turn; return the final answer."""
        most = self._mind.config.agents.defaults.max_tool_iterations
        for _ in range(most):
            response, malformed = await model.respond()
            calls = response.message.tool_calls
            entry = Entry.of(
                response.message,
                usage=response.usage,
                stop_reason=response.stop_reason,
                model=response.model,
                answers=() if calls else self._sources(),
            )
            if not calls:
                await self._append_last(entry)
                return response
            await self._session.append(entry)
            model.heard = Assembler()  # an abort need not keep it a second time
            self._tool_count += len(calls)
            theirs = {schema.name for schema in self._run.options.tools}
            left = {n for n, c in enumerate(calls) if c.name in theirs} - {*malformed}
            mine = [n for n in range(len(calls)) if n not in left]
            results = await tools.answer(
                ours := [calls[n] for n in mine],
                {at: malformed[n] for at, n in enumerate(mine) if n in malformed},
            )
            await self._append_results(ours, results)
            if left:
                self._theirs = tuple(calls[n] for n in sorted(left))
                await self._append_last()
                return response
            if self._run.steer is not None and (more := await self._run.steer()):
                self._run.incoming += more
                await self._append_incoming(more)
        raise RunFailed(
            "tool_error",
            f"stopped after {most} model calls that all asked for tools; raise "
            "agents.defaults.max_tool_iterations if it needs more",
        )

    # --- The transcript -----------------------------------------------------------

    async def _append_incoming(
        self, incoming: Sequence[Incoming], then: Callable[[], str] = lambda: ""
    ) -> str:
        """Append what the transcript does not hold yet, as after a restart.

        :param then: Called after that, in the same thread.
        """
        given = {
            block.call_id
            for one in incoming
            for block in one.message.content
            if isinstance(block, ToolResult)
        }
        await self._settle_calls("the gateway stopped before it answered", given)
        known = self._session.sources
        new = [i for i in incoming if i.source is None or i.source not in known]
        entries = [Entry.of(i.message, source=i.source) for i in new]

        def append() -> str:
            self._session.write(*entries, sync=any(i.source for i in new))
            return then()

        text = await self._session.transcript.visit(append)
        if given:  # errors may stand in for them, as after a compaction meanwhile
            self._session.rebuild()
        return text

    async def _append_last(self, *entries: Entry) -> None:
        """Append the run's last entry, and keep account of the run."""
        model = self._model

        def append() -> None:
            self._session.write(*entries, sync=True)
            try:
                self._session.store.touch(
                    self._run.context.session_key,
                    usage=model.usage if model else Usage(),
                    context_tokens=model.context_tokens if model else 0,
                    compactions=model.compactions if model else 0,
                    last_target=self._run.target,
                )
            except (StorageError, SessionError) as exc:  # the answer is safe by now
                logger.warning("cannot count run %s: %s", self._run.id, exc)

        await self._session.transcript.visit(append)

    def _is_tainted(self) -> bool:
        """Return whether a run that goes on, as after a crash, has read a stranger."""
        for entry in reversed(self._session.transcript.entries):
            message = entry.message or Message(role="user", content=())
            results = (b for b in message.content if isinstance(b, ToolResult))
            if any(map(is_untrusted, results)):
                return True
            if message.role == "assistant" and not message.tool_calls:
                break  # there the last run has ended
        return False

    def _check_incoming(self) -> None:
        """Give results that are brought the names of the calls that wait for them.

        :raises RunFailed: No call waits for one, or it is no message to begin with.
        """
        session, history = self._session, self._run.options.history
        for place, one in enumerate(self._run.incoming):
            if one.message.role == "user":
                continue
            is_new = not session.transcript.entries
            calls = unanswered(history[::-1]) if is_new else session.unanswered_calls()
            names, content = {call.id: call.name for call in calls}, one.message.content
            results = [
                block
                for block in content
                if isinstance(block, ToolResult) and block.call_id in names
            ]
            if not results or len(results) < len(content):
                wanted = ", ".join(map(repr, names)) or "there is none"
                problem = "a run begins with a user's message, or with results of calls"
                problem += f" that wait for them ({wanted})"
                raise RunFailed("role_ordering", problem)
            named = tuple(replace(r, name=names[r.call_id]) for r in results)
            message = Message(role="tool", content=named)
            self._run.incoming[place] = replace(one, message=message)

    async def _settle_calls(self, why: str, given: Set[str] = frozenset()) -> None:
        """Give calls without a result one that says why there is none."""
        calls = [c for c in self._session.unanswered_calls() if c.id not in given]
        result = ToolResult.error(f"no result: {why}; it may have had effects")
        await self._append_results(calls, [result] * len(calls), synthetic=True)

    async def _append_results(
        self,
        calls: Sequence[ToolCall],
        results: Sequence[ToolResult],
        synthetic: bool = False,
    ) -> None:
        entries = []
        for call, result in zip(calls, results, strict=True):
            named = replace(result, call_id=call.id, name=call.name)
            message = Message(role="tool", content=(named,))
            entries.append(Entry.of(message, synthetic=synthetic))
        await self._session.append(*entries)

    async def _close(self, error: RunError | None) -> None:
        """End the transcript of a run that has no answer with what there is."""
        await self._settle_calls("the run ended before it answered")
        note = error.message if error else "[stopped]"
        entry = Entry.of(
            Message.assistant("\n\n".join(filter(None, (self._partial(), note)))),
            answers=self._sources(),
            stop_reason="error",
            synthetic=True,
        )
        await self._append_last(entry)

    async def _result(
        self, response: ModelResponse | None, error: RunError | None, seconds: float
    ) -> RunResult:
        """Tell the hooks how the run ended."""
        model = self._model
        result = RunResult(
            run_id=self._run.id,
            session_key=self._run.context.session_key,
            text=response.message.text if response else self._partial(),
            stop_reason=response.stop_reason if response else "error",
            usage=model.usage if model else Usage(),
            model=response.model if response else model.model.label if model else "",
            thinking=response.thinking if response else "",
            tool_calls=self._tool_count,
            calls=self._theirs,
            compactions=model.compactions if model else 0,
            seconds=seconds,
            aborted=self._run.scope.cancelled_caught,
            error=error,
        )
        await self._mind.hooks.notify(
            hookspecs.agent_end, context=self._run.context, result=result
        )
        return result

    def _partial(self) -> str:
        """Return what the model had said when the run ended early."""
        return self._model.heard.said().text if self._model else ""

    def _sources(self) -> tuple[str, ...]:
        return tuple(i.source for i in self._run.incoming if i.source)
