"""What a turn is measured with: a scripted model, a tool, and the loop by hand."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import process_time
from typing import Any

from clock import Cost, timed
from rustyclaw import (
    Finished,
    Gateway,
    ModelRequest,
    RunEnded,
    StreamEvent,
    TextDelta,
    Tool,
    ToolCallDelta,
    Toolset,
    Usage,
    tool,
)
from rustyclaw.testing import FakeProvider
from vendor import WORDS

QUESTION = "please take note of what I say"
REQUEST = ModelRequest(model="fake", system="You are rustyclaw.", messages=())


async def take_note(text: str) -> str:
    """Take a note.

    :param text: What to note.
    """
    return f"noted {len(text)} characters"


class NoteTools(Toolset):
    """As many tools as ``rustyclaw[starter]`` brings; one is called."""

    def tools(self) -> Sequence[Tool]:
        """Return the tools."""
        others = [tool(name=f"take_note_{n}")(take_note)() for n in range(2, 10)]
        return [tool(take_note)(), *others]


class Model(FakeProvider):
    """Calls the tool as often as it is told, then answers with twenty words.

    :ivar rounds: Tool rounds that the next turn begins with.
    :ivar asked_at: CPU time of this process at each model call.
    """

    def __init__(self, context_window: int = 200_000) -> None:
        super().__init__(default=self._next, context_window=context_window)
        self.rounds = 0
        self.asked_at: list[float] = []
        self._calls = 0

    def _next(self, request: ModelRequest) -> list[StreamEvent]:
        self.asked_at.append(process_time())
        self.requests[:-1] = []  # a real provider keeps none
        if not self.rounds:
            return [*(TextDelta(text=word) for word in WORDS), Finished(usage=_USAGE)]
        self.rounds -= 1
        self._calls += 1
        return [
            ToolCallDelta(index=0, id=f"call_{self._calls}", name="take_note"),
            ToolCallDelta(index=0, arguments='{"text": '),
            ToolCallDelta(index=0, arguments='"milk and bread"}'),
            Finished(stop_reason="tool_calls", usage=_USAGE),
        ]


_USAGE = Usage(input_tokens=100, output_tokens=20)


def gateway(
    home: Path, model: Model, settings: Mapping[str, Any] | None = None
) -> Gateway:
    """Return a gateway of the model and the tool, with nothing that is installed."""
    defaults = {"model": "fake/fake", "max_tool_iterations": 1000}
    return Gateway(
        {"agents": {"defaults": defaults}, **(settings or {})},
        home=home,
        channels=False,
        plugins={"providers.fake": model, "tools.notes": NoteTools()},
        discover=False,
    )


async def turn(
    gateway: Gateway, model: Model, rounds: int = 0, session: str = "main"
) -> Cost:
    """Return what a turn costs until its session is at rest."""

    async def run() -> None:
        async for event in gateway.run(QUESTION, session=session):
            if isinstance(event, RunEnded):
                assert event.result.text == "".join(WORDS), event.result.error
        # The lane looks once more for work; else the next sample would pay for it.
        await gateway._lanes.drained()

    model.rounds = rounds
    return await timed(run)


class ByHand:
    """The same turn without a gateway: nothing that could be left out is in it.

    :param path: A file like a transcript; forced to the disk once a turn.
    """

    def __init__(self, path: Path, model: Model) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._model = model

    async def turn(self, rounds: int = 0) -> Cost:
        """Return what a turn costs."""
        self._model.rounds = rounds
        return await timed(self._turn)

    async def _turn(self) -> None:
        self._append(role="user", content=QUESTION)
        while True:
            text, name, arguments = "", "", ""
            async for event in self._model.stream(REQUEST):
                if isinstance(event, TextDelta):
                    text += event.text
                elif isinstance(event, ToolCallDelta):
                    name += event.name
                    arguments += event.arguments
            self._append(role="assistant", content=text, name=name, args=arguments)
            if not name:
                break
            result = await take_note(**json.loads(arguments))
            self._append(role="tool", content=result)
        os.fsync(self._fd)

    def _append(self, **entry: str) -> None:
        os.write(self._fd, json.dumps(entry).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)
