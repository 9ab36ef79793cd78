"""What every provider must keep."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, ClassVar, cast, get_args

import anyio
import pytest

from rustyclaw.errors import ProviderError, ProviderErrorKind
from rustyclaw.interfaces.provider import Provider, TranscriptPolicy
from rustyclaw.messages import (
    Finished,
    Message,
    ModelInfo,
    ModelRequest,
    StreamEvent,
    TextDelta,
    ToolCall,
    ToolResult,
    ToolSchema,
    Usage,
)
from rustyclaw.testing.contracts.base import (
    Contract,
    check_config,
    check_probe,
    seconds_to_leave,
)

_SCHEMA = ToolSchema(
    name="weather",
    description="Tell the weather.",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
)
_CALL = ToolCall(id="call_1", name="weather", arguments={"city": "Oslo"})
_RESULT = ToolResult(text="rain", call_id=_CALL.id, name=_CALL.name)


class ProviderContract(Contract):
    """What every provider must keep. Define the fixture ``provider``, not entered.

    :cvar prompt: What the model is asked; its answer must hold some text.
    :cvar failing_request: A request that the vendor of the fixture refuses.
    """

    __test__ = False
    prompt: ClassVar[str] = "hi"
    failing_request: ClassVar[ModelRequest | None] = None

    @pytest.fixture
    def provider(self) -> Provider:
        """Return the provider. REQUIRED."""
        raise NotImplementedError(
            "define the fixture `provider` in your contract class"
        )

    def request_to(self, provider: Provider) -> ModelRequest:
        """Return the request that most tests make."""
        return ModelRequest(
            model=provider.default_model,
            system="Answer briefly.",
            messages=(Message.user(self.prompt),),
            max_tokens=256,
        )

    async def answer(
        self, provider: Provider, request: ModelRequest
    ) -> list[StreamEvent]:
        """Return all events of one model call."""
        with anyio.fail_after(self.patience_seconds):
            async with aclosing(open_stream(provider, request)) as stream:
                return [event async for event in stream]

    async def test_construction(self, provider: Provider) -> None:
        """If this fails, take ``config`` alone and open nothing before entering."""
        check_config(provider)
        assert isinstance(provider.transcript_policy, TranscriptPolicy)
        for _ in range(2):
            with anyio.fail_after(self.patience_seconds):
                async with type(provider)(provider.config) as entered:
                    assert isinstance(entered, Provider), "`__aenter__` returns `self`"

    async def test_probe(self, provider: Provider) -> None:
        """If this fails, let ``probe`` open, close, and say what answered.

        The settings of your fixture lack nothing, and its vendor answers.
        """
        await check_probe(provider, self.patience_seconds, self.prompt_seconds)

    async def test_models(self, provider: Provider) -> None:
        """If this fails, list the default model among `models`."""
        async with provider:
            with anyio.fail_after(self.patience_seconds):
                models = await provider.models()
        assert all(isinstance(model, ModelInfo) for model in models)
        assert provider.default_model in [model.id for model in models]

    async def test_stream(self, provider: Provider) -> None:
        """If this fails, yield stream events, and one `Finished` as the last."""
        async with provider:
            events = await self.answer(provider, self.request_to(provider))
        for event in events:
            assert isinstance(event, get_args(StreamEvent)), f"not an event: {event!r}"
        finished = [event for event in events if isinstance(event, Finished)]
        assert len(finished) == 1, f"{len(finished)} `Finished` in the stream"
        assert events[-1] is finished[0], "`Finished` must be the last event"
        text = "".join(event.text for event in events if isinstance(event, TextDelta))
        assert text.strip(), "the answer holds no text"

    async def test_usage(self, provider: Provider) -> None:
        """If this fails, count tokens from zero; cached ones are not in input."""
        async with provider:
            events = await self.answer(provider, self.request_to(provider))
        usage = sum((e.usage for e in events if isinstance(e, Finished)), Usage())
        for field in usage.__dataclass_fields__:
            count = getattr(usage, field)
            assert isinstance(count, int), f"{field} is {count!r}"
            assert count >= 0, f"{field} is {count!r}"

    async def test_early_close(self, provider: Provider) -> None:
        """If this fails, free the connection when the generator is closed."""
        async with provider:
            stream = open_stream(provider, self.request_to(provider))
            with anyio.fail_after(self.patience_seconds):
                await anext(stream)
                await stream.aclose()
            with pytest.raises(StopAsyncIteration):
                await anext(stream)
            assert await self.answer(provider, self.request_to(provider))

    async def test_cancellation(self, provider: Provider) -> None:
        """If this fails, let every await in `stream` be cancelled."""
        async with provider:
            request = self.request_to(provider)
            seconds = await seconds_to_leave(lambda: self.answer(provider, request))
        assert seconds < self.prompt_seconds, f"the stream stayed {seconds:.1f} s"

    async def test_tools(self, provider: Provider) -> None:
        """If this fails, translate tools, tool calls and tool results, too."""
        async with provider:
            request = ModelRequest(
                model=provider.default_model,
                system="",
                messages=(
                    Message.user(self.prompt),
                    Message(role="assistant", content=(_CALL,)),
                    Message(role="tool", content=(_RESULT,)),
                ),
                tools=(_SCHEMA,),
            )
            events = await self.answer(provider, request)
        assert isinstance(events[-1], Finished)

    async def test_errors(self, provider: Provider) -> None:
        """If this fails, raise `ProviderError` with the ``kind`` that fits."""
        if self.failing_request is None:
            pytest.skip("no `failing_request` is given")
        async with provider:
            with pytest.raises(ProviderError) as failed:
                await self.answer(provider, self.failing_request)
        assert failed.value.kind in get_args(ProviderErrorKind)
        assert str(failed.value), "say what went wrong"


def open_stream(
    provider: Provider, request: ModelRequest
) -> AsyncGenerator[StreamEvent, None]:
    """Return the stream as the generator that the interface demands."""
    stream: Any = provider.stream(request)
    assert inspect.isasyncgen(stream), "`stream` must be an async generator"
    return cast("AsyncGenerator[StreamEvent, None]", stream)
