"""What one model call tries, and in which order: keys, levels of thinking, models."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from anyio import sleep
from rustyclaw import (
    Message,
    Model,
    ModelRequest,
    PluginError,
    ProviderError,
    StreamEvent,
    Thinking,
    is_overflow,
)

from rustyclaw_failover.config import FailoverConfig, Profile
from rustyclaw_failover.health import MARKING, Health, ordered
from rustyclaw_failover.thinking import next_level

if TYPE_CHECKING:
    from rustyclaw import ProviderHost

    from rustyclaw_failover.ledger import Ledger

logger = logging.getLogger(__name__)

#: The first choice is asked although it rests, if that ends soon, and now and then.
_PROBE_AHEAD_SECONDS, _PROBE_PAUSE_SECONDS = 120.0, 30.0
_BACKOFF_SECONDS, _LONGEST_BACKOFF, _JITTER = 0.25, 1.5, 0.2
_LONGEST_TEXT = 160
#: Another model will not do better with these: they are about the request.
_ABOUT_THE_REQUEST = frozenset({"context_overflow", "format", "retry_limit"})
#: What a refused level of thinking may be taken for.
_PERHAPS_THINKING = frozenset({"format", "model_not_found", "unknown"})


class Memory(Protocol):
    """What a provider remembers of earlier calls.

    :ivar levels: Model and level asked for -> the level that it took.
    :ivar probes: Provider -> when it was last asked, by the ledger's clock.
    """

    levels: dict[tuple[str, str], str]
    probes: dict[str, float]

    def spend(self, run_id: str) -> int:
        """Count a failed attempt of a run; return how many there were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One model with one key at one level of thinking.

    :param is_last_resort: No other model is left, so nobody hurries it.
    """

    model: Model
    profile: Profile
    thinking: str
    is_last_resort: bool

    def stream(self, request: ModelRequest) -> AsyncGenerator[StreamEvent, None]:
        """Open the stream; a request is made to fit first."""
        window = self.model.window
        messages = request.messages
        if not self.model.provider.transcript_policy.keep_thinking:
            messages = tuple(_without_thoughts(messages))
        fitted = replace(
            request,
            model=self.model.info.id,
            messages=messages,
            thinking=self.thinking,
            context_window=min(request.context_window or window, window),
        )
        stream = self.model.provider.stream(fitted)
        if not isinstance(stream, AsyncGenerator):
            problem = f"{self.model.label} gives no stream that can be closed"
            raise ProviderError(problem)
        return stream


@dataclass(slots=True, kw_only=True)
class Walk:
    """The way of one model call through its candidates.

    :param specs: ``provider/model``, the first choice first.
    """

    specs: Sequence[str]
    request: ModelRequest
    config: FailoverConfig
    ledger: Ledger
    host: ProviderHost
    memory: Memory
    _place: int = 0
    _queue: list[Profile] | None = None
    _level: str = ""
    _tried: set[str] = field(default_factory=set)
    _errors: list[tuple[str, ProviderError]] = field(default_factory=list)
    _overloads: int = 0
    _spent: int = 0
    _left: tuple[str, str, str] | None = None  # label, profile and why it was left

    # --- The next attempt -----------------------------------------------------------

    async def next(self) -> Attempt:
        """Return what to try now.

        :raises ProviderError: Nothing is left, or too much was tried.
        """
        while self._place < len(self.specs):
            spec = self.specs[self._place]
            if self._queue is None:
                self._queue = await self._profiles(spec)
            if not self._queue:
                self._leave_candidate()
                continue
            if (attempt := await self._open(spec, self._queue[0])) is None:
                self._leave_candidate()
                continue
            self._check_bound()
            self.memory.probes[attempt.profile.provider] = self.ledger.clock()
            await self.ledger.used(attempt.profile)
            self._tell(attempt)
            return attempt
        raise self._final()

    async def _profiles(self, spec: str) -> list[Profile]:
        """Return the keys to try with a model; none: they rest, and others are left."""
        provider = spec.partition("/")[0]
        profiles = {p.id: p for p in self.config.profiles(provider)}
        health, pinned = await self.ledger.look(
            list(profiles), self.request.conversation, provider
        )
        now = self.ledger.clock()
        fixed = [f"{provider}:{label}" for label in self.config.order.get(provider, ())]
        ids = ordered(list(profiles), health, now=now, fixed=fixed, pinned=pinned)
        ready = [id for id in ids if not health.get(id, Health()).until(now)]
        if not ready and self._may_probe(provider, health[ids[0]].until(now), now):
            ready = ids[:1]
        if not ready:
            problem = f"no key of {provider} is ready (all rest)"
            error = ProviderError(problem, kind="rate_limit", provider=provider)
            self._errors.append((spec, error))
            logger.info("failover: skip model=%s reason=resting %s", spec, self._who())
            self._left = self._left or (spec, "", "rate_limit")
        return [profiles[id] for id in ready]

    def _may_probe(self, provider: str, until: float, now: float) -> bool:
        """Return whether a provider may be asked although all of its keys rest."""
        if self._place == len(self.specs) - 1:
            return True  # nobody else is left
        ended = now - self.memory.probes.get(provider, 0.0) >= _PROBE_PAUSE_SECONDS
        return self._place == 0 and until - now <= _PROBE_AHEAD_SECONDS and ended

    async def _open(self, spec: str, profile: Profile) -> Attempt | None:
        """Return an attempt, or ``None`` if the model cannot be had at all."""
        try:
            model = await self.host.open_model(spec, profile.instance, profile.settings)
        except (PluginError, ProviderError) as exc:
            error = exc if isinstance(exc, ProviderError) else ProviderError(str(exc))
            self._note(spec, profile, error, error.kind)
            return None
        wanted = self.request.thinking
        self._level = self._level or self.memory.levels.get(
            (model.label, wanted), wanted
        )
        self._tried.add(self._level)
        return Attempt(
            model=model,
            profile=profile,
            thinking=self._level,
            is_last_resort=self._place == len(self.specs) - 1,
        )

    def _check_bound(self) -> None:
        """Refuse to go on for ever.

        :raises ProviderError: Of kind ``retry_limit``.
        """
        providers = {spec.partition("/")[0] for spec in self.specs}
        profiles = sum(len(self.config.profiles(name)) for name in providers)
        most = min(max(24 + 8 * profiles, 32), 160)
        if self._spent < most:
            return
        logger.error("failover: give up reason=retry_limit %s", self._who())
        texts = self._texts()
        problem = f"gave up after {self._spent} failed attempts: {' | '.join(texts)}"
        raise ProviderError(problem, kind="retry_limit", attempts=texts)

    # --- How it went ----------------------------------------------------------------

    async def failed(
        self, attempt: Attempt, error: ProviderError, *, shown: bool
    ) -> None:
        """Take note of a failure; return if something else may be tried.

        :param shown: Some of the answer is with the user already.
        :raises ProviderError: It is final.
        """
        kind = "context_overflow" if is_overflow(error) else error.kind
        label, profile = attempt.model.label, attempt.profile
        self._note(label, profile, error, kind)
        run_id = self.request.run_id
        self._spent = self.memory.spend(run_id) if run_id else self._spent + 1
        if kind in MARKING:
            await self._mark(profile, kind, error.retry_after)
        if shown:  # another answer would follow half of this one
            raise error
        level = None
        if kind in _PERHAPS_THINKING:
            level = next_level(attempt.thinking, str(error), self._tried)
        if level is not None:
            logger.warning(
                "failover: thinking model=%s from=%s to=%s %s",
                *(label, attempt.thinking, level, self._who()),
            )
            self._level = level
            return
        if kind in _ABOUT_THE_REQUEST:
            raise error
        self._left = (label, profile.id, kind)
        self._level = ""
        self._tried.clear()
        queue = self._queue or []
        self._queue = queue[1:] if kind in MARKING else []
        if kind == "overloaded" and (self._queue or not attempt.is_last_resort):
            await self._back_off()

    async def succeeded(self, attempt: Attempt) -> None:
        """Take note of an answer; the conversation stays with its key."""
        wanted = self.request.thinking
        if attempt.thinking != wanted:
            self.memory.levels[attempt.model.label, wanted] = attempt.thinking
        await self.ledger.succeeded(attempt.profile, self.request.conversation)
        if self._errors:
            logger.info(
                "failover: answered model=%s profile=%s %s",
                *(attempt.model.label, attempt.profile.id, self._who()),
            )

    async def _mark(
        self, profile: Profile, kind: str, retry_after: float | None
    ) -> None:
        health = await self.ledger.failed(profile, kind, retry_after)
        now = self.ledger.clock()
        logger.warning(
            "failover: rest profile=%s state=%s seconds=%.0f reason=%s %s",
            *(profile.id, health.state(now), max(health.until(now) - now, 0.0)),
            *(kind, self._who()),
        )

    async def _back_off(self) -> None:
        seconds = min(_BACKOFF_SECONDS * 2**self._overloads, _LONGEST_BACKOFF)
        self._overloads += 1
        await sleep(seconds * random.uniform(1 - _JITTER, 1 + _JITTER))

    def _leave_candidate(self) -> None:
        self._place += 1
        self._queue = None
        self._level = ""
        self._tried.clear()

    # --- What others are told: ids and kinds, never a key ---------------------------

    def _note(
        self, name: str, profile: Profile, error: ProviderError, kind: str
    ) -> None:
        self._errors.append((name, error))
        logger.warning(
            "failover: failed model=%s profile=%s reason=%s %s: %s",
            *(name, profile.id, kind, self._who(), _cut(str(error))),
        )
        self._left = self._left or (name, profile.id, kind)

    def _tell(self, attempt: Attempt) -> None:
        """Tell of a change of key or of model, now that it takes place."""
        if self._left is None:
            return
        (old, from_profile, reason), self._left = self._left, None
        label, profile = attempt.model.label, attempt.profile
        whose = {
            "sessionKey": self.request.session_key,
            "runId": self.request.run_id,
            "reason": reason,
        }
        if old == label and from_profile == profile.id:
            return  # the same once more, with another level of thinking
        if old == label:
            logger.warning(
                "failover: rotate from=%s to=%s reason=%s %s",
                *(from_profile, profile.id, reason, self._who()),
            )
            ids = {"fromProfile": from_profile, "toProfile": profile.id}
            provider = profile.provider
            payload = {**whose, "provider": provider, **ids}
            self.host.announce("auth_rotation", payload)
            return
        logger.warning(
            "failover: fall back from=%s to=%s reason=%s %s",
            *(old, label, reason, self._who()),
        )
        self.host.announce("fallback", {**whose, "from": old, "to": label})

    def _who(self) -> str:
        return f"session={self.request.session_key} run={self.request.run_id}"

    # --- The end --------------------------------------------------------------------

    def _final(self) -> ProviderError:
        """Return the error of a call for which nothing is left to try."""
        _, last = self._errors[-1]
        if len(self.specs) == 1:
            return last
        errors = [error for _, error in self._errors]
        waits = [error.retry_after for error in errors if error.retry_after is not None]
        patient = next((error for error in errors if error.retryable), last)
        texts = self._texts()
        return ProviderError(
            f"All models failed ({len(texts)}): {' | '.join(texts)}",
            kind=patient.kind,
            provider=last.provider,
            status=last.status,
            retry_after=min(waits, default=None),
            attempts=texts,
        )

    def _texts(self) -> tuple[str, ...]:
        """Return how each model has failed in the end."""
        return tuple(
            f"{name}: {_cut(str(error))} ({error.kind})"
            for name, error in dict(self._errors).items()
        )


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 3]}..."


def _without_thoughts(messages: Sequence[Message]) -> list[Message]:
    """Return messages for a vendor who takes no thinking; none of them gets empty."""
    kept: list[Message] = []
    for message in messages:
        content = tuple(b for b in message.content if not isinstance(b, Thinking))
        if content:
            kept.append(replace(message, content=content))
    return kept
