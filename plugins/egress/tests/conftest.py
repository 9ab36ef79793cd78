"""A resolver and a network that exist only in the test."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any

import anyio
import httpx
import pytest
from rustyclaw_egress.client import Egress
from rustyclaw_egress.policy import EgressPolicy

PUBLIC = "93.184.215.14"


class FakeResolver:
    """Answers as told, one answer after another; unknown names are public.

    :param answers: For a name a list of answers, or ``NXDOMAIN`` and the like.
    """

    def __init__(self, answers: Mapping[str, Any] | None = None) -> None:
        self.answers = dict(answers or {})
        self.asked: list[str] = []

    async def __call__(self, host: str) -> Sequence[str]:
        """Return the next answer."""
        self.asked.append(host)
        answers = self.answers.get(host, [[PUBLIC]])
        if answers == "TIMEOUT":
            await anyio.sleep_forever()
        if isinstance(answers, str):
            raise OSError(f"{host}: {answers}")
        if isinstance(answers, dict):
            return [*answers.get("A", ()), *answers.get("AAAA", ())]
        number = self.asked.count(host) - 1
        answer: Sequence[str] = answers[min(number, len(answers) - 1)]
        return answer


class FakeNetwork(httpx.AsyncBaseTransport):
    """Answers as told and keeps the requests that it saw."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    @property
    def hosts(self) -> list[str]:
        """Return the addresses that were connected to."""
        return [request.url.host for request in self.requests]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return or raise the next answer; the last one repeats."""
        await request.aread()
        self.requests.append(request)
        answer = self.answers.pop(0) if self.answers else httpx.Response(200, text="ok")
        if isinstance(answer, Exception):
            raise answer
        return answer


class Stream(httpx.AsyncByteStream):
    """A body that comes in pieces."""

    def __init__(self, pieces: Callable[[], AsyncGenerator[bytes, None]]) -> None:
        self.pieces = pieces
        self.is_closed = False

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        """Yield the pieces."""
        async with aclosing(self.pieces()) as pieces:
            async for piece in pieces:
                if self.is_closed:
                    raise httpx.ReadError("closed")
                yield piece

    async def aclose(self) -> None:
        """Remember that it was closed."""
        self.is_closed = True


@pytest.fixture
def egress() -> Callable[..., AbstractAsyncContextManager[Egress]]:
    """Return what makes an `Egress` to a fake world, with a policy of keywords."""

    def make(
        network: FakeNetwork | None = None, dns: Any = None, **policy: Any
    ) -> AbstractAsyncContextManager[Egress]:
        return Egress(
            EgressPolicy.model_validate(policy),
            resolver=dns if callable(dns) else FakeResolver(dns),
            inner=network or FakeNetwork(),
        )

    return make
