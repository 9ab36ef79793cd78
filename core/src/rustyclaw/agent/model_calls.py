"""Calls the model of a run: the request, the stream, and what a failure asks for."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import anyio
from anyio import sleep

from rustyclaw import hookspecs
from rustyclaw.agent.compaction import compact_session
from rustyclaw.agent.context import estimate
from rustyclaw.agent.recovery import RunFailed, is_overflow, truncate_results
from rustyclaw.agent.stream import Assembler
from rustyclaw.errors import ProviderError, SessionError, StorageError
from rustyclaw.messages import (
    Message,
    ModelRequest,
    ModelResponse,
    Prompt,
    TextDelta,
    ThinkingDelta,
    ToolSchema,
    Usage,
)
from rustyclaw.runs import Compacted

if TYPE_CHECKING:
    from rustyclaw.agent.models import Model
    from rustyclaw.agent.turn import Mind, Run

logger = logging.getLogger(__name__)

#: A stream that says nothing for so long counts as dead.
_SILENCE_SECONDS = 120.0
#: A request estimated above this share of the window is not even tried.
_OVERFLOW_SHARE = 0.9
_SHOWN = (TextDelta, ThinkingDelta)
_MAX_COMPACTIONS = 3
_MAX_WAITS = 2
_FIRST_WAIT, _LONGEST_WAIT = 2.5, 60.0


@dataclass(slots=True)
class ModelCalls:
    """The model of one run, how it is called, and all that the run may try with it.

    A run may wait twice for a provider that is overloaded, compact three times, cut
    stored tool results once, and after that compact three times more.

    :param asked: The user's message as the transcript has it; ``prompt`` holds it
        as the hooks left it.
    :param result_limit: Characters that one stored tool result may keep.
    :ivar usage: Summed over all calls, summaries included.
    """

    mind: Mind
    run: Run
    model: Model
    tools: tuple[ToolSchema, ...]
    asked: Message
    prompt: Prompt
    result_limit: int
    usage: Usage = field(default_factory=Usage)
    context_tokens: int = 0
    compactions: int = 0
    heard: Assembler = field(default_factory=Assembler)
    _tries: int = 0
    _waits: int = 0
    _truncated: bool = False

    async def respond(self) -> tuple[ModelResponse, Mapping[int, str]]:
        """Call the model until it answers, or nothing more can be tried.

        :returns: The answer, and what is wrong with its calls, by their places.
        :raises ProviderError: The failure that remained.
        :raises RunFailed: The conversation could not be shortened.
        """
        while True:
            self.heard = Assembler()
            try:
                request = await self.mind.hooks.apply(
                    hookspecs.llm_input,
                    context=self.run.context,
                    request=self._request(),
                )
                self._check_size(request)
                await self._play(request, self.heard, shown=True)
                response = self.heard.response(self.model.label)
                break
            except ProviderError as exc:
                run_id, key = self.run.context.run_id, self.run.context.session_key
                text = "model call of run %s, session %s (%s): %s"
                logger.warning(text, run_id, key, exc.kind, exc)
                await self._recover(exc)
        self.usage += response.usage
        self.context_tokens = response.usage.prompt_tokens
        await self.mind.hooks.notify(
            hookspecs.llm_output, context=self.run.context, response=response
        )
        return response, self.heard.malformed

    def _request(self) -> ModelRequest:
        config, session = self.mind.config, self.run.session
        agent, defaults = (
            config.agent(self.run.context.agent_id),
            config.agents.defaults,
        )
        options = self.run.options
        warmth = options.temperature
        warmth = agent.temperature if warmth is None else warmth
        longest = agent.max_tokens or defaults.max_tokens
        return ModelRequest(
            model=self.model.info.id,
            system=self.prompt.system,
            messages=self._messages(),
            tools=self.tools,
            max_tokens=min(longest, options.max_tokens or longest),
            temperature=defaults.temperature if warmth is None else warmth,
            thinking=options.thinking
            or session.info.thinking
            or agent.thinking
            or defaults.thinking,
            context_window=self.model.window,
            **self._whose(),
        )

    def _whose(self) -> dict[str, Any]:
        """Return the fields of a request that say what conversation it is of."""
        info = self.run.session.info
        beginning = f"{info.session_id}.{info.compactions + self.compactions}"
        run_id = self.run.context.run_id
        return {"session_key": info.key, "run_id": run_id, "conversation": beginning}

    def _messages(self) -> tuple[Message, ...]:
        """Return the conversation, with the user's message as the hooks left it."""
        policy = self.model.provider.transcript_policy
        messages = self.run.session.talk(policy).messages
        asked, wanted = self.asked.content, self.prompt.message.content
        places = range(len(messages) - 1, -1, -1) if wanted != asked else ()
        for place in places:
            content = messages[place].content
            if messages[place].role == "user" and content[-len(asked) :] == asked:
                content = (*content[: -len(asked)], *wanted)
                messages[place] = replace(messages[place], content=content)
                break
        return tuple(messages)

    def _check_size(self, request: ModelRequest) -> None:
        """Refuse to send what cannot fit, so that recovery shortens it at once."""
        talk = self.run.session.talk(self.model.provider.transcript_policy)
        tokens = talk.tokens + len(request.system) // 4
        window = self.model.window  # many vendors count the answer to come as well
        limit = min(window * _OVERFLOW_SHARE, window - request.max_tokens)
        limit = max(limit, window / 2)
        if tokens <= limit or not self.mind.config.session.auto_compact:
            return
        # a plugin may have pruned it, so now it is worth the time to look closely
        tokens = sum(map(estimate, request.messages)) + len(request.system) // 4
        if tokens > limit:
            raise ProviderError(
                f"context overflow: about {tokens} tokens for a window of "
                f"{self.model.window}",
                kind="context_overflow",
                observed_tokens=tokens,
            )

    async def _play(
        self, request: ModelRequest, heard: Assembler, *, shown: bool = False
    ) -> None:
        """Hear a model out.

        :raises ProviderError: The call failed, or the stream fell silent.
        """
        stream, reports = self.model.provider.stream(request), self.run.reports
        due = float("-inf")  # to move a deadline costs more than all the rest
        with anyio.move_on_after(_SILENCE_SECONDS) as silence:
            try:
                async for event in stream:
                    heard.add(event)
                    if shown and isinstance(event, _SHOWN) and not reports.offer(event):
                        silence.deadline = float("inf")  # a reader may take its time
                        await reports.insist(event)
                        due = float("-inf")
                    if (now := anyio.current_time()) > due:
                        silence.deadline = now + _SILENCE_SECONDS * 1.01
                        due = now + _SILENCE_SECONDS * 0.01
            finally:
                if isinstance(stream, AsyncGenerator):
                    await stream.aclose()
        if silence.cancelled_caught:
            problem = f"{self.model.label} said nothing for {_SILENCE_SECONDS:g} s"
            raise ProviderError(problem, kind="timeout")

    # --- After a failure ----------------------------------------------------------

    async def _recover(self, error: ProviderError) -> None:
        """Wait or shorten the conversation, so that the call may be repeated.

        :raises ProviderError: There is nothing to mend.
        """
        if self.heard.said().content:  # a repeated answer would be shown twice
            raise error
        if is_overflow(error):
            await self._shorten()
            return
        wait = error.retry_after or _FIRST_WAIT * (1 + self._waits)
        if not error.retryable or self._waits == _MAX_WAITS or wait > _LONGEST_WAIT:
            raise error
        self._waits += 1
        await sleep(wait)

    async def _shorten(self) -> None:
        """Compact the session, or cut its longest results.

        :raises RunFailed: Neither was possible.
        """
        failure = "context_overflow"
        session = self.run.session
        self._tries += 1
        if self._tries <= _MAX_COMPACTIONS:
            try:
                result = await compact_session(
                    session, self.model, self.mind, self.run.context, self.summarize
                )
            except (StorageError, SessionError):
                raise
            except Exception as exc:  # a compactor is a plugin
                logger.warning("cannot compact: %s", exc, exc_info=exc)
                failure, result = "compaction_failure", None
            if result is not None:
                self.compactions += 1
                before, after = result.tokens_before, result.tokens_after
                event = Compacted(tokens_before=before, tokens_after=after)
                await self.run.reports.emit(event)
                return
        if not self._truncated:
            self._truncated = True
            if await truncate_results(session, self.result_limit):
                self._tries = 0
                return
        raise RunFailed(failure)

    async def summarize(self, system: str, messages: tuple[Message, ...]) -> str:
        """Ask the model without tools and outside of the conversation."""
        heard, window = Assembler(), self.model.window
        request = ModelRequest(
            model=self.model.info.id,
            system=system,
            messages=messages,
            max_tokens=min(window // 16, 4096),
            context_window=window,
            **self._whose(),
        )
        await self._play(request, heard)
        response = heard.response(self.model.label)
        self.usage += response.usage
        return response.message.text
