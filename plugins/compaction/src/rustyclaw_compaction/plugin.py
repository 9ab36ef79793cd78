"""The hook plugin: compacts after a turn, reminds the next one, opens the way back."""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime

import anyio.to_thread
from rustyclaw import (
    CompactionResult,
    Gateway,
    HookContext,
    ModelRequest,
    ModelResponse,
    Prompt,
    RunResult,
    RustyclawError,
    hookimpl,
)

from rustyclaw_compaction.agents_file import read_sections
from rustyclaw_compaction.config import CompactionConfig
from rustyclaw_compaction.recall import NAME, Recall

logger = logging.getLogger(__name__)

_MOST_SESSIONS = 1000
#: A compaction that gained nothing is tried again when the context has grown so far.
_GROWTH = 1.1
_NOTE = """\
[The conversation was just shortened: a summary stands for its older messages. Do again
what your instructions say about the start of a session. It is {now}.]"""


@dataclass(slots=True)
class _Watched:
    """What is known of a session.

    :ivar tokens: Size of its last prompt and the answer to it.
    :ivar enough: It is not compacted before it is larger than that.
    :ivar is_busy: A compaction is on its way.
    :ivar is_fresh: It was compacted, and no turn was told so.
    """

    window: int = 0
    tokens: int = 0
    enough: float = 0
    is_busy: bool = False
    is_fresh: bool = False


class CompactionPlugin:
    """Watches how full the window of each session is."""

    Config = CompactionConfig

    def __init__(self, config: CompactionConfig | None = None) -> None:
        self.config = config or CompactionConfig()
        self._gateway: Gateway | None = None
        self._sessions: OrderedDict[str, _Watched] = OrderedDict()

    @hookimpl
    async def gateway_start(self, gateway: Gateway) -> None:
        """Give the tool of this distribution the transcripts."""
        self._gateway = gateway
        tool = gateway.tools.get(NAME)
        if isinstance(tool, Recall):
            tool.gateway = gateway

    @hookimpl
    async def before_agent_start(
        self, context: HookContext, prompt: Prompt
    ) -> Prompt | None:
        """Tell the turn after a compaction of it, and what it must know again."""
        watched, gateway = self._of(context), self._gateway
        if not watched.is_fresh or gateway is None or not self.config.context_chars:
            return None
        watched.is_fresh = False
        text = await anyio.to_thread.run_sync(
            read_sections,
            gateway.workspace(context.agent_id),
            self.config.context_sections,
            self.config.context_chars,
        )
        now = datetime.now().astimezone()
        note = _NOTE.format(now=f"{now:%Y-%m-%d %H:%M %Z}")
        text = text.replace("YYYY-MM-DD", f"{now:%Y-%m-%d}")
        system = "\n\n".join(filter(None, (prompt.system, note, text)))
        return replace(prompt, system=system)

    @hookimpl
    async def llm_input(self, context: HookContext, request: ModelRequest) -> None:
        """Note how large the window is."""
        self._of(context).window = request.context_window

    @hookimpl
    async def llm_output(self, context: HookContext, response: ModelResponse) -> None:
        """Note how full it is."""
        usage = response.usage
        self._of(context).tokens = usage.prompt_tokens + usage.output_tokens

    @hookimpl
    async def agent_end(self, context: HookContext, result: RunResult) -> None:
        """Have the session compacted if the turn has left too little room."""
        watched, gateway = self._of(context), self._gateway
        if gateway is None or gateway.draining or watched.is_busy or result.error:
            return
        if not gateway.config.session.auto_compact or not self.config.reserve_tokens:
            return
        reserve = min(self.config.reserve_tokens, watched.window // 2)
        limit = watched.window - reserve
        if watched.window and watched.tokens > max(limit, watched.enough):
            watched.is_busy = True
            gateway.spawn(self._compact, gateway, context.session_key, watched, limit)

    async def _compact(
        self, gateway: Gateway, key: str, watched: _Watched, limit: int
    ) -> None:
        result: CompactionResult | None = None
        try:
            result = await gateway.compact(key)
        except RustyclawError as exc:
            logger.warning("cannot compact session %s: %s", key, exc)
        finally:
            watched.is_busy = False
            gained = result is not None and result.tokens_after < limit
            watched.enough = 0 if gained else watched.tokens * _GROWTH

    @hookimpl
    async def after_compaction(self, context: HookContext) -> None:
        """Remember that the next turn has to be told."""
        self._of(context).is_fresh = True

    @hookimpl
    async def session_end(self, context: HookContext) -> None:
        """Forget a session that begins anew."""
        self._sessions.pop(context.session_key, None)

    def _of(self, context: HookContext) -> _Watched:
        watched = self._sessions.setdefault(context.session_key, _Watched())
        self._sessions.move_to_end(context.session_key)
        while len(self._sessions) > _MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return watched
