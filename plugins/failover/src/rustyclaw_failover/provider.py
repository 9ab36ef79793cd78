"""The provider ``failover``: it answers with whichever model can."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from types import TracebackType
from typing import Any

import anyio
from rustyclaw import (
    Finished,
    Model,
    ModelInfo,
    ModelRequest,
    PluginError,
    Provider,
    ProviderError,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    TranscriptPolicy,
)

from rustyclaw_failover.config import DEFAULT_CHAIN, NAME, FailoverConfig
from rustyclaw_failover.ledger import Ledger
from rustyclaw_failover.walk import Attempt, Walk

logger = logging.getLogger(__name__)

#: A candidate that does not open so fast is left out until it has.
_OPENING_SECONDS = 15.0
_MOST_RUNS = 1024


class FailoverProvider(Provider):
    """Chains of models of other providers, and several keys for each of these.

    :ivar clock: Seconds since the epoch.
    """

    Config = FailoverConfig
    config: FailoverConfig

    default_model = DEFAULT_CHAIN

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.clock = time.time
        self.levels: dict[tuple[str, str], str] = {}
        self.probes: dict[str, float] = {}
        self._spent: OrderedDict[str, int] = OrderedDict()
        self._left_out: set[str] = set()
        self._ledger: Ledger | None = None

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the ledger; the other providers are the gateway's to close."""
        if self._ledger is not None:
            await self._ledger.close()

    def problem(self) -> str:
        """Return that the chains are empty, if they are."""
        if self.config.models or self.config.chains:
            return ""
        return f"`providers.{NAME}.models` names no model; add one as `provider/model`"

    async def probe(self) -> str:
        """Say what it is made of; asks nobody, since each vendor is tried by itself."""
        chains = [self.config.models, *self.config.chains.values()]
        models = len({spec for chain in chains for spec in chain})
        keys = sum(map(len, self.config.keys.values()))
        return f"is made of {models} models and {keys} keys of its own, not tried here"

    @property
    def ledger(self) -> Ledger:
        """How the profiles are."""
        if self._ledger is None:
            folder, rules = self.host.folder, self.config.cooldowns
            self._ledger = Ledger(folder, rules, self.clock)
        return self._ledger

    async def models(self) -> Sequence[ModelInfo]:
        """Return the chains; `about` knows how large their windows are."""
        names = (DEFAULT_CHAIN, *self.config.chains)
        return tuple(ModelInfo(id=name) for name in names)

    async def about(self, model: str) -> ModelInfo | None:
        """Return what every model of a chain can do, those left out that cannot be had.

        :raises PluginError: None can be had, and the first one for this reason.
        :raises ProviderError: Likewise, or there is no such chain.
        """
        found = await self._opened(self._candidates(model))
        policies = [
            self.transcript_policy,
            *(m.provider.transcript_policy for m in found),
        ]
        self.transcript_policy = strictest(policies)
        infos = [each.info for each in found]
        return ModelInfo(
            id=model,
            context_window=min(each.window for each in found),
            max_output_tokens=min(info.max_output_tokens for info in infos),
            vision=all(info.vision for info in infos),
            reasoning=any(info.reasoning for info in infos),
        )

    async def stream(self, request: ModelRequest) -> AsyncIterator[StreamEvent]:
        """Call models until one answers, but never after a part of an answer.

        :raises ProviderError: That of the only candidate, or one that tells of all.
        """
        walk = Walk(
            specs=self._candidates(request.model),
            request=request,
            config=self.config,
            ledger=self.ledger,
            host=self.host,
            memory=self,
        )
        while True:
            attempt = await walk.next()
            shown, error = False, None
            try:
                async with aclosing(attempt.stream(request)) as stream:
                    while (
                        event := await self._first(stream, attempt, shown)
                    ) is not None:
                        if isinstance(event, Finished):
                            await walk.succeeded(attempt)
                            yield self._signed(event, attempt, request)
                            return
                        shown = shown or _shows(event)
                        yield event
                problem = f"the answer of {attempt.model.label} was cut off"
                error = ProviderError(problem, kind="timeout")
            except ProviderError as exc:
                error = exc
            except Exception as exc:
                label = attempt.model.label
                logger.exception("failover: %s has a fault", label)
                error = ProviderError(f"{label} failed: {type(exc).__name__}: {exc}")
            await walk.failed(attempt, error, shown=shown)
            yield ThinkingDelta()  # a sign of life for whoever measures the silence

    async def _first(
        self, stream: AsyncIterator[StreamEvent], attempt: Attempt, shown: bool
    ) -> StreamEvent | None:
        """Return the next event; ``None``: there is none."""
        if shown or attempt.is_last_resort:
            return await anext(stream, None)
        seconds = self.config.silence_seconds
        with anyio.move_on_after(seconds):
            return await anext(stream, None)
        problem = f"{attempt.model.label} said nothing for {seconds:g} s"
        raise ProviderError(problem, kind="timeout")

    def _signed(
        self, event: Finished, attempt: Attempt, request: ModelRequest
    ) -> Finished:
        """Return the end of an answer with the name of who gave it."""
        level = attempt.thinking
        return replace(
            event,
            model=event.model or attempt.model.label,
            thinking=event.thinking or ("" if level == request.thinking else level),
        )

    def spend(self, run_id: str) -> int:
        """Count a failed attempt of a run; return how many there were."""
        self._spent[run_id] = self._spent.pop(run_id, 0) + 1
        while len(self._spent) > _MOST_RUNS:
            self._spent.popitem(last=False)
        return self._spent[run_id]

    # --- Candidates -----------------------------------------------------------------

    def _candidates(self, model: str) -> Sequence[str]:
        """Return the models of a chain.

        :raises ProviderError: There is no such chain.
        """
        if (specs := self.config.candidates(model)) is not None:
            return specs
        where = f"providers.{NAME}.models"
        problem = f"the chain {DEFAULT_CHAIN!r} is empty; set {where}"
        if model != DEFAULT_CHAIN:
            names = ", ".join((DEFAULT_CHAIN, *self.config.chains))
            problem = f"there is no chain {model!r}; known are {names}"
        raise ProviderError(problem, kind="model_not_found", provider=NAME)

    async def _opened(self, specs: Sequence[str]) -> list[Model]:
        """Return the candidates that can be had, opened side by side."""
        found: dict[str, Model] = {}
        problems: dict[str, PluginError | ProviderError] = {}

        async def open_one(spec: str) -> None:
            profile = self.config.profiles(spec.partition("/")[0])[0]
            text = f"{spec} did not open in {_OPENING_SECONDS:g} s"
            problems[spec] = ProviderError(text, kind="timeout")
            try:
                with anyio.move_on_after(_OPENING_SECONDS):
                    found[spec] = await self.host.open_model(
                        spec, profile.instance, profile.settings
                    )
            except (PluginError, ProviderError) as exc:
                problems[spec] = exc

        async with anyio.create_task_group() as tasks:
            for spec in specs:
                tasks.start_soon(open_one, spec)
        if not found:
            raise problems[specs[0]]
        self._left_out -= set(found)
        for spec in specs:
            if spec not in found and spec not in self._left_out:  # once is enough
                self._left_out.add(spec)
                logger.warning("failover: left out model=%s: %s", spec, problems[spec])
        return [found[spec] for spec in specs if spec in found]


def strictest(policies: Sequence[TranscriptPolicy]) -> TranscriptPolicy:
    """Return a policy that satisfies all; thoughts are kept for those who take them."""
    ids = {policy.tool_call_ids for policy in policies}
    strictness = ("strict9", "strict", "keep")
    return TranscriptPolicy(
        tool_call_ids=next(mode for mode in strictness if mode in ids),
        synthesize_results=all(policy.synthesize_results for policy in policies),
        merge_roles=any(policy.merge_roles for policy in policies),
        start_with_user=any(policy.start_with_user for policy in policies),
        keep_thinking=any(policy.keep_thinking for policy in policies),
        trim_last_assistant=any(policy.trim_last_assistant for policy in policies),
    )


def _shows(event: StreamEvent) -> bool:
    """Return whether an event is a part of an answer, if only of its thoughts."""
    if isinstance(event, TextDelta):
        return bool(event.text)
    if isinstance(event, ThinkingDelta):
        return bool(event.text or event.signature or event.redacted)
    return isinstance(event, ToolCallDelta)
