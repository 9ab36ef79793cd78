"""One run of an agent: model and tools take turns until there is an answer.

The order of the hooks here is the middle part of `hookspecs`. Every entry is in the
transcript before the next step starts, so a run that is killed can be continued.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from rustyclaw import hookspecs
from rustyclaw.agent.model_calls import ModelCalls, RunFailed
from rustyclaw.agent.policy import allowed_tools
from rustyclaw.agent.prompt import system_prompt
from rustyclaw.agent.recovery import run_error
from rustyclaw.agent.tool_calls import ToolCalls
from rustyclaw.agent.truncation import result_limit
from rustyclaw.errors import ProviderError, RustyclawError, SessionError, StorageError
from rustyclaw.interfaces.tool import ToolContext
from rustyclaw.messages import (
    HookContext,
    Message,
    ModelResponse,
    Prompt,
    RunError,
    RunEvent,
    RunResult,
    ToolCall,
    ToolResult,
    Usage,
)
from rustyclaw.sessions.entries import Entry

if TYPE_CHECKING:
    from rustyclaw.agent.live import LiveSession
    from rustyclaw.agent.models import Models
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

    :param emit: Receives the events; may wait for a slow reader.
    :param steer: Returns messages to add before the next model call.
    :param scope: Cancel it to abort the run; what was said until then is kept.
    """

    id: str
    session: LiveSession
    incoming: list[Incoming]
    emit: Callable[[RunEvent], Awaitable[None]]
    channel: str = ""
    steer: Callable[[], Awaitable[list[Incoming]]] | None = None
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)


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


class Turn:
    """One run in progress; use `execute` once."""

    def __init__(self, mind: Mind, run: Run) -> None:
        self._mind = mind
        self._run = run
        self._session = run.session
        self._context = HookContext(
            agent_id=run.session.info.agent_id,
            session_key=run.session.info.key,
            run_id=run.id,
            channel=run.channel,
        )
        self._label = ""
        self._tool_count = 0
        self._model: ModelCalls | None = None

    async def execute(self) -> RunResult:
        """Run until there is an answer, an error or an abort.

        :raises StorageError: The transcript cannot be written; nothing is answered.
        :raises SessionError: The transcript cannot be read.
        """
        started = perf_counter()
        limit = self._mind.config.agents.defaults.timeout_seconds
        response: ModelResponse | None = None
        error: RunError | None = None
        with self._run.scope, anyio.move_on_after(limit) as deadline:
            try:
                response = await self._converse(*await self._prepare())
            except RunFailed as exc:
                error = exc.error
            except (StorageError, SessionError):
                raise
            except RustyclawError as exc:
                kind = exc.kind if isinstance(exc, ProviderError) else "provider_error"
                error = run_error(kind, exc)
            except Exception as exc:
                logger.exception("run %s failed", self._run.id)
                error = RunError(kind="internal", message=f"internal error: {exc}")
        if deadline.cancelled_caught:
            error = RunError(kind="timeout", message=f"the run took over {limit:g} s")
        with anyio.CancelScope(shield=True):
            if response is None:
                await self._close(error)
            result = await self._result(response, error, perf_counter() - started)
        return result

    async def _prepare(self) -> tuple[ModelCalls, ToolCalls]:
        """Append the user's messages, find the model, assemble the prompt."""
        mind, session, context = self._mind, self._session, self._context
        await self._append_incoming(self._run.incoming)
        agent = mind.config.agent(context.agent_id)
        defaults = mind.config.agents.defaults
        model = await mind.models.resolve(
            session.info.model or agent.model or defaults.model
        )
        self._label = model.label
        session.talk(model.provider.transcript_policy)
        place = self._place()
        persona = session.info.system_prompt
        system = await anyio.to_thread.run_sync(
            system_prompt, mind.config, context.agent_id, place.workspace, persona
        )
        prompt = await mind.hooks.apply(
            hookspecs.before_agent_start,
            context=context,
            prompt=Prompt(system=system, message=self._run.incoming[-1].message),
        )
        limit = result_limit(model.window, defaults.tool_result_max_chars)
        tools = allowed_tools(
            mind.config, context.agent_id, context.session_key, mind.tools
        )
        self._model = ModelCalls(mind, self._run, context, model, tools, prompt, limit)
        calls = ToolCalls(
            tools, mind.hooks, mind.approvals, context, place, limit, self._run.emit
        )
        return self._model, calls

    async def _converse(self, model: ModelCalls, tools: ToolCalls) -> ModelResponse:
        """Call model and tools in turn; return the final answer."""
        most = self._mind.config.agents.defaults.max_tool_iterations
        for _ in range(most + 1):
            response, malformed = await model.respond()
            calls = response.message.tool_calls
            entry = Entry.of(
                response.message,
                usage=response.usage,
                stop_reason=response.stop_reason,
                model=self._label,
                answers=() if calls else self._sources(),
            )
            await self._session.append(entry, sync=not calls)
            if not calls:
                return response
            self._tool_count += len(calls)
            await self._append_results(calls, await tools.run(calls, malformed))
            if self._run.steer is not None:
                more = await self._run.steer()
                self._run.incoming += more
                await self._append_incoming(more)
        raise RunFailed(
            RunError(
                kind="tool_error",
                message=f"stopped after {most} rounds of tool calls; raise "
                "agents.defaults.max_tool_iterations if it needs more",
            )
        )

    # --- The transcript -----------------------------------------------------------

    async def _append_incoming(self, incoming: Sequence[Incoming]) -> None:
        """Append what the transcript does not hold yet, as after a restart."""
        await self._settle_calls("the gateway stopped before it answered")
        for each in incoming:
            if each.source is None or each.source not in self._session.sources:
                entry = Entry.of(each.message, source=each.source)
                await self._session.append(entry, sync=each.source is not None)

    async def _settle_calls(self, why: str) -> None:
        """Give calls without a result one that says why there is none."""
        calls = self._session.unanswered_calls()
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
        if entries:
            await self._session.append(*entries)

    async def _close(self, error: RunError | None) -> None:
        """End the transcript of a run that has no answer with what there is."""
        await self._settle_calls("the run ended before it answered")
        note = error.message if error else "[stopped]"
        text = "\n\n".join(part for part in (self._partial(), note) if part)
        entry = Entry.of(
            Message.assistant(text),
            answers=self._sources(),
            stop_reason="error",
            synthetic=True,
        )
        await self._session.append(entry, sync=True)

    async def _result(
        self, response: ModelResponse | None, error: RunError | None, seconds: float
    ) -> RunResult:
        """Keep account of the run and tell the hooks how it ended."""
        model = self._model
        result = RunResult(
            run_id=self._run.id,
            session_key=self._context.session_key,
            text=response.message.text if response else self._partial(),
            stop_reason=response.stop_reason if response else "error",
            usage=model.usage if model else Usage(),
            model=self._label,
            tool_calls=self._tool_count,
            compactions=model.compactions if model else 0,
            seconds=seconds,
            aborted=self._run.scope.cancelled_caught,
            error=error,
        )
        await self._session.store.touch(
            result.session_key,
            usage=result.usage,
            context_tokens=model.context_tokens if model else 0,
            compactions=result.compactions,
        )
        await self._mind.hooks.notify(
            hookspecs.agent_end, context=self._context, result=result
        )
        return result

    def _partial(self) -> str:
        """Return what the model had said when the run ended early."""
        return self._model.partial if self._model else ""

    def _sources(self) -> tuple[str, ...]:
        return tuple(i.source for i in self._run.incoming if i.source)

    def _place(self) -> ToolContext:
        agent_id, home = self._context.agent_id, self._mind.home
        return ToolContext(
            agent_id=agent_id,
            session_key=self._context.session_key,
            run_id=self._run.id,
            channel=self._run.channel,
            workspace=workspace_of(self._mind.config, home, agent_id),
            agent_dir=home / "agents" / agent_id,
            home=home,
        )


def workspace_of(config: Config, home: Path, agent_id: str) -> Path:
    """Return the workspace folder of an agent; it need not exist yet."""
    named = config.agent(agent_id).workspace
    if named is None and agent_id == config.default_agent_id:
        named = config.agents.defaults.workspace
    if named is not None:
        return home / Path(named).expanduser()
    return home / "agents" / agent_id / "workspace"
