"""The offline provider: plays what its two models decide as a stream.

A provider is asked for one model call at a time. Here `assistant` (rules) or `script`
(a YAML file) answers with a few steps, and `stream` turns them into events: pieces of
text, pieces of tool calls, and `Finished` at the end.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Literal

import anyio
import anyio.lowlevel
import anyio.to_thread
from rustyclaw import (
    Finished,
    ModelInfo,
    ModelRequest,
    Provider,
    ProviderError,
    StreamEvent,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    TranscriptPolicy,
    Usage,
)

from rustyclaw_offline.assistant import respond
from rustyclaw_offline.config import OfflineConfig
from rustyclaw_offline.conversation import Turn, last_turn
from rustyclaw_offline.script import Script
from rustyclaw_offline.script_file import load_script
from rustyclaw_offline.steps import Call, Delay, Fail, Hang, Say, Step, Think
from rustyclaw_offline.summary import is_summary_request, summarise

StopReason = Literal["stop", "length", "tool_calls"]

_WORD = re.compile(r"\S+\s*|\s+")
_FRAGMENT_CHARS = 24
_CHARS_PER_TOKEN = 4


class OfflineProvider(Provider):
    """An assistant of fixed rules, and a player of scripts; neither needs a network."""

    Config = OfflineConfig
    config: OfflineConfig
    default_model = "assistant"
    # The user's words must arrive as they were written: the plan is made from them.
    transcript_policy = TranscriptPolicy(merge_roles=False, trim_last_assistant=False)

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._script: Script | None = None

    async def models(self) -> Sequence[ModelInfo]:
        """Return the two models."""
        return tuple(
            ModelInfo(id=name, context_window=32_000, reasoning=True)
            for name in ("assistant", "script")
        )

    async def probe(self) -> str:
        """Read the script, if there is one; nothing else can be missing.

        :raises ProviderError: The script is not usable.
        """
        if self.config.script is not None:
            await self._loaded()
        return "needs neither a key nor a network"

    async def stream(self, request: ModelRequest) -> AsyncIterator[StreamEvent]:
        """Answer a request.

        :raises ProviderError: The model is unknown, the script is not usable, or it
            says so.
        """
        await anyio.lowlevel.checkpoint()
        turn = last_turn(request.messages)
        pause_ms = self.config.delay_ms
        room = request.max_tokens * _CHARS_PER_TOKEN
        written = calls = 0
        for step in await self._steps(request, turn):
            match step:
                case Fail(kind, message):
                    raise ProviderError(message, kind=kind, provider="offline")
                case Hang(seconds):
                    await anyio.sleep(seconds)
                case Delay(milliseconds):
                    pause_ms = milliseconds
                case Think() if request.thinking == "off":
                    pass
                case Say() | Think() | Call():
                    for event in _events(step, turn, calls):
                        if pause_ms:
                            await anyio.sleep(pause_ms / 1000)
                        written += _size(event)
                        if isinstance(step, Say) and written > room:
                            yield _finished("length", request, room)
                            return
                        yield event
                    calls += isinstance(step, Call)
        yield _finished("tool_calls" if calls else "stop", request, written)

    async def _steps(self, request: ModelRequest, turn: Turn) -> Sequence[Step]:
        """Let the model decide."""
        if request.model not in ("assistant", "script"):
            raise ProviderError(
                f"provider 'offline' has no model {request.model!r}; "
                "use 'offline/assistant' or 'offline/script'",
                kind="model_not_found",
                provider="offline",
            )
        if is_summary_request(request):
            return (Say(summarise(request)),)
        if request.model == "assistant":
            return respond(request, turn)
        return (await self._loaded()).steps_of(turn)

    async def _loaded(self) -> Script:
        """Return the script; a broken one is read again when it is asked for again."""
        if self._script is None:
            path = self.config.script
            if path is None:
                raise ProviderError(
                    "model 'offline/script' has no script; set "
                    "`providers.offline.script` to a YAML file",
                    kind="model_not_found",
                    provider="offline",
                )
            self._script = await anyio.to_thread.run_sync(
                load_script, path, abandon_on_cancel=True
            )
        return self._script


def _events(
    step: Say | Think | Call, turn: Turn, index: int
) -> Iterator[TextDelta | ThinkingDelta | ToolCallDelta]:
    """Yield a step in pieces, as models send them."""
    if isinstance(step, Think):
        yield ThinkingDelta(text=step.text)
    elif isinstance(step, Say):
        for word in _WORD.findall(step.text):
            yield TextDelta(text=word)
    else:
        yield ToolCallDelta(index=index, id=turn.call_id(step.number), name=step.tool)
        arguments = json.dumps(dict(step.arguments))
        for start in range(0, len(arguments), _FRAGMENT_CHARS):
            fragment = arguments[start : start + _FRAGMENT_CHARS]
            yield ToolCallDelta(index=index, arguments=fragment)


def _size(event: TextDelta | ThinkingDelta | ToolCallDelta) -> int:
    """Return how many characters an event adds to the answer."""
    if isinstance(event, ToolCallDelta):
        return len(event.name) + len(event.arguments)
    return len(event.text)


def _finished(reason: StopReason, request: ModelRequest, written: int) -> Finished:
    """Return the last event, with an estimate of what the call would have cost."""
    read = len(request.system)
    for message in request.messages:
        for block in message.content:
            if isinstance(block, Text | Thinking | ToolResult):
                read += len(block.text)
            elif isinstance(block, ToolCall):
                read += len(block.name) + len(repr(block.arguments))
    for tool in request.tools:
        read += len(tool.name) + len(tool.description) + len(repr(tool.parameters))
    return Finished(
        stop_reason=reason,
        usage=Usage(input_tokens=_tokens(read), output_tokens=_tokens(written)),
    )


def _tokens(characters: int) -> int:
    return -(-characters // _CHARS_PER_TOKEN)
