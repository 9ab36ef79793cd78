"""Four hundred turns in a small window: what is lost, and what is not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import anyio
import pytest
from rustyclaw import (
    Finished,
    Gateway,
    ModelRequest,
    ProviderError,
    TextDelta,
    ToolCallDelta,
    ToolResult,
    Usage,
    tool,
)
from rustyclaw.testing import Bot, FakeProvider
from rustyclaw_compaction.compactor import SafeguardCompactor
from rustyclaw_compaction.plugin import CompactionPlugin
from rustyclaw_compaction.recall import Recall

WINDOW = 32_768
TURNS = 400
#: In the turns in which they are told.
FACTS = {
    2: "the vault code is 7Q-4471-KX",
    5: "Aunt Olga is allergic to walnuts",
    90: "invoices go to https://billing.example.com/in/8842",
}
ORDER = "the ferry to Hydra leaves at 06:40"
DETAIL = "the boat lies at berth 17, between a blue trawler and the old crane"

FORGETFUL = """\
## Decisions
They went along the coast.
## Open TODOs
Go on.
## Constraints/Rules
## Pending user asks
## Exact identifiers"""


@tool
async def survey(number: int) -> str:
    """Survey a stretch of the coast.

    :param number: Which.
    """
    return f"survey {number}: " + f"rocks {number}, sand, rocks again; " * 400


def text_of(request: ModelRequest) -> str:
    parts = [request.system]
    for message in request.messages:
        parts.append(message.text)
        parts += [str(dict(call.arguments)) for call in message.tool_calls]
        parts += [b.text for b in message.content if isinstance(b, ToolResult)]
    return "\n".join(parts)


class Model(FakeProvider):
    """Has a window as vendors have: prompt and answer must fit. It forgets much.

    :ivar refused: Requests that did not fit.
    :ivar summaries: Prompts for summaries.
    :ivar sizes: Tokens of the requests of the conversation.
    :ivar told: What it was told to keep.
    :ivar forgotten: What was told to be kept, and was not in a later request.
    :ivar pruned_before_first_summary: A request with shortened results came first.
    """

    def __init__(self) -> None:
        super().__init__(default=self._next, context_window=WINDOW)
        self.refused = self.summaries = 0
        self.sizes: list[int] = []
        self.told: list[str] = []
        self.forgotten: list[str] = []
        self.pruned_before_first_summary = False

    def _next(self, request: ModelRequest) -> Any:
        text = text_of(request)
        size = len(text) // 4
        if size + request.max_tokens > WINDOW:
            self.refused += 1
            return ProviderError("prompt is too long", kind="context_overflow")
        usage = Usage(input_tokens=size, output_tokens=30)
        if request.system.startswith(("Write notes", "Merge the", "Below is the")):
            self.summaries += 1
            answer = FORGETFUL
        elif request.system.startswith("A conversation is about to be shortened"):
            answer = "NO_REPLY"
        else:
            return self._talk(request, text, usage)
        return [TextDelta(text=answer), Finished(usage=usage)]

    def _talk(self, request: ModelRequest, text: str, usage: Usage) -> Any:
        self.sizes.append(usage.input_tokens)
        self.forgotten += [fact for fact in self.told if fact not in text]
        if not self.summaries and "[Tool result trimmed" in text:
            self.pruned_before_first_summary = True
        last = request.messages[-1]
        answer = "Noted. " + "The coast goes on, and the weather holds. " * 6
        if last.role == "tool":
            results = [b for b in last.content if isinstance(b, ToolResult)]
            answer = f"I read: {results[-1].text[:2_000]}"
            if results[-1].name == "survey":
                answer = "Rocks and sand."
        elif last.text.endswith("survey it"):
            number = last.text.split()[1].rstrip(",")
            return self._call("survey", f'{{"number": {number}}}', usage)
        elif last.text.startswith("Where does the boat lie"):
            return self._call(
                "conversation_recall", '{"query": "boat lies berth"}', usage
            )
        return [TextDelta(text=answer), Finished(usage=usage)]

    @staticmethod
    def _call(name: str, arguments: str, usage: Usage) -> list[Any]:
        delta = ToolCallDelta(index=0, id="call", name=name, arguments=arguments)
        return [delta, Finished(stop_reason="tool_calls", usage=usage)]


def plugins_with(*, pruning: bool) -> Mapping[str, object]:
    plugins: dict[str, object] = {
        "hooks.compaction": CompactionPlugin,
        "compactors.safeguard": SafeguardCompactor,
        "tools.recall": Recall,
        "tools.survey": survey,
    }
    if pruning:
        found = entry_points(group="rustyclaw.hooks", name="pruning")
        if not found:
            pytest.skip("rustyclaw-pruning is not installed")
        (plugins["hooks.pruning"],) = (point.load() for point in found)
    return plugins


def watched(gateway: Gateway) -> Callable[[], Awaitable[None]]:
    """Return what waits for the background tasks that were begun from now on."""
    pending: list[anyio.Event] = []
    spawn = gateway.spawn

    def spawn_watched(function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        done = anyio.Event()
        pending.append(done)

        async def work() -> None:
            try:
                await function(*args)
            finally:
                done.set()

        spawn(work)

    async def settled() -> None:
        with anyio.fail_after(20):
            while pending:
                await pending.pop().wait()

    gateway.spawn = spawn_watched  # type: ignore[method-assign]  # only here
    return settled


async def converse(home: Path, *, pruning: bool) -> tuple[Model, str]:
    """Talk for 400 turns, then ask for a detail of the first ones."""
    model = Model()
    config = {"agents": {"defaults": {"compactor": "safeguard"}}}
    plugins = plugins_with(pruning=pruning)
    async with Bot(home, provider=model, plugins=plugins, config=config) as bot:
        settled = watched(bot.gateway)
        for number in range(TURNS):
            said = f"Turn {number}, we sail on. " + "There is little wind. " * 8
            if number == 1:
                said = f"By the way, {DETAIL}."
            elif fact := FACTS.get(number):
                said = f"Turn {number}.\nRemember: {fact}"
            elif number % 4 == 0:
                said = f"Turn {number}, survey it"
            await bot.say(said)
            assert bot.last.error is None, bot.last.error
            await settled()
            if number in FACTS:
                model.told.append(FACTS[number])
            if number == 50:
                await bot.gateway.compact("main", ORDER)
                model.told.append(ORDER)
        answer = await bot.say("Where does the boat lie, word for word?")
    return model, answer


@pytest.mark.parametrize("pruning", [True, False], ids=["pruned", "unpruned"])
async def test_a_long_conversation_stays_in_the_window_and_loses_nothing_pinned(
    tmp_path: Path, pruning: bool, anyio_backend_name: str
) -> None:
    if anyio_backend_name == "trio":
        pytest.skip("it takes long; the other tests run on both")
    model, answer = await converse(tmp_path, pruning=pruning)

    assert model.refused == 0, "each request fitted at the first try"
    assert max(model.sizes) <= WINDOW - 4_096
    assert len(model.told) == 4
    assert model.forgotten == []
    assert DETAIL in answer, "an early detail is quoted word for word"
    assert model.summaries > 1
    if pruning:
        assert model.pruned_before_first_summary
        assert model.summaries <= 12
    else:  # what pruning spares
        assert model.summaries >= 20
