"""The hook plugin: prunes what is sent, when its mode says so."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from rustyclaw import HookContext, ModelRequest, ModelResponse, hookimpl

from rustyclaw_pruning.config import PruningConfig
from rustyclaw_pruning.pruning import Deed, last_turns, prune, repeat

logger = logging.getLogger(__name__)

#: How the core begins a message that holds the summary of a compaction.
SUMMARY_MARK = "[Summary of the conversation so far]"


@dataclass(slots=True)
class _Cache:
    """What is known of a vendor's cache for one session.

    :ivar last_call: When it was last refreshed; ``None``: by no call so far.
    :ivar deeds: How the conversation in the cache was pruned. As long as the cache
        lives each request is pruned in the same way, so that it still matches.
    """

    last_call: float | None = None
    deeds: Mapping[str, Deed] = field(default_factory=dict)


class PruningPlugin:
    """Shortens old tool results before each model call.

    :param clock: Seconds that only ever grow.
    """

    Config = PruningConfig

    def __init__(
        self,
        config: PruningConfig | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config or PruningConfig()
        self._clock = clock
        self._caches: OrderedDict[str, _Cache] = OrderedDict()

    @hookimpl
    async def llm_input(
        self, context: HookContext, request: ModelRequest
    ) -> ModelRequest | None:
        """Return the request with less of the old tool results, if it is large."""
        messages = request.messages
        for pattern, turns in self.config.history_turns.items():
            if fnmatchcase(context.session_key, pattern.lower()):
                messages = last_turns(messages, turns, SUMMARY_MARK)
                break
        mode, window = self.config.mode, request.context_window
        if mode == "always":
            messages = prune(messages, window, self.config).messages
        elif mode == "cache-ttl" and (cache := self._caches.get(context.session_key)):
            now = self._clock()
            if cache.last_call is not None and (
                now - cache.last_call >= self.config.ttl_seconds
            ):
                pruned = prune(messages, window, self.config)
                messages, cache.deeds = pruned.messages, pruned.deeds
                cache.last_call = now
            else:
                messages = repeat(messages, cache.deeds, self.config)
        if messages is request.messages:
            return None
        logger.debug("pruned a request of session %s", context.session_key)
        return replace(request, messages=messages)

    @hookimpl
    async def llm_output(self, context: HookContext, response: ModelResponse) -> None:
        """Remember when a session's cache was last refreshed."""
        if self.config.mode != "cache-ttl":
            return
        patterns = self.config.cache_models
        if not any(fnmatchcase(response.model, pattern) for pattern in patterns):
            self._caches.pop(context.session_key, None)
            return
        cache = self._caches.setdefault(context.session_key, _Cache())
        cache.last_call = self._clock()
        self._caches.move_to_end(context.session_key)
        while len(self._caches) > self.config.max_sessions:
            self._caches.popitem(last=False)

    @hookimpl
    async def session_end(self, context: HookContext) -> None:
        """Forget a session that begins anew."""
        self._caches.pop(context.session_key, None)
