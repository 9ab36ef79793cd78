"""Calls the model of a run: the request, the stream, recovery and summaries."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio

from rustyclaw import hookspecs
from rustyclaw.agent.compaction import SummaryCompactor, compact_session
from rustyclaw.agent.recovery import Recovery
from rustyclaw.agent.stream import Assembler
from rustyclaw.errors import ProviderError
from rustyclaw.interfaces.compactor import Compactor
from rustyclaw.messages import (
    Compacted,
    CompactionResult,
    Message,
    ModelRequest,
    ModelResponse,
    Prompt,
    RunError,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    Usage,
)

if TYPE_CHECKING:
    from rustyclaw.agent.models import Model
    from rustyclaw.agent.turn import Mind, Run
    from rustyclaw.interfaces.tool import Tool
    from rustyclaw.messages import HookContext

logger = logging.getLogger(__name__)

#: A stream that says nothing for so long counts as dead.
_STREAM_IDLE_SECONDS = 120.0
_COMPACTION_SECONDS = 300.0
#: A request estimated above this share of the window is not even tried.
_OVERFLOW_SHARE = 0.9


class RunFailed(Exception):
    """The run cannot go on."""

    def __init__(self, error: RunError) -> None:
        super().__init__(error.message)
        self.error = error


class ModelCalls:
    """The model of one run, and how it is called.

    :param asked: The user's message as the transcript has it; ``prompt`` holds it
        as the hooks left it.
    :ivar usage: Summed over all calls, summaries included.
    """

    def __init__(
        self,
        mind: Mind,
        run: Run,
        context: HookContext,
        model: Model,
        tools: Sequence[Tool],
        prompt: Prompt,
        result_limit: int,
    ) -> None:
        self._mind = mind
        self._session = run.session
        self._emit = run.emit
        self._asked = run.incoming[-1].message
        self._context = context
        self._model = model
        self._tools = tuple(tool.schema for tool in tools)
        self._prompt = prompt
        self._recovery = Recovery(run.session, self.compact, result_limit)
        self._assembler = Assembler(model.label)
        self.usage = Usage()
        self.context_tokens = 0
        self.compactions = 0

    @property
    def partial(self) -> str:
        """What the model has said in the call that goes on."""
        return self._assembler.text

    async def respond(self) -> tuple[ModelResponse, dict[str, str]]:
        """Call the model until it answers or recovery gives up.

        :returns: The answer, and what is wrong with its calls, by call id.
        :raises RunFailed: Nothing more can be tried.
        """
        while True:
            self._assembler = Assembler(self._model.label)
            visible = False
            try:
                request = await self._mind.hooks.apply(
                    hookspecs.llm_input, context=self._context, request=self._request()
                )
                self._check_size(request)
                async with aclosing(self._stream(request)) as events:
                    async for event in events:
                        self._assembler.add(event)
                        if isinstance(event, TextDelta | ThinkingDelta):
                            visible = True
                            await self._emit(event)
                response = self._assembler.response()
            except ProviderError as exc:
                logger.warning(
                    "model call of run %s, session %s (%s): %s",
                    self._context.run_id,
                    self._context.session_key,
                    exc.kind,
                    exc,
                )
                error = await self._recovery.recover(exc, visible=visible)
                if error is not None:
                    raise RunFailed(error) from exc
                continue
            self.usage += response.usage
            self.context_tokens = response.usage.prompt_tokens
            await self._mind.hooks.notify(
                hookspecs.llm_output, context=self._context, response=response
            )
            return response, self._assembler.malformed

    # --- The request ------------------------------------------------------------

    def _request(self) -> ModelRequest:
        config = self._mind.config
        agent, defaults = config.agent(self._context.agent_id), config.agents.defaults
        warmth = agent.temperature
        return ModelRequest(
            model=self._model.info.id,
            system=self._prompt.system,
            messages=self._messages(),
            tools=self._tools,
            max_tokens=agent.max_tokens or defaults.max_tokens,
            temperature=defaults.temperature if warmth is None else warmth,
            thinking=self._session.info.thinking or agent.thinking or defaults.thinking,
        )

    def _messages(self) -> tuple[Message, ...]:
        """Return the conversation, with the user's message as the hooks left it."""
        messages = self._session.talk(self._model.provider.transcript_policy).messages
        wanted = self._prompt.message
        if wanted != self._asked:
            size = len(self._asked.content)
            for index in range(len(messages) - 1, -1, -1):
                if messages[index].content[-size:] == self._asked.content:
                    content = (*messages[index].content[:-size], *wanted.content)
                    changed = replace(messages[index], content=content)
                    return (*messages[:index], changed, *messages[index + 1 :])
        return tuple(messages)

    def _check_size(self, request: ModelRequest) -> None:
        """Refuse to send what cannot fit, so that recovery shortens it at once."""
        talk = self._session.talk(self._model.provider.transcript_policy)
        if len(request.messages) < len(talk.messages):
            return  # a plugin has pruned it; what is left is not ours to judge
        tokens = talk.tokens + len(request.system) // 4
        limit = self._model.window * _OVERFLOW_SHARE
        if self._mind.config.session.auto_compact and tokens > limit:
            raise ProviderError(
                f"context overflow: about {tokens} tokens for a window of "
                f"{self._model.window}",
                kind="context_overflow",
                observed_tokens=tokens,
            )

    async def _stream(self, request: ModelRequest) -> AsyncGenerator[StreamEvent]:
        """Yield a model's events; a stream that falls silent is an error."""
        stream = self._model.provider.stream(request)
        try:
            while True:
                with anyio.move_on_after(_STREAM_IDLE_SECONDS) as idle:
                    try:
                        event = await anext(stream)
                    except StopAsyncIteration:
                        return
                if idle.cancelled_caught:
                    raise ProviderError(
                        f"{self._model.label} said nothing for "
                        f"{_STREAM_IDLE_SECONDS:g} s",
                        kind="timeout",
                    )
                yield event
        finally:
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()

    # --- Compaction -------------------------------------------------------------

    async def compact(self, instructions: str = "") -> CompactionResult | None:
        """Compact the run's session; return ``None`` if that cannot shorten it."""
        config = self._mind.config
        name = config.agents.defaults.compactor
        compactor: Compactor = SummaryCompactor()
        if name != "summary":
            compactor = self._mind.loader.create("compactors", name, Compactor)
        result = await compact_session(
            self._session,
            compactor,
            self._summarize,
            self._mind.hooks,
            self._context,
            keep_recent=config.session.compact_keep_recent,
            instructions=instructions,
        )
        if result is not None:
            self.compactions += 1
            await self._emit(
                Compacted(
                    tokens_before=result.tokens_before, tokens_after=result.tokens_after
                )
            )
        return result

    async def _summarize(self, system: str, messages: tuple[Message, ...]) -> str:
        """Ask the model without tools and outside of the conversation."""
        assembler = Assembler(self._model.label)
        request = ModelRequest(
            model=self._model.info.id, system=system, messages=messages, max_tokens=1024
        )
        with anyio.move_on_after(_COMPACTION_SECONDS) as deadline:
            async with aclosing(self._stream(request)) as events:
                async for event in events:
                    assembler.add(event)
        if deadline.cancelled_caught:
            raise ProviderError("summarization failed: no answer", kind="timeout")
        response = assembler.response()
        self.usage += response.usage
        return response.message.text
