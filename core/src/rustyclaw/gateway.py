"""Puts the parts together: one lifespan, one task group, registries, a drain.

::

    async with Gateway() as gateway:
        async for event in gateway.run("hello"):
            print(event)

Several gateways may live in one process; they share nothing.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from secrets import token_hex
from time import time
from typing import TYPE_CHECKING, Any, Self

import anyio
import anyio.abc
import anyio.to_thread

from rustyclaw import approvers, commands, hookspecs, intake
from rustyclaw.agent.models import Models
from rustyclaw.agent.place import workspace_of
from rustyclaw.agent.tool_calls import invoke
from rustyclaw.agent.turn import Mind
from rustyclaw.approvals import Approvals, Operator
from rustyclaw.config import Config, config_from, home_dir, load_config
from rustyclaw.delivery import ChannelStatus, Delivery, innermost
from rustyclaw.discovery import Catalog, discover
from rustyclaw.errors import Busy, ChannelError, MethodError, SessionError, StorageError
from rustyclaw.feed import Feed
from rustyclaw.interfaces.channel import Channel, Route
from rustyclaw.interfaces.tool import Tool
from rustyclaw.lanes import Job, Lanes, result_of
from rustyclaw.live_sessions import LiveSessions
from rustyclaw.messages import HookContext, Inbound, Message, ToolCall
from rustyclaw.plugging import load_plugins
from rustyclaw.registry import Caller, Method, Registry
from rustyclaw.runs import (
    ActiveRun,
    RunEnded,
    RunEvent,
    RunOptions,
    RunRequest,
    RunResult,
)
from rustyclaw.sessions.journal import Reply
from rustyclaw.sessions.key import resolve
from rustyclaw.sessions.locks import SessionLock
from rustyclaw.state import State

if TYPE_CHECKING:
    from rustyclaw.hooks import Hooks
    from rustyclaw.loading import Loader
    from rustyclaw.messages import CompactionResult, Media, Outbound, Target, ToolResult

logger = logging.getLogger(__name__)

_EVENT_BUFFER = 256
_PRUNE_SECONDS = 86_400.0


class Gateway:
    """The assistant: use it as an async context.

    :param config: A loaded config, or its content as a mapping; by default the
        config file of ``home``.
    :param home: The state folder; by default ``RUSTYCLAW_HOME`` or ``~/.rustyclaw``.
    :param channels: Start channels and answer what the inbox holds. Only one
        gateway at a time may do so for a home.
    :param plugins: Further plugins as ``{"tools.x": object}``.
    :param discover: Look at installed plugins at all.
    :param approver: An operator to ask when a guard wants a person's word.
    :ivar loader: What is installed and enabled.
    :ivar hooks: The hooks of its plugins.
    :ivar feed: What happens, for those who watch.
    :ivar channels: How each channel is; the working ones are in ``deliveries``.
    :ivar banner: Lines for the person who starts the gateway, such as its address.
    :ivar draining: The gateway stops, and takes no more work.
    :ivar stop_reason: Why it stops, or was asked to; empty while it shall go on.
    """

    loader: Loader
    hooks: Hooks

    def __init__(
        self,
        config: Config | Mapping[str, Any] | None = None,
        *,
        home: Path | None = None,
        channels: bool = True,
        plugins: Mapping[str, object] | None = None,
        discover: bool = True,
        approver: Operator | None = None,
    ) -> None:
        if config is None:
            config = load_config(home=home)
        elif not isinstance(config, Config):
            config = config_from(config, home=home or home_dir(), env=os.environ)
        self.config = config
        self.home = home or config.home
        self.serving = channels
        self._discover = discover
        self._extra = plugins or {}
        self.tools = Registry[Tool]("tool", lambda tool: tool.name)
        self.methods = Registry[Method]("method", lambda method: method.name)
        self.routes = Registry[Route]("route", lambda r: f"{r.method.upper()} {r.path}")
        self.approvals = Approvals(config.gateway.approval_seconds)
        if approver is not None:
            self.approvals.attach(approver)
        self.feed = Feed()
        self.channels: dict[str, ChannelStatus] = {}
        self.deliveries: dict[str, Delivery] = {}
        self.started_at = 0.0
        self.draining = False
        self.stop_reason = ""
        self.banner: list[str] = []
        self._stack = AsyncExitStack()
        self._group: anyio.abc.TaskGroup

    # --- The lifespan ---------------------------------------------------------------

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseExceptionGroup as group:  # the task group wraps even one error
            raise innermost(group) from None
        return self

    async def _start(self) -> None:
        async with AsyncExitStack() as stack:
            try:
                self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as exc:
                problem = f"cannot use {str(self.home)!r} as home: {exc.strerror}"
                raise StorageError(f"{problem}; set RUSTYCLAW_HOME") from exc
            if self.serving:
                await self._be_the_only_one(stack)
            self.started_at, self._stopping = time(), anyio.Event()
            self.state = await stack.enter_async_context(State(self.home, self.config))
            self.approvals.memory = self.state
            self._group = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(self._group.cancel_scope.cancel)
            channels = await anyio.to_thread.run_sync(self._load)
            self.models = Models(
                self.config, self.loader, self.spawn, self.home, self.feed
            )
            self._mind = mind = Mind(
                config=self.config,
                home=self.home,
                hooks=self.hooks,
                tools=self.tools,
                approvals=self.approvals,
                models=self.models,
                loader=self.loader,
            )
            self._sessions = LiveSessions(self.state.sessions, mind)
            self._lanes = Lanes(self, mind, self._sessions)
            for name, channel in channels.items():
                self.deliveries[name] = Delivery(name, channel, self)
            await self.hooks.notify(hookspecs.gateway_start, gateway=self)
            if self.serving:
                if self.config.gateway.approvers:
                    self.approvals.attach(partial(approvers.announce, self))
                self.spawn(self._prune)
                for delivery in self.deliveries.values():
                    delivery.start()
                for request in await self.state.runs.open():
                    self._lanes.submit(Job(request=request, resumes=True))
                for session in await self.state.journal.open_sessions():
                    self._lanes.wake(session)
            self._stack = stack.pop_all()

    def _load(self) -> dict[str, Channel]:
        catalog = discover() if self._discover else Catalog([])
        return load_plugins(self, catalog, self._extra)

    async def _be_the_only_one(self, stack: AsyncExitStack) -> None:
        """Hold the home, so that no second gateway answers the same messages."""
        lock = SessionLock(self.home / "gateway", timeout_seconds=0.5)
        try:
            await stack.enter_async_context(lock)
        except SessionError as exc:
            raise SessionError(
                f"another gateway serves {str(self.home)!r} already; stop it, or give "
                "this one a RUSTYCLAW_HOME of its own"
            ) from exc

    async def __aexit__(self, *exc_info: object) -> None:
        try:
            with anyio.CancelScope(shield=True):
                await self.stop("error" if exc_info[0] else "closed")
        finally:
            await self._stack.aclose()

    async def stop(self, reason: str) -> None:
        """Take no more work, let runs finish, and tell the hooks. Safe to repeat."""
        if self.draining:
            return
        self.draining = True
        self.stop_reason = reason = self.stop_reason or reason
        self.feed.announce("stopping", {"reason": reason})
        for delivery in self.deliveries.values():
            delivery.closing = True
        budget = self.config.gateway.drain_seconds
        with anyio.move_on_after(budget) as deadline:
            await self._lanes.drained()
            for delivery in self.deliveries.values():
                await delivery.drained()
        if deadline.cancelled_caught:
            text = "not all work ended within %g s; it is resumed later"
            logger.warning(text, budget)
        await self._sessions.end_all()
        await self.hooks.notify(hookspecs.gateway_stop, gateway=self, reason=reason)

    def request_stop(self, reason: str) -> None:
        """Have `serve` end; whoever started it sees the reason in ``stop_reason``.

        The first reason counts, but a signal outdoes a restart.
        """
        if reason == "signal" or not self.stop_reason:
            self.stop_reason = reason
        self._stopping.set()

    async def stop_requested(self) -> str:
        """Wait until somebody wants the gateway to stop; return the reason."""
        await self._stopping.wait()
        return self.stop_reason

    async def serve(self) -> None:
        """Run until a signal or `request_stop`; a second signal waits for no run."""
        async with anyio.create_task_group() as group:
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:

                async def listen() -> None:
                    async for _ in signals:
                        if self._stopping.is_set():
                            self._group.cancel_scope.cancel()
                            group.cancel_scope.cancel()
                        self.request_stop("signal")

                group.start_soon(listen)
                await self.stop(await self.stop_requested())
                group.cancel_scope.cancel()

    def spawn(self, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Start a background task that ends with the gateway; its error is logged."""

        async def guarded() -> None:
            try:
                await function(*args)
            except Exception:
                logger.exception("background task %r failed", function)

        self._group.start_soon(guarded)

    async def _prune(self) -> None:
        while True:
            with suppress(StorageError):  # there is no hurry
                await self.state.journal.prune()
                await self.state.runs.prune()
            await anyio.sleep(_PRUNE_SECONDS)

    def key(self, session: str) -> str:
        """Return the full key of a session.

        :raises SessionError: The text cannot be a key.
        """
        return str(resolve(session, self.config.default_agent_id))

    def workspace(self, agent_id: str = "") -> Path:
        """Return the workspace folder of an agent; it need not exist yet."""
        agent_id = agent_id or self.config.default_agent_id
        return workspace_of(self.config, self.home, agent_id)

    def redact(self, value: object) -> object:
        """Return a JSON-like value without secrets."""
        return self.config.redactor.scrub_value(value)

    # --- Messages ---------------------------------------------------------------------

    async def accept(self, message: Inbound) -> bool:
        """Decide about a message, make it durable and see to its answer.

        :returns: ``False`` if it was accepted before.
        :raises StorageError: It was not accepted.
        :raises Busy: The gateway drains, or too many messages wait.
        :raises ChannelError: It names no channel, so that nobody can decide about it.
        """
        return await intake.accept(self, message, self._lanes.wake)

    async def post(self, target: Target, message: Outbound, session: str) -> None:
        """Send a message that answers none; it is durable when this returns.

        :param message: One with the id of another is not sent again; without an id
            it gets a new one.
        :raises ChannelError: No such channel is open here.
        """
        if (delivery := self.deliveries.get(target.channel)) is None:
            problem = f"no channel {target.channel!r} is open here"
            raise ChannelError(f"{problem}; see `rustyclaw doctor`", permanent=True)
        key = self.key(session)
        message = replace(message, id=message.id or token_hex(8))
        await self.state.journal.post(
            Reply(session=key, target=target, message=message)
        )
        delivery.wake()

    async def run(
        self,
        message: str | Message,
        *media: Media,
        session: str = "main",
        options: RunOptions | None = None,
    ) -> AsyncGenerator[RunEvent]:
        """Answer one message of this process; yields events up to `RunEnded`.

        Leaving the loop early aborts the run.

        :param message: A text, or a whole message such as the results of tools.
        :param session: A session key, or the part behind ``agent:<id>:``.
        :raises Busy: The gateway drains, or the session's queue is full.
        """
        if isinstance(message, str):
            message = Message.user(message, *media)
        request = self._request(message, session, options)
        send, receive = anyio.create_memory_object_stream[RunEvent](_EVENT_BUFFER)
        job = Job(request=request, events=send)
        with send, receive:
            self._lanes.submit(job)
            try:
                while True:
                    try:
                        event = receive.receive_nowait()  # what is there costs no step
                    except anyio.WouldBlock:
                        event = await receive.receive()
                    yield event
                    if isinstance(event, RunEnded):
                        return
            except anyio.EndOfStream:
                pass
            except BaseException:  # who asked has left
                job.scope.cancel()
                raise
        raise Busy("the gateway stopped before it answered; ask again later")

    async def submit(
        self,
        message: Message,
        *,
        session: str = "main",
        options: RunOptions | None = None,
        target: Target | None = None,
    ) -> str:
        """Have a user's message answered, by the next gateway if this one ends early.

        It is durable when this returns; `feed` has the events of the run. The same
        run id again changes nothing.

        :param options: Without ``history`` and ``tools``.
        :param target: A chat that the answer is sent to as well.
        :returns: The id of the run.
        :raises StorageError: It was not accepted.
        :raises Busy: The gateway drains, or the session's queue is full.
        """
        request = self._request(message, session, options, target)
        if request.options.history or request.options.tools:
            raise ValueError("history and tools of a caller cannot outlive it; use run")
        if await self.state.runs.accept(request):
            self._lanes.submit(Job(request=request))
        return request.run_id

    async def submitted(
        self, *run_ids: str
    ) -> tuple[RunRequest, RunResult | None] | None:
        """Return a submitted run of the last day, and how it ended if it has.

        :param run_ids: Of the ids that are known, the one that was first counts.
        """
        found = await self.state.runs.find(run_ids)
        if found is None:
            return None
        request, is_open = found
        if is_open:
            return request, None
        info = await self.state.sessions.get(request.session)
        entries = (await self.state.sessions.transcript(info)).entries if info else ()
        answers = (e for e in reversed(entries) if request.source in e.answers)
        return request, result_of(next(answers, None), request)

    def _request(
        self,
        message: Message,
        session: str,
        options: RunOptions | None,
        target: Target | None = None,
    ) -> RunRequest:
        """Return a request that a lane has room for."""
        if self.draining:
            raise Busy("the gateway is stopping; try again later")
        name = resolve(session, self.config.default_agent_id)
        self.config.agent(name.agent_id)  # an unknown one is an error here, not later
        self._lanes.check_room(str(name))
        options = options or RunOptions()
        options = replace(options, run_id=options.run_id or token_hex(8))
        return RunRequest(
            session=str(name), message=message, options=options, target=target
        )

    def abort(self, session: str = "main", run_id: str = "") -> bool:
        """Abort the run of a session, or only the one named; return whether it was."""
        return self._lanes.abort(self.key(session), run_id)

    async def invoke_tool(
        self, name: str, arguments: Mapping[str, Any], session: str = "main"
    ) -> ToolResult:
        """Run a tool as a model of a session would: policy, guards, approval, deadline.

        :raises ToolError: The session may not use such a tool, or there is none.
        :raises Busy: The gateway drains.
        """
        if self.draining:
            raise Busy("the gateway is stopping; try again later")
        key = resolve(session, self.config.default_agent_id)
        agent_id = self.config.agent(key.agent_id).id
        run_id = token_hex(8)
        context = HookContext(agent_id=agent_id, session_key=str(key), run_id=run_id)
        call = ToolCall(id=run_id, name=name, arguments=arguments)
        return await invoke(self._mind, context, call)

    def active_runs(self) -> list[ActiveRun]:
        """Return the runs in progress."""
        return self._lanes.active()

    async def inject(self, session: str, message: Message) -> str:
        """Put a message into a conversation without a run; return its entry's id."""
        return await self._sessions.inject(self.key(session), message)

    async def compact(
        self, session: str, instructions: str = "", keep: int | None = None
    ) -> CompactionResult | None:
        """Replace the older part of a session by a summary, as its model writes it.

        :param keep: Keep so many of the newest entries, and ask for no summary.
        :returns: ``None`` if there is nothing to shorten.
        :raises ProviderError: The summary could not be made; nothing has changed.
        """
        return await self._sessions.compact(self.key(session), instructions, keep)

    async def reset(self, session: str, reason: str = "reset") -> None:
        """Begin a session anew; with reason ``delete`` it is removed."""
        await self._sessions.reset(self.key(session), reason)

    async def command(self, text: str, session: str) -> str | None:
        """Answer a chat command such as ``/new``; ``None`` if it is none."""
        return await commands.answer(self, text, session)

    async def call(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        caller: Caller | None = None,
    ) -> Any:
        """Call a gateway method that a plugin has added; its scope is not checked.

        :raises MethodError: It is unknown, or its parameters are wrong.
        """
        found = self.methods.get(method)
        if found is None:
            raise MethodError(f"unknown method: {method}")
        return await found.handler(params or {}, caller or Caller())
