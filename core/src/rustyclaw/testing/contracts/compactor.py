"""What every compactor must keep."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from rustyclaw.errors import ProviderError
from rustyclaw.interfaces.compactor import Compactor
from rustyclaw.messages import CompactionRequest, Message, Text, ToolCall, ToolResult
from rustyclaw.testing.contracts.base import Contract, check_config, seconds_to_leave

_WINDOW = 16_000


class _Model:
    """Stands for the model; ``answer`` is a text or an exception.

    :ivar prompts: All that it was shown.
    """

    def __init__(self, answer: str | Exception = "They spoke of the weather.") -> None:
        self.answer = answer
        self.prompts: list[str] = []

    async def __call__(self, system: str, messages: tuple[Message, ...]) -> str:
        await anyio.lowlevel.checkpoint()
        self.prompts.append("\n".join((system, *(m.text for m in messages))))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def _request(turns: int = 6, size: int = 2_000, **facts: Any) -> CompactionRequest:
    messages: list[Message] = []
    for n in range(turns):
        call = ToolCall(id=f"call_{n}", name="weather", arguments={"city": "Oslo"})
        result = ToolResult(text="rain " * (size // 5), call_id=call.id, name=call.name)
        messages += [
            Message.user(f"question {n}: how is the weather?"),
            Message(role="assistant", content=(Text(text="Let me look."), call)),
            Message(role="tool", content=(result,)),
            Message.assistant("It rains. " * (size // 10)),
        ]
    sizes = {"tokens": turns * size // 2, "context_window": _WINDOW}
    facts = {"previous_summary": "", **sizes, **facts}
    return CompactionRequest(messages=tuple(messages), **facts)


class CompactorContract(Contract):
    """What every compactor must keep. Define the fixture ``compactor``."""

    __test__ = False

    @pytest.fixture
    def compactor(self) -> Compactor:
        """Return the compactor. REQUIRED."""
        raise NotImplementedError("define `compactor` in your contract class")

    async def test_construction(self, compactor: Compactor) -> None:
        """If this fails, take the validated ``config`` as the only argument."""
        check_config(compactor)
        assert type(type(compactor)(compactor.config)) is type(compactor)

    async def test_summary(self, compactor: Compactor) -> None:
        """If this fails, return a text that is shorter than what it replaces."""
        request = _request()
        with anyio.fail_after(self.patience_seconds):
            summary = await compactor.compact(request, _Model())
        assert isinstance(summary, str), f"{summary!r} is no text"
        assert summary.strip(), "an empty summary changes nothing"
        assert len(summary) < sum(len(m.text) for m in request.messages)

    async def test_previous_summary(self, compactor: Compactor) -> None:
        """If this fails, show the model the previous summary, or keep it."""
        self._assert_known(
            "the cat is called Mia",
            *await self._compact(
                compactor, _request(previous_summary="the cat is called Mia")
            ),
        )

    async def test_instructions(self, compactor: Compactor) -> None:
        """If this fails, tell the model what a person asked to keep, or keep it."""
        self._assert_known(
            "every word about Mia",
            *await self._compact(
                compactor, _request(instructions="every word about Mia")
            ),
        )

    async def test_window(self, compactor: Compactor) -> None:
        """If this fails, a prompt is larger than the window; work in pieces."""
        _, prompts = await self._compact(compactor, _request(turns=40, size=8_000))
        longest = max(map(len, prompts), default=0)
        assert longest < 4 * _WINDOW, f"a prompt of {longest} characters"

    async def test_failure(self, compactor: Compactor) -> None:
        """If this fails, let a `ProviderError` pass, or do without the model."""
        model = _Model(ProviderError("no credit", kind="billing"))
        with anyio.fail_after(self.patience_seconds):
            with suppress(ProviderError):
                assert (await compactor.compact(_request(), model)).strip()

    async def test_cancellation(self, compactor: Compactor) -> None:
        """If this fails, let every await be cancelled, and block in no call."""

        async def stuck(system: str, messages: tuple[Message, ...]) -> str:
            await anyio.sleep_forever()
            return ""

        work: Callable[..., Any] = partial(compactor.compact, _request(), stuck)
        seconds = await seconds_to_leave(work, ProviderError)
        assert seconds < self.prompt_seconds, f"it stayed {seconds:.1f} s"

    async def _compact(
        self, compactor: Compactor, request: CompactionRequest
    ) -> tuple[str, list[str]]:
        model = _Model()
        with anyio.fail_after(self.patience_seconds):
            return await compactor.compact(request, model), model.prompts

    @staticmethod
    def _assert_known(words: str, summary: str, prompts: list[str]) -> None:
        assert words in summary or any(words in p for p in prompts), f"lost {words!r}"
