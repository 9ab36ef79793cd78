"""A model that makes summaries, and requests for some."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from rustyclaw import CompactionRequest, Message

GOOD = """\
## Decisions
The sea it is.
## Open TODOs
## Constraints/Rules
## Pending user asks
## Exact identifiers"""


class Model:
    """Answers prompts in turn, then always with the last answer.

    :ivar asked: (system prompt, text) of each call.
    """

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers or [GOOD])
        self.asked: list[tuple[str, str]] = []

    async def __call__(self, system: str, messages: tuple[Message, ...]) -> str:
        (message,) = messages
        self.asked.append((system, message.text))
        last = len(self.answers) == 1
        answer = self.answers[0] if last else self.answers.pop(0)
        if callable(answer):
            answer = answer(system, message.text)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)


@pytest.fixture
def model_of() -> Callable[..., Model]:
    """Return what makes a model of its answers."""
    return Model


@pytest.fixture
def request_of() -> Callable[..., CompactionRequest]:
    """Return what makes a request of messages."""

    def make(messages: Sequence[Message], **facts: Any) -> CompactionRequest:
        defaults = {"previous_summary": "", "tokens": 1_000, "context_window": 32_000}
        return CompactionRequest(messages=tuple(messages), **{**defaults, **facts})

    return make


@pytest.fixture
def talk() -> Callable[..., list[Message]]:
    """Return what makes a conversation of so many turns."""

    def make(turns: int, size: int = 1_000) -> list[Message]:
        return [
            message
            for n in range(turns)
            for message in (
                Message.user(f"question {n}: {'sea ' * (size // 4)}"),
                Message.assistant(f"answer {n}: {'salt ' * (size // 5)}"),
            )
        ]

    return make
