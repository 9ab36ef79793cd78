"""Plugins that break one promise each, and the contract test that must notice.

pytest does not collect this file by itself; ``test_contracts_bite.py`` runs it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any, ClassVar

import anyio
import anyio.lowlevel
import pytest
from pydantic import BaseModel, Field
from rustyclaw import (
    Capabilities,
    CompactionRequest,
    Compactor,
    Finished,
    Inbox,
    Message,
    ModelInfo,
    ModelRequest,
    Outbound,
    PluginConfig,
    Prompt,
    Provider,
    ProviderError,
    Route,
    Sent,
    StorageError,
    StreamEvent,
    Summarize,
    Target,
    TextDelta,
    Tool,
    ToolCall,
    ToolContext,
    ToolError,
    ToolResult,
    Toolset,
    Usage,
    Veto,
    WebRequest,
    WebResponse,
    hookimpl,
    tool,
)
from rustyclaw.testing import (
    ChannelContract,
    CompactorContract,
    FakeChannel,
    FakeProvider,
    HookContract,
    ProviderContract,
    ToolContract,
    ToolsetContract,
    fault,
)


class LooseConfig(BaseModel):
    """Neither frozen nor strict."""


async def deaf(seconds: float = 0.3) -> None:
    """Wait without letting anybody cancel it."""
    with anyio.CancelScope(shield=True):
        await anyio.sleep(seconds)


# --- Tools ----------------------------------------------------------------------


class Roll(Tool):
    """Roll dice."""

    name = "roll"

    class Params(BaseModel):
        sides: int = Field(ge=2)
        label: str | None = None

    async def run(self, params: Any, context: ToolContext) -> ToolResult:
        await anyio.lowlevel.checkpoint()
        return ToolResult(text=str(params.sides))


class RollContract(ToolContract):
    __test__ = False
    bitten_by: ClassVar[tuple[str, ...]] = ()
    made: ClassVar[type[Tool]] = Roll
    arguments = {"sides": 6}

    @pytest.fixture
    def tool(self) -> Tool:
        return self.made()


class GoodTool(RollContract):
    pass


class GoodFunction(ToolContract):
    bitten_by: ClassVar[tuple[str, ...]] = ()
    arguments = {"city": "Oslo"}

    @pytest.fixture
    async def tool(self) -> Any:
        @tool(effects={"network"})
        async def weather(city: str) -> str:
            """Tell the weather."""
            return f"rain in {city}"

        return weather()


class BadName(RollContract):
    bitten_by: ClassVar[tuple[str, ...]] = ("test_name",)

    class made(Roll):
        """Roll dice."""

        name = "Roll-Dice"


class NoDocstring(RollContract):
    bitten_by = ("test_description",)

    class made(Roll):
        pass


class BigSchema(RollContract):
    bitten_by = ("test_schema",)

    class made(Roll):
        """Roll dice."""

        class Params(BaseModel):
            sides: int = Field(description="sides " * 400)


class UnknownEffect(RollContract):
    bitten_by = ("test_effects",)

    class made(Roll):
        """Roll dice."""

        effects: ClassVar[Any] = frozenset({"magic"})


class MumblesAboutArguments(RollContract):
    bitten_by = ("test_bad_arguments",)

    class made(Roll):
        """Roll dice."""

        def parse(self, call: ToolCall) -> BaseModel:
            try:
                return super().parse(call)
            except ToolError:
                raise ToolError("something is wrong; try again") from None


class TakesAnything(RollContract):
    bitten_by = ("test_bad_arguments",)

    class made(Roll):
        """Roll dice."""

        def parse(self, call: ToolCall) -> BaseModel:
            return self.Params.model_construct(sides=6)


class ReturnsText(RollContract):
    bitten_by = ("test_valid_call",)

    class made(Roll):
        """Roll dice."""

        async def run(self, params: Any, context: ToolContext) -> Any:
            return "6"


class ReturnsNumber(RollContract):
    bitten_by = ("test_valid_call",)

    class made(Roll):
        """Roll dice."""

        async def run(self, params: Any, context: ToolContext) -> Any:
            return ToolResult(text=params.sides)


class UnprintableDetails(RollContract):
    bitten_by = ("test_valid_call",)

    class made(Roll):
        """Roll dice."""

        async def run(self, params: Any, context: ToolContext) -> Any:
            return ToolResult(details={"params": params})


class FailsAlways(RollContract):
    bitten_by: ClassVar[tuple[str, ...]] = ("test_valid_call",)

    class made(Roll):
        """Roll dice."""

        async def run(self, params: Any, context: ToolContext) -> ToolResult:
            raise ToolError("no dice; buy some")


class FailsWithLeave(FailsAlways):
    bitten_by: ClassVar[tuple[str, ...]] = ()
    may_fail = True


class Hangs(RollContract):
    bitten_by = ("test_valid_call",)
    patience_seconds = 0.05

    class made(Roll):
        """Roll dice."""

        async def run(self, params: Any, context: ToolContext) -> ToolResult:
            await anyio.sleep_forever()
            raise AssertionError


class KnowsOneEventLoop(RollContract):
    bitten_by = ("test_cancellation[trio]", "test_valid_call[trio]")

    class made(Roll):
        """Roll dice."""

        async def run(self, params: Any, context: ToolContext) -> ToolResult:
            await asyncio.sleep(0)
            return ToolResult(text="6")


class BlocksTheLoop(RollContract):
    bitten_by = ("test_cancellation",)
    prompt_seconds = 0.1

    class made(Roll):
        """Roll dice."""

        async def run(self, params: Any, context: ToolContext) -> ToolResult:
            time.sleep(0.4)  # noqa: ASYNC251  # this is what must be noticed
            return ToolResult(text="6")


class CannotBeCancelled(RollContract):
    bitten_by = ("test_cancellation",)
    prompt_seconds = 0.1

    class made(Roll):
        """Roll dice."""

        async def run(self, params: Any, context: ToolContext) -> ToolResult:
            await deaf()
            return ToolResult(text="6")


class LooseSettings(RollContract):
    bitten_by = ("test_construction",)

    class made(Roll):
        """Roll dice."""

        Config = LooseConfig


class TakesNoConfig(RollContract):
    bitten_by = ("test_construction",)

    class made(Roll):
        """Roll dice."""

        def __init__(self) -> None:
            super().__init__()


class DropsATest(RollContract):
    bitten_by = ("test_no_standard_test_is_replaced",)
    test_effects: Any = None


class ReplacesATest(BadName):
    bitten_by = ("test_no_standard_test_is_replaced",)

    async def test_name(self, calls: Any) -> None:
        pass


class ExcusesWithoutReason(BadName):
    bitten_by = ("test_no_standard_test_is_replaced",)

    @pytest.mark.xfail
    async def test_name(self, calls: Any) -> None:
        await super().test_name(calls)


class ExcusesWithReason(BadName):
    bitten_by: ClassVar[tuple[str, ...]] = ()

    @pytest.mark.xfail(reason="an old name that users know")
    async def test_name(self, calls: Any) -> None:
        await super().test_name(calls)


class ForgetsTheFixture(ToolContract):
    bitten_by = (
        "test_bad_arguments",
        "test_cancellation",
        "test_construction",
        "test_description",
        "test_effects",
        "test_name",
        "test_schema",
        "test_valid_call",
    )


# --- Toolsets -------------------------------------------------------------------


class Dice(Toolset):
    def tools(self) -> Sequence[Tool]:
        return [Roll()]


class DiceContract(ToolsetContract):
    __test__ = False
    bitten_by: ClassVar[tuple[str, ...]] = ()
    made: ClassVar[type[Toolset]] = Dice
    examples = {"roll": {"sides": 6}}

    @pytest.fixture
    def toolset(self) -> Toolset:
        return self.made()


class GoodToolset(DiceContract):
    pass


class NoExample(DiceContract):
    bitten_by = ("test_examples",)
    examples = {}


class ExampleOfNothing(DiceContract):
    bitten_by = ("test_examples",)
    examples = {"roll": {"sides": 6}, "rol": {}}


class TwoOfAName(DiceContract):
    bitten_by = ("test_examples",)

    class made(Dice):
        def tools(self) -> Sequence[Tool]:
            return [Roll(), Roll()]


class OneBadTool(DiceContract):
    bitten_by = ("test_description",)

    class made(Dice):
        def tools(self) -> Sequence[Tool]:
            class Again(Roll):
                name = "again"

            return [Roll(), Again()]

    examples = {"roll": {"sides": 6}, "again": {"sides": 2}}


# --- Providers ------------------------------------------------------------------


class EchoContract(ProviderContract):
    __test__ = False
    bitten_by: ClassVar[tuple[str, ...]] = ()
    made: ClassVar[type[Provider]] = FakeProvider

    @pytest.fixture
    def provider(self) -> Provider:
        return self.made()


class GoodProvider(EchoContract):
    failing_request = ModelRequest(model="bad", system="", messages=())

    class made(FakeProvider):
        def __init__(self, config: Any = None) -> None:
            super().__init__(
                config,
                default=lambda request: (
                    ProviderError("no such model; see `models()`", kind="auth")
                    if request.model == "bad"
                    else "hello"
                ),
            )


def streaming(*items: Any) -> type[FakeProvider]:
    """Make a provider that always streams this."""

    class Streams(FakeProvider):
        def __init__(self, config: Any = None) -> None:
            super().__init__(config, default=list(items))

    return Streams


class CutOff(EchoContract):
    bitten_by = ("test_stream", "test_tools")
    made = streaming(*fault(after=3))


class FinishesTwice(EchoContract):
    bitten_by = ("test_stream",)
    made = streaming(TextDelta(text="hello"), Finished(), Finished())


class TalksAfterTheEnd(EchoContract):
    bitten_by = ("test_stream", "test_tools")
    made = streaming(Finished(), TextDelta(text="hello"))


class YieldsText(EchoContract):
    bitten_by = ("test_stream",)
    made = streaming(TextDelta(text="hello"), {"text": "hello"}, Finished())


class SaysNothing(EchoContract):
    bitten_by = ("test_stream",)
    made = streaming(Finished())


class CountsBackwards(EchoContract):
    bitten_by = ("test_usage",)
    made = streaming(TextDelta(text="hello"), Finished(usage=Usage(input_tokens=-1)))


class HidesItsDefault(EchoContract):
    bitten_by = ("test_models",)

    class made(FakeProvider):
        async def models(self) -> Sequence[ModelInfo]:
            return (ModelInfo(id="another"),)


class SaysNothingOfItself(EchoContract):
    bitten_by = ("test_probe",)

    class made(FakeProvider):
        async def probe(self) -> str:
            return ""


class LacksAKey(EchoContract):
    bitten_by = ("test_probe",)

    class made(FakeProvider):
        def problem(self) -> str:
            return "has no key; set `api_key_env`"


class IgnoresTheClose(EchoContract):
    bitten_by = ("test_early_close",)

    class made(FakeProvider):
        async def stream(self, request: ModelRequest) -> AsyncIterator[StreamEvent]:
            try:
                yield TextDelta(text="hello")
            except GeneratorExit:
                yield TextDelta(text="wait!")
            yield Finished()


class CannotBeCancelledEither(EchoContract):
    bitten_by = ("test_cancellation",)
    prompt_seconds = 0.1

    class made(FakeProvider):
        async def stream(self, request: ModelRequest) -> AsyncIterator[StreamEvent]:
            yield TextDelta(text="hello")
            await deaf()
            yield Finished()


class StumblesOverTools(EchoContract):
    bitten_by = ("test_tools",)

    class made(FakeProvider):
        async def stream(self, request: ModelRequest) -> AsyncIterator[StreamEvent]:
            for message in request.messages:
                yield TextDelta(text=message.text.split()[0])
            yield Finished()


class RaisesAnything(EchoContract):
    bitten_by = ("test_errors",)
    failing_request = ModelRequest(model="bad", system="", messages=())

    class made(FakeProvider):
        def __init__(self, config: Any = None) -> None:
            super().__init__(
                config,
                default=lambda request: (
                    KeyError("choices") if request.model == "bad" else "hello"
                ),
            )


class IsNoGenerator(EchoContract):
    bitten_by = (
        "test_cancellation",
        "test_early_close",
        "test_stream",
        "test_tools",
        "test_usage",
    )

    class made(FakeProvider):
        def stream(self, request: ModelRequest) -> Any:
            return iter(["hello"])


class LooseProviderSettings(EchoContract):
    bitten_by = ("test_construction",)

    class made(FakeProvider):
        Config = LooseConfig


# --- Channels -------------------------------------------------------------------


class PlatformContract(ChannelContract):
    __test__ = False
    bitten_by: ClassVar[tuple[str, ...]] = ()
    made: ClassVar[type[FakeChannel]] = FakeChannel

    @pytest.fixture
    def channel(self) -> FakeChannel:
        return self.made()

    async def deliver(self, channel: FakeChannel) -> None:
        await channel.deliver("hello")

    def acknowledged(self, channel: FakeChannel) -> bool:
        return bool(channel.acknowledged)


class GoodChannel(PlatformContract):
    pass


class ProbesWithoutOpening(PlatformContract):
    bitten_by = ("test_probe",)

    class made(FakeChannel):
        async def probe(self) -> str:
            raise ConnectionError("it is closed")


class ProbesForEver(PlatformContract):
    bitten_by = ("test_probe",)
    prompt_seconds = 0.1

    class made(FakeChannel):
        async def probe(self) -> str:
            await deaf()
            return "hello"


class DraftContract(PlatformContract):
    __test__ = False

    @pytest.fixture
    def channel(self) -> FakeChannel:
        return self.made(draft_seconds=0)

    def shown(self, channel: FakeChannel) -> list[str]:
        posted = [posted.text for posted in channel.posted]
        return [*posted, *channel.open_drafts.values()]


class GoodDrafts(DraftContract):
    pass


class AnswersBesideTheDraft(DraftContract):
    bitten_by = ("test_draft",)

    class made(FakeChannel):
        async def send(self, target: Target, message: Outbound) -> Sent:
            return await super().send(target, dataclasses.replace(message, draft=None))


class LeavesDraftsBehind(DraftContract):
    bitten_by = ("test_draft",)

    class made(FakeChannel):
        async def draft(
            self, target: Target, text: str, draft: str | None, reply_to: str | None
        ) -> str | None:
            return await super().draft(target, text or "...", draft, reply_to)


class BeginsEachDraftAnew(PlatformContract):
    bitten_by = ("test_draft",)

    class made(FakeChannel):
        capabilities = Capabilities(draft_seconds=0, idempotent_send=True)

        async def draft(
            self, target: Target, text: str, draft: str | None, reply_to: str | None
        ) -> str | None:
            return await super().draft(target, text, None, reply_to)


class GoodWebhook(ChannelContract):
    bitten_by: ClassVar[tuple[str, ...]] = ()

    class made(FakeChannel):
        async def run(self, inbox: Inbox) -> None:
            self.inbox = inbox
            await anyio.sleep_forever()

        async def hook(self, request: WebRequest) -> WebResponse:
            message = await self.deliver(request.body.decode())
            try:
                await self.inbox.accept(message)
            except StorageError:
                return WebResponse(status=503)
            return WebResponse()

        def routes(self) -> Sequence[Route]:
            return [Route(method="POST", path="/hook", handler=self.hook)]

    @pytest.fixture
    def channel(self) -> FakeChannel:
        return self.made()

    async def deliver(self, channel: FakeChannel) -> None:
        request = WebRequest(method="POST", path="/hook", body=b"hello")
        response = await channel.routes()[0].handler(request)
        if response.status == 200:
            channel.acknowledged.append(next(iter(channel.pending.values())))

    def acknowledged(self, channel: FakeChannel) -> bool:
        return bool(channel.acknowledged)


class AcknowledgesFirst(PlatformContract):
    bitten_by = ("test_accept", "test_storage_error")

    class made(FakeChannel):
        async def run(self, inbox: Inbox) -> None:
            while True:
                for message in self.pending.values():
                    self.acknowledged.append(message)
                    await inbox.accept(message)
                self.pending.clear()
                await anyio.sleep(0.01)


class AcknowledgesWhatWasRefused(PlatformContract):
    bitten_by = ("test_storage_error",)

    class made(FakeChannel):
        async def run(self, inbox: Inbox) -> None:
            while True:
                for message in list(self.pending.values()):
                    with suppress(StorageError):
                        await inbox.accept(message)
                    self.acknowledged.append(self.pending.pop(message.message_id))
                await anyio.sleep(0.01)


class NeverAcknowledges(PlatformContract):
    bitten_by = ("test_accept",)
    patience_seconds = 0.2

    class made(FakeChannel):
        async def run(self, inbox: Inbox) -> None:
            while True:
                for message in self.pending.values():
                    await inbox.accept(message)
                await anyio.sleep(0.01)


class HearsNothing(PlatformContract):
    bitten_by = ("test_accept", "test_storage_error")
    patience_seconds = 0.2

    class made(FakeChannel):
        async def run(self, inbox: Inbox) -> None:
            await anyio.sleep_forever()


class ForgetsWhoSpoke(PlatformContract):
    bitten_by = ("test_accept",)

    async def deliver(self, channel: FakeChannel) -> None:
        await channel.deliver("hello", sender="", chat="1")


class GoesHomeEarly(PlatformContract):
    bitten_by = ("test_accept", "test_run_until_cancelled", "test_storage_error")
    patience_seconds = 0.2

    class made(FakeChannel):
        async def run(self, inbox: Inbox) -> None:
            return


class RunsForEver(PlatformContract):
    bitten_by = ("test_run_until_cancelled",)
    prompt_seconds = 0.1

    class made(FakeChannel):
        async def run(self, inbox: Inbox) -> None:
            try:
                await super().run(inbox)
            finally:
                await deaf()


class GivesNoReceipt(PlatformContract):
    bitten_by = ("test_send",)

    class made(FakeChannel):
        async def send(self, target: Target, message: Outbound) -> Any:
            await super().send(target, message)


class SendsTwice(PlatformContract):
    bitten_by = ("test_send",)

    class made(FakeChannel):
        async def send(self, target: Target, message: Outbound) -> Sent:
            return await super().send(target, dataclasses.replace(message, id=""))


class RefusesLongTexts(PlatformContract):
    bitten_by = ("test_send",)

    class made(FakeChannel):
        async def send(self, target: Target, message: Outbound) -> Sent:
            assert len(message.text) < 2000
            return await super().send(target, message)


class TakesNoText(PlatformContract):
    bitten_by = ("test_capabilities",)

    class made(FakeChannel):
        capabilities = Capabilities(text_limit=0)


class MountsNonsense(PlatformContract):
    bitten_by = ("test_routes",)

    class made(FakeChannel):
        def routes(self) -> Any:
            return [Route(method="POST", path="hook", handler=print)]  # type: ignore[arg-type]  # wrong on purpose


class HasNoPolicies(PlatformContract):
    bitten_by = ("test_construction",)

    class made(FakeChannel):
        Config: ClassVar[Any] = PluginConfig


class EntersAnother(PlatformContract):
    bitten_by = ("test_enter_and_exit",)

    class made(FakeChannel):
        async def __aenter__(self) -> Any:
            return FakeChannel()


# --- Hook plugins ---------------------------------------------------------------


class WatcherContract(HookContract):
    __test__ = False
    bitten_by: ClassVar[tuple[str, ...]] = ()
    made: ClassVar[type] = object
    budget_seconds = 0.1

    @pytest.fixture
    def plugin(self) -> object:
        return self.made()


class GoodPlugin(WatcherContract):
    class made:
        @hookimpl
        async def before_agent_start(self, prompt: Prompt) -> Prompt:
            return dataclasses.replace(prompt, system=f"{prompt.system} Be kind.")

        @hookimpl
        async def before_tool_call(self, call: ToolCall) -> None:
            raise Veto("not today")

        @hookimpl
        async def message_sent(self, sent: object) -> None:
            await anyio.lowlevel.checkpoint()


class GoodGatewayPlugin(WatcherContract):
    class made:
        ready = False

        @hookimpl
        async def gateway_start(self, gateway: Any) -> None:
            self.ready = gateway.home.is_dir()

        @hookimpl
        async def session_start(self) -> None:
            assert self.ready

        @hookimpl
        async def gateway_stop(self) -> None:
            self.ready = False


class FailsToStart(WatcherContract):
    bitten_by = ("test_hooks",)

    class made:
        @hookimpl
        async def gateway_start(self, gateway: Any) -> None:
            raise ValueError("broken")


_REFUSED = ("test_answers", "test_hooks", "test_registration")


class ImplementsNothing(WatcherContract):
    bitten_by = _REFUSED

    class made:
        async def llm_input(self, request: ModelRequest) -> None: ...


class IsSync(WatcherContract):
    bitten_by = _REFUSED

    class made:
        @hookimpl
        def llm_input(self, request: ModelRequest) -> None: ...


class Misspells(WatcherContract):
    bitten_by = _REFUSED

    class made:
        @hookimpl
        async def llm_inputs(self, request: ModelRequest) -> None: ...


class Raises(WatcherContract):
    bitten_by = ("test_hooks",)

    class made:
        @hookimpl
        async def agent_end(self, result: Any) -> None:
            raise ValueError("broken")


class RaisesInAGuard(WatcherContract):
    bitten_by = ("test_hooks",)

    class made:
        @hookimpl
        async def before_tool_call(self, call: ToolCall) -> None:
            raise ValueError("broken")


class IsSlow(WatcherContract):
    bitten_by = ("test_hooks",)

    class made:
        @hookimpl
        async def llm_input(self, request: ModelRequest) -> None:
            await anyio.sleep_forever()


class HoldsTheLoop(WatcherContract):
    bitten_by = ("test_hooks",)

    class made:
        @hookimpl
        async def session_end(self) -> None:
            time.sleep(0.2)  # noqa: ASYNC251  # this is what must be noticed


class ReturnsAnotherType(WatcherContract):
    bitten_by = ("test_hooks",)

    class made:
        @hookimpl
        async def before_tool_call(self, call: ToolCall) -> Any:
            return True


class ChangesInPlace(WatcherContract):
    bitten_by = ("test_answers",)

    class made:
        @hookimpl
        async def before_tool_call(self, call: Any) -> None:
            call.arguments["city"] = "Rome"


# --- Compactors -------------------------------------------------------------------


class GistContract(CompactorContract):
    __test__ = False
    bitten_by: ClassVar[tuple[str, ...]] = ()
    made: ClassVar[type[Compactor]]

    @pytest.fixture
    def compactor(self) -> Compactor:
        return self.made()


class Gist(Compactor):
    """Shows the model the end of all that there is."""

    async def compact(self, request: CompactionRequest, summarize: Summarize) -> str:
        texts = "\n".join(message.text for message in request.messages)
        prompt = f"{request.previous_summary}\n{texts[-8_000:]}"
        return await summarize(request.instructions, (Message.user(prompt),))


class GoodCompactor(GistContract):
    made = Gist


class ForgetsTheSummaryBefore(GistContract):
    bitten_by = ("test_previous_summary",)

    class made(Gist):
        async def compact(
            self, request: CompactionRequest, summarize: Summarize
        ) -> str:
            request = dataclasses.replace(request, previous_summary="")
            return await super().compact(request, summarize)


class ListensToNobody(GistContract):
    bitten_by = ("test_instructions",)

    class made(Gist):
        async def compact(
            self, request: CompactionRequest, summarize: Summarize
        ) -> str:
            request = dataclasses.replace(request, instructions="")
            return await super().compact(request, summarize)


class SendsAllAtOnce(GistContract):
    bitten_by = ("test_window",)

    class made(Gist):
        async def compact(
            self, request: CompactionRequest, summarize: Summarize
        ) -> str:
            texts = "\n".join(message.text for message in request.messages)
            await summarize("", (Message.user(texts),))
            return await super().compact(request, summarize)


class KeepsEveryWord(GistContract):
    bitten_by = ("test_summary",)

    class made(Gist):
        async def compact(
            self, request: CompactionRequest, summarize: Summarize
        ) -> str:
            texts = "\n".join(message.text for message in request.messages)
            return texts + await super().compact(request, summarize)


class MissesTheModel(GistContract):
    bitten_by = ("test_failure",)

    class made(Gist):
        async def compact(
            self, request: CompactionRequest, summarize: Summarize
        ) -> str:
            with suppress(ProviderError):
                return await super().compact(request, summarize)
            return ""


class DeafCompactor(GistContract):
    bitten_by = ("test_cancellation",)
    prompt_seconds = 0.1

    class made(Gist):
        async def compact(
            self, request: CompactionRequest, summarize: Summarize
        ) -> str:
            try:
                return await super().compact(request, summarize)
            except BaseException:
                await deaf()
                raise
